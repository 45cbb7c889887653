//! Whether this thread is a simulator, which has no other threads, no sockets and no clock of its own.
//!
//! Without the feature `simulation` no thread is, which the compiler knows: what only a simulator does is not
//! in the program.

use tokio::task::JoinHandle;

#[cfg(feature = "simulation")]
thread_local! {
    static SIMULATED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread is a simulator.
#[cfg(not(feature = "simulation"))]
#[must_use]
#[inline(always)]
pub const fn simulated() -> bool {
    false
}

/// Whether this thread is a simulator.
#[cfg(feature = "simulation")]
#[must_use]
pub fn simulated() -> bool {
    SIMULATED.get()
}

/// Makes this thread a simulator for the rest of its life.
#[cfg(feature = "simulation")]
pub fn simulate() {
    SIMULATED.set(true);
}

/// Runs work that may take its time where it holds up nobody; a simulator does it at once.
///
/// # Panics
/// When called outside of a tokio runtime.
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    if simulated() {
        tokio::spawn(async move { work() })
    } else {
        tokio::task::spawn_blocking(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_another_thread_unless_simulated() {
        let own = std::thread::current().id();
        let other = spawn_blocking(|| std::thread::current().id()).await;
        assert_ne!(other.expect("no panic"), own);
        #[cfg(feature = "simulation")]
        {
            simulate();
            let same = spawn_blocking(|| std::thread::current().id()).await;
            assert_eq!(same.expect("no panic"), own);
        }
    }
}
