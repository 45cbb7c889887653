//! Single threads of a process that stand still, while the others go on.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::Context;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Threads that stand still until this is dropped.
#[derive(Debug)]
pub struct StoppedThreads {
    release: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl StoppedThreads {
    /// Stops all threads of a process that have this name.
    ///
    /// # Panics
    /// When there is none, or it cannot be stopped.
    #[must_use]
    pub fn of(pid: i32, name: &str) -> Self {
        let threads = threads_named(pid, name).expect("a process");
        assert!(!threads.is_empty(), "process {pid} has no thread {name}");
        let (release, released) = channel();
        let (stopped, all_stopped) = channel();
        // Only the thread that stopped others may let them go.
        let tracer = std::thread::spawn(move || trace(&threads, &stopped, &released));
        all_stopped.recv().expect("the threads are stopped");
        Self {
            release: Some(release),
            tracer: Some(tracer),
        }
    }
}

impl Drop for StoppedThreads {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(tracer) = self.tracer.take() {
            // A tracer that panicked has failed the test already.
            let _ = tracer.join();
        }
    }
}

fn trace(threads: &[Pid], stopped: &Sender<()>, released: &Receiver<()>) {
    for thread in threads {
        ptrace::seize(*thread, ptrace::Options::empty()).expect("a thread that may be traced");
        ptrace::interrupt(*thread).expect("it can be stopped");
        waitpid(*thread, Some(WaitPidFlag::__WALL)).expect("it stops");
    }
    // Whoever waits for this may have given up.
    let _ = stopped.send(());
    let _ = released.recv();
    for thread in threads {
        // Gone with its process.
        if ptrace::detach(*thread, None).is_err() {
            let _ = waitpid(*thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
        }
    }
}

fn threads_named(pid: i32, name: &str) -> anyhow::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).context("no such process")? {
        let entry = entry?;
        let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim_end() == name {
            let id = entry.file_name().to_string_lossy().parse()?;
            found.push(Pid::from_raw(id));
        }
    }
    Ok(found)
}
