//! Gives a cluster in which no weight was ever given those of the flags.

use std::sync::Arc;
use std::time::Duration;

use regency_resources::Milli;
use regency_state::{Command, State, UpdateWeights};

use super::Leader;
use crate::flags::RoleWeight;

/// How long is waited after an attempt that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Until the term ends; mostly there is nothing to do.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut states = leader.consensus.state();
    loop {
        // Not kept while there is nothing to do: it would hold on to an old state.
        let (wanted, level) = {
            let state = &states.get().state;
            (
                are_wanted(state, &leader.config.weights),
                state.feature_level(),
            )
        };
        if !wanted {
            return std::future::pending().await;
        }
        let command = command(&leader.config.weights);
        if command.feature_level() <= level {
            match leader.consensus.propose(command).await {
                Ok(Ok(_)) => tracing::info!("the cluster has the weights of the flags"),
                // It would be refused for ever.
                Ok(Err(refusal)) => {
                    tracing::warn!(%refusal, "the weights of the flags were refused");
                    return std::future::pending().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the weights of the flags are not there yet");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        } else if states.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Whether there are any, and the state has none.
fn are_wanted(state: &State, weights: &[RoleWeight]) -> bool {
    !weights.is_empty() && state.role_configs().all(|config| config.weight.is_none())
}

fn command(weights: &[RoleWeight]) -> Command {
    let weights = weights.iter();
    Command::UpdateWeights(UpdateWeights {
        weights: weights
            .map(|weight| {
                let milli = i64::try_from(weight.weight_milli).unwrap_or(i64::MAX);
                (weight.role.clone(), Milli(milli))
            })
            .collect(),
        initial: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;

    #[test]
    fn flags_give_weights_to_a_cluster_that_never_had_any() {
        let mut cluster = Cluster::new();
        let flags: Vec<RoleWeight> = ["a=2", "b/c=0.5"]
            .iter()
            .map(|text| text.parse().expect("a weight"))
            .collect();
        assert!(!are_wanted(&cluster.state, &[]));
        assert!(are_wanted(&cluster.state, &flags));
        cluster.ok(command(&flags));
        assert_eq!(cluster.state.weight_of("b/c"), Milli(500));
        assert!(!are_wanted(&cluster.state, &flags));
        // Another leader may have other flags; they come too late.
        let others: Vec<RoleWeight> = vec!["a=7".parse().expect("a weight")];
        cluster.ok(command(&others));
        assert_eq!(cluster.state.weight_of("a"), Milli(2000));
    }
}
