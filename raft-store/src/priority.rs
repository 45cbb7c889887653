//! Processor time for the threads that keep a leader a leader.
//!
//! On a machine whose processors are all busy a heartbeat waits its turn like everything else, and
//! enough late ones are an election. The threads of replication do little and rarely, so they may
//! go first, where the system lets them.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};

/// A runtime for replication. Its workers get this nice value, as far as the system permits;
/// threads for blocking work keep that of the process.
///
/// # Errors
/// When there are no threads.
pub(crate) fn runtime(threads: usize, nice: i32) -> std::io::Result<Runtime> {
    // Threads inherit it from who starts them, here from a worker.
    let ordinary = getpriority_process(None).unwrap_or(0);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("raft")
        .on_thread_start(move || {
            // What may not be lowered was not raised before.
            let _ = set_nice(ordinary);
        })
        .enable_all()
        .build()?;
    if nice < ordinary {
        favour(&runtime, threads, nice);
    }
    Ok(runtime)
}

/// Sets the nice value of all workers. Each takes one of as many tasks that wait for each other, and
/// for the caller: there must be nothing else yet that a worker could take.
fn favour(runtime: &Runtime, threads: usize, nice: i32) {
    let all_run = Arc::new(Barrier::new(threads + 1));
    let (results, set) = channel();
    for _ in 0..threads {
        let (all_run, results) = (Arc::clone(&all_run), results.clone());
        runtime.spawn(async move {
            // The caller is there until all have said it.
            let _ = results.send(set_nice(nice));
            all_run.wait();
        });
    }
    all_run.wait();
    match set.try_iter().find_map(Result::err) {
        None => tracing::debug!(nice, "threads of replication go first"),
        Some(error) => tracing::info!(
            nice,
            %error,
            "threads of replication are not favoured; grant CAP_SYS_NICE or LimitNICE where \
             processors are busy"
        ),
    }
}

/// Of the calling thread.
fn set_nice(nice: i32) -> rustix::io::Result<()> {
    setpriority_process(Some(rustix::thread::gettid()), nice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_nice() -> i32 {
        getpriority_process(Some(rustix::thread::gettid())).expect("a thread")
    }

    #[test]
    fn workers_alone_are_favoured_where_that_is_permitted() {
        let ordinary = own_nice();
        let wanted = ordinary - 1;
        let permitted = std::thread::spawn(move || set_nice(wanted).is_ok())
            .join()
            .expect("a thread");
        let runtime = runtime(2, wanted).expect("threads");
        let (worker, blocking) = runtime.block_on(async {
            let worker = tokio::spawn(async { own_nice() }).await;
            let blocking = tokio::spawn(async { tokio::task::spawn_blocking(own_nice).await });
            let blocking = blocking.await.expect("not cancelled");
            (
                worker.expect("not cancelled"),
                blocking.expect("not cancelled"),
            )
        });
        assert_eq!(worker, if permitted { wanted } else { ordinary });
        assert_eq!(blocking, ordinary);
    }
}
