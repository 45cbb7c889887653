//! Processor time for the threads that keep a leader a leader.
//!
//! On a machine whose processors are all busy a heartbeat waits its turn like everything else, and
//! enough late ones are an election. The threads of replication do little and rarely, so they may
//! go first, where the system lets them.

use std::cell::Cell;
use std::io;
use std::sync::Once;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// How much nicer than the rest of the process is what [`give_way`] runs.
const WAY: i32 = 10;

/// A runtime for replication. Its workers get this nice value, as far as the system permits;
/// threads for blocking work keep that of the process.
///
/// A worker sets it for itself, the first time it has nothing to do: only a worker ever goes to sleep as
/// one. Nothing waits for that. Tasks that wait for each other until there is one on each worker would
/// not do: now and then one worker takes two of them while the other falls asleep, and they wait for
/// ever.
///
/// # Errors
/// When there are no threads.
pub(crate) fn runtime(threads: usize, nice: i32) -> io::Result<Runtime> {
    // Threads inherit it from who starts them, here from a worker.
    let ordinary = getpriority_process(None).unwrap_or(0);
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .thread_name("raft")
        .on_thread_start(move || {
            // What may not be lowered was not raised before.
            let _ = set_nice(ordinary);
        })
        .enable_all();
    if nice < ordinary {
        builder.on_thread_park(move || favour(nice));
    }
    builder.build()
}

/// Sets the nice value of the calling worker, once.
fn favour(nice: i32) {
    thread_local! {
        static DONE: Cell<bool> = const { Cell::new(false) };
    }
    static REFUSED: Once = Once::new();
    if DONE.replace(true) {
        return;
    }
    match set_nice(nice) {
        Ok(()) => tracing::debug!(nice, "a thread of replication goes first"),
        Err(error) => REFUSED.call_once(|| {
            tracing::info!(
                nice,
                %error,
                "threads of replication are not favoured; grant CAP_SYS_NICE or LimitNICE where \
                 processors are busy"
            );
        }),
    }
}

/// Runs long work on a thread of its own that gets processor time after the rest of the process.
///
/// # Errors
/// When there is no thread for it, or it panicked.
pub(crate) async fn give_way<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    if regency_runtime::simulated() {
        return Ok(work());
    }
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        let ordinary = getpriority_process(None).unwrap_or(0);
        // To want less is always permitted.
        let _ = set_nice(ordinary + WAY);
        // Nobody waits for it any more when replication has ended.
        let _ = done.send(work());
    })?;
    result
        .await
        .map_err(|_| io::Error::other(format!("the thread {name} panicked")))
}

/// Of the calling thread.
fn set_nice(nice: i32) -> rustix::io::Result<()> {
    setpriority_process(Some(rustix::thread::gettid()), nice)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn own_nice() -> i32 {
        getpriority_process(Some(rustix::thread::gettid())).expect("a thread")
    }

    #[tokio::test]
    async fn long_work_gives_way_and_a_panic_in_it_is_told() {
        let ordinary = getpriority_process(None).expect("a process");
        let nice = give_way("test", own_nice).await.expect("runs");
        assert_eq!(nice, (ordinary + WAY).min(19));
        let failed = give_way("test", || panic!("of the test")).await;
        assert!(failed.is_err_and(|error| error.to_string().contains("panicked")));
    }

    #[test]
    fn workers_alone_are_favoured_where_that_is_permitted() {
        let ordinary = own_nice();
        let wanted = ordinary - 1;
        let permitted = std::thread::spawn(move || set_nice(wanted).is_ok())
            .join()
            .expect("a thread");
        let expected = if permitted { wanted } else { ordinary };
        let runtime = runtime(2, wanted).expect("threads");
        let deadline = Instant::now() + Duration::from_secs(20);
        // A worker may not have slept yet.
        while runtime.block_on(runtime.spawn(async { own_nice() })).ok() != Some(expected) {
            assert!(Instant::now() < deadline, "no worker has {expected}");
        }
        for _ in 0..100 {
            let blocking = async { tokio::task::spawn_blocking(own_nice).await };
            let blocking = runtime.block_on(runtime.spawn(blocking));
            assert_eq!(blocking.expect("not cancelled").ok(), Some(ordinary));
        }
    }
}
