//! A thread that looks at something again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crate::vitals::now;

/// The thread; it stops when this is dropped.
pub(super) struct Looking {
    stop: Arc<AtomicBool>,
    /// `None` in a simulator, where a task looks.
    thread: Option<Thread>,
}

impl Looking {
    /// Starts it. `look` is told how much time passed since it looked last, but no more than if this
    /// thread had been nearly in time: what is beyond that, it did not run itself.
    pub(super) fn start(
        name: &str,
        every: Duration,
        mut look: impl FnMut(Duration) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        if regency_runtime::simulated() {
            tokio::spawn(async move {
                while !stopped.load(Ordering::Acquire) {
                    tokio::time::sleep(every).await;
                    look(every);
                }
            });
            return Ok(Self { stop, thread: None });
        }
        let run = move || {
            let mut looked = now();
            loop {
                std::thread::park_timeout(every);
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let now = now();
                let awake = now.saturating_sub(looked).min(every * 2);
                looked = now;
                look(awake);
            }
        };
        let thread: JoinHandle<()> = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)?;
        Ok(Self {
            stop,
            thread: Some(thread.thread().clone()),
        })
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}
