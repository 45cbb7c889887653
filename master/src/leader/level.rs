//! Raises the feature level when all members support a higher one.

use std::sync::Arc;
use std::time::Duration;

use regency_state::{Command, RaiseFeatureLevel};

use super::Leader;

/// How often is looked. A member that is just being replaced by an older one has that time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Until the term ends.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut before = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let level = leader.consensus.feature_level_to_raise();
        // Twice in a row.
        if let Some(level) = level.filter(|_| level == before) {
            let command = Command::RaiseFeatureLevel(RaiseFeatureLevel { level });
            if let Ok(Ok(_)) = leader.consensus.propose(command).await {
                tracing::info!(
                    level,
                    "all members support it: the feature level was raised"
                );
            }
        }
        before = level;
    }
}
