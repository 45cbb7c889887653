//! Waiting for conditions. Nothing here sleeps for a time and hopes.

use std::time::{Duration, Instant};

/// How long a condition may take unless a test says otherwise. Long, because test machines are
/// slow and a failing test may take its time.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until there is a value.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` says what was waited for.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "within {PATIENCE:?} never: {what}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until a condition holds that can be looked at without waiting.
///
/// # Panics
/// When it does not hold within [`PATIENCE`].
pub async fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || {
        let holds = holds();
        async move { holds.then_some(()) }
    })
    .await;
}
