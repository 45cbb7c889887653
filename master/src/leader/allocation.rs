//! Makes offers: the pure allocator over a view of the state, proposed in entries of bounded size.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use prost::Message;
use regency_allocator::{ClusterView, Cycle, RoleView, allocate};
use regency_leader_core::allocation;
use regency_resources::Milli;
use regency_state::model::Agent;
use regency_state::{Command, OfferPlan, Outcome, State};
use regency_types::{AgentId, DurationMs, FrameworkId};
use regency_wire::v1::DomainInfo;

use super::Leader;
use crate::flags::RoleWeight;
use crate::metrics;

/// The cluster as the allocator is to see it, with what this master's flags say.
pub(crate) fn view(
    state: &State,
    attached: &BTreeSet<AgentId>,
    connected: &BTreeSet<FrameworkId>,
    weights: &[RoleWeight],
    domain: Option<&DomainInfo>,
) -> ClusterView {
    let region = domain.and_then(regency_wire::flags::region);
    let roles = weights
        .iter()
        .map(|weight| RoleView {
            weight: Milli(i64::try_from(weight.weight_milli).unwrap_or(i64::MAX)),
            ..RoleView::new(&weight.role)
        })
        .collect();
    allocation::view(state, attached, connected, roles, |agent| {
        region.is_some_and(|region| is_remote(agent, region))
    })
}

/// All of an `AgentInfo` that counts here.
#[derive(prost::Message)]
struct Whereabouts {
    #[prost(message, optional, tag = "10")]
    domain: Option<DomainInfo>,
}

/// Whether an agent is in another region than the masters. One that says nothing is not.
fn is_remote(agent: &Agent, region: &str) -> bool {
    let whereabouts = Whereabouts::decode(agent.spec.info.clone()).ok();
    let domain = whereabouts.and_then(|whereabouts| whereabouts.domain);
    let its = domain.as_ref().and_then(regency_wire::flags::region);
    its.is_some_and(|its| its != region)
}

/// Until the term ends: allocates when woken, and once per interval.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut period = tokio::time::interval(leader.config.allocation_interval);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut cycles = 0_u64;
    loop {
        tokio::select! {
            () = leader.allocate.notified() => {}
            _ = period.tick() => {}
        }
        cycles = cycles.wrapping_add(1);
        round(&leader, cycles).await;
    }
}

/// One round. The next one starts from a state that contains this one's offers.
async fn round(leader: &Leader, cycle: u64) {
    let Some(now) = leader.consensus.cluster_time() else {
        return;
    };
    let state = leader.state().state.clone();
    let attached = leader.attachments.attached();
    let connected: BTreeSet<FrameworkId> = leader
        .streams
        .all()
        .into_iter()
        .map(|s| s.framework.clone())
        .collect();
    if attached.is_empty() || connected.is_empty() {
        return;
    }
    let started = Instant::now();
    let config = &leader.config;
    let domain = config.domain.as_ref();
    let view = view(&state, &attached, &connected, &config.weights, domain);
    let cycle = Cycle {
        now,
        seed: leader.term.0.wrapping_mul(1 << 32).wrapping_add(cycle),
    };
    let plans: Vec<OfferPlan> = allocate(&view, &leader.config.options, &cycle)
        .into_iter()
        .map(|plan| OfferPlan {
            framework: plan.framework,
            role: plan.role,
            agent: plan.agent,
            resources: plan.resources,
        })
        .collect();
    ::metrics::histogram!(metrics::ALLOCATION_SECONDS).record(started.elapsed().as_secs_f64());
    let timeout = leader
        .config
        .offer_timeout
        .map(|t| DurationMs(u64::try_from(t.as_millis()).unwrap_or(u64::MAX)));
    for entry in allocation::entries(plans, timeout) {
        match leader.consensus.propose(Command::IssueOffers(entry)).await {
            Ok(Ok(Outcome::OffersIssued { offers, n_skipped })) => {
                ::metrics::counter!(metrics::OFFERS_ISSUED).increment(offers.len() as u64);
                if n_skipped > 0 {
                    tracing::debug!(n_skipped, "plans that no longer fitted were left out");
                }
            }
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => tracing::warn!(%refusal, "offers were refused"),
            Err(error) => {
                tracing::debug!(%error, "offers were not made");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::{Cluster, resources};
    use regency_leader_core::allocation::{ENTRY_BYTES_MAX, entries, size};
    use regency_state::model::Capabilities;

    #[test]
    fn offers_come_from_attached_agents_and_go_to_connected_frameworks() {
        let mut cluster = Cluster::new();
        let (here, away) = (
            cluster.agent(1, "cpus:2;mem:64"),
            cluster.agent(2, "cpus:2;mem:64"),
        );
        let framework = cluster.subscribe("eng", Capabilities::default());
        let attached = BTreeSet::from([here.clone()]);
        let connected = BTreeSet::from([framework.clone()]);
        let plan = |attached: &BTreeSet<AgentId>, connected: &BTreeSet<FrameworkId>| {
            let view = view(&cluster.state, attached, connected, &[], None);
            let cycle = Cycle {
                now: cluster.state.now(),
                seed: 1,
            };
            allocate(&view, &regency_allocator::Options::default(), &cycle)
        };
        let plans = plan(&attached, &connected);
        assert_eq!(plans.len(), 1);
        assert_eq!((&plans[0].agent, &plans[0].framework), (&here, &framework));
        assert_eq!(plan(&attached, &BTreeSet::new()), []);
        assert_eq!(plan(&BTreeSet::new(), &connected), []);
        assert_eq!(
            plan(&BTreeSet::from([away.clone()]), &connected)[0].agent,
            away
        );
    }

    #[test]
    fn agents_of_other_regions_are_for_region_aware_frameworks() {
        let domain = |region: &str| {
            let json = format!(
                r#"{{"fault_domain":{{"region":{{"name":"{region}"}},"zone":{{"name":"z"}}}}}}"#
            );
            regency_wire::flags::domain(&json).expect("a domain")
        };
        let mut agent = {
            let mut cluster = Cluster::new();
            let id = cluster.agent(1, "cpus:2;mem:64");
            cluster.state.agent(&id).expect("an agent").as_ref().clone()
        };
        assert!(!is_remote(&agent, "eu"), "it says nothing");
        for (region, remote) in [("eu", false), ("us", true)] {
            let info = regency_wire::v1::AgentInfo {
                hostname: "h".to_owned(),
                domain: Some(domain(region)),
                ..regency_wire::v1::AgentInfo::default()
            };
            agent.spec.info = info.encode_to_vec().into();
            assert_eq!(is_remote(&agent, "eu"), remote, "{region}");
        }
    }

    #[test]
    fn what_is_offered_is_not_offered_again() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:2;mem:64");
        let framework = cluster.subscribe("eng", Capabilities::default());
        cluster.offer(&framework, "eng", &agent, "cpus:2;mem:64");
        let view = view(
            &cluster.state,
            &BTreeSet::from([agent]),
            &BTreeSet::from([framework]),
            &[],
            None,
        );
        assert!(view.agents[0].available.is_empty());
        assert_eq!(view.frameworks[0].roles[0].allocations, 1);
    }

    #[test]
    fn a_round_is_cut_into_entries_of_bounded_size_and_loses_nothing() {
        let plan = |n: u64| OfferPlan {
            framework: FrameworkId::new("f").expect("valid"),
            role: "eng".into(),
            agent: AgentId::new(format!("a{n}")).expect("valid"),
            resources: resources("cpus:1;mem:64;ports:[31000-32000]"),
        };
        let plans: Vec<OfferPlan> = (0..10_000).map(plan).collect();
        let entries = entries(plans.clone(), None);
        assert!(entries.len() > 1);
        for entry in &entries {
            assert!(entry.plans.iter().map(size).sum::<usize>() <= ENTRY_BYTES_MAX);
        }
        let all: Vec<OfferPlan> = entries.into_iter().flat_map(|e| e.plans).collect();
        assert_eq!(all, plans);
    }
}
