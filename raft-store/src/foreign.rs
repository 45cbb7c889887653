//! A data directory that ended up in the wrong place.
//!
//! A mistyped path, or a list of peers copied from another cluster, gives a master that belongs to
//! one cluster the peers of another. Neither harms the other, since every call names its cluster;
//! but such a master would wait for ever, and only its log would say why. So a master that belongs
//! to a cluster asks at its start, and refuses to run when most of its peers belong to another.
//! One stranger among the peers is no reason: that one is misplaced, not we.

use std::time::Duration;

use regency_types::ClusterId;

use crate::convert;
use crate::identity::{Identity, IdentityError};
use crate::network::{Peers, identify};

/// How long a peer may take to say who it is. Peers that are down refuse at once, so that this is
/// spent on silent ones only.
const IDENTIFY_TIMEOUT: Duration = Duration::from_millis(500);

/// Asks the peers which cluster they belong to.
///
/// # Errors
/// [`IdentityError::OtherCluster`] when a majority of the configured masters belongs to one
/// cluster and this directory to another.
pub(crate) async fn check(identity: &Identity, peers: &Peers) -> Result<(), IdentityError> {
    let (own, Some(found)) = (identity.member(), identity.cluster()) else {
        return Ok(());
    };
    let others = peers.configured().filter(|peer| peer.id != own.node);
    let answers = futures::future::join_all(others.map(|peer| async move {
        let answer = identify(peers, own, &peer.raft, IDENTIFY_TIMEOUT)
            .await
            .ok()?;
        convert::cluster_from_proto(&answer.cluster_id).ok()
    }))
    .await;
    let clusters: Vec<ClusterId> = answers.into_iter().flatten().collect();
    match majority(&clusters, peers.configured().count()) {
        Some(expected) if expected != found => Err(IdentityError::OtherCluster { found, expected }),
        Some(_) | None => Ok(()),
    }
}

/// The cluster that more than half of `n_masters` belong to.
fn majority(clusters: &[ClusterId], n_masters: usize) -> Option<ClusterId> {
    let of = |one: &ClusterId| clusters.iter().filter(|cluster| *cluster == one).count();
    clusters
        .iter()
        .copied()
        .find(|cluster| of(cluster) * 2 > n_masters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_majority_of_all_masters_decides() {
        let (a, b) = (ClusterId(1), ClusterId(2));
        assert_eq!(majority(&[b, b], 3), Some(b));
        assert_eq!(majority(&[a, b], 3), None);
        assert_eq!(majority(&[b], 3), None);
        assert_eq!(majority(&[b, b], 5), None);
        assert_eq!(majority(&[], 1), None);
    }
}
