//! Writes into the log what the masters say their states are. Each judges itself by it.

use std::sync::Arc;

use regency_state::Command;

use super::Leader;

/// Until the term ends.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut after = None;
    loop {
        let (index, reports) = leader.consensus.state_hashes(after).await;
        after = Some(index);
        for report in reports {
            // Without a verdict it is missing, or it is noted twice as once: the next round is as
            // good as this one.
            let _ = leader
                .consensus
                .propose(Command::ReportStateHash(report))
                .await;
        }
    }
}
