//! Makes offers: the pure allocator over a view of the state, proposed in entries of bounded size.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prost::Message;
use regency_allocator::{AgentView, ClusterView, Cycle, allocate};
use regency_leader_core::allocation;
use regency_resources::Resources;
use regency_state::model::{Agent, Capabilities};
use regency_state::{Command, Outcome, State};
use regency_types::{AgentId, DurationMs, FrameworkId};
use regency_wire::v1::DomainInfo;
use tokio::sync::Notify;

use super::exclusions::Exclusions;
use super::{Leader, LeaderConfig};
use crate::{counters, metrics, offer_filters};

/// The cluster as the allocator is to see it, with what this master's flags say.
pub(crate) fn view(
    state: &State,
    attached: &BTreeSet<AgentId>,
    connected: &BTreeSet<FrameworkId>,
    domain: Option<&DomainInfo>,
) -> ClusterView {
    let region = domain.and_then(regency_wire::flags::region);
    let mut view = allocation::view(state, attached, connected, |agent| {
        region.is_some_and(|region| is_remote(agent, region))
    });
    // The same frameworks in the same order.
    for (framework, shown) in state.frameworks().zip(&mut view.frameworks) {
        let mut minimums = offer_filters::of_framework(&framework.spec);
        for role in &mut shown.roles {
            role.min_allocatable = minimums.remove(&role.role);
        }
    }
    view
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

/// Whether an offer of this could be made to a framework with these capabilities.
pub(crate) fn fits(
    agent: &Agent,
    role: &str,
    resources: &Resources,
    able: &Capabilities,
    config: &LeaderConfig,
) -> bool {
    let region = config.domain.as_ref().and_then(regency_wire::flags::region);
    let view = AgentView {
        remote: region.is_some_and(|region| is_remote(agent, region)),
        ..AgentView::new(agent.id.clone(), agent.total.clone())
    };
    let able = allocation::capabilities(able);
    regency_allocator::suits(&view, role, resources, &able, &config.options)
}

/// The wish for an allocation soon.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    notify: Notify,
    /// When the first one wished that is not fulfilled yet.
    since: Mutex<Option<Instant>>,
}

impl Wish {
    /// Wishes for one.
    pub(crate) fn notify_one(&self) {
        self.since().get_or_insert_with(Instant::now);
        self.notify.notify_one();
    }

    /// Waits until somebody wishes for one; gives since when.
    async fn wanted(&self) -> Instant {
        self.notify.notified().await;
        self.since().take().unwrap_or_else(Instant::now)
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the term ends: allocates when woken, and once per interval.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut period = tokio::time::interval(leader.config.allocation_interval);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut cycles = 0_u64;
    let mut exclusions = Exclusions::default();
    loop {
        let wanted_since = tokio::select! {
            since = leader.allocate.wanted() => since,
            due = period.tick() => due.into_std(),
        };
        cycles = cycles.wrapping_add(1);
        round(&leader, wanted_since, cycles, &mut exclusions).await;
    }
}

/// One round. The next one starts from a state that contains this one's offers.
async fn round(leader: &Leader, wanted_since: Instant, cycle: u64, exclusions: &mut Exclusions) {
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
    counters::ALLOCATION_RUN_LATENCY.record(started.saturating_duration_since(wanted_since));
    let config = &leader.config;
    let domain = config.domain.as_ref();
    let mut view = view(&state, &attached, &connected, domain);
    exclusions.note(&state, &mut view);
    let cycle = Cycle {
        now,
        seed: leader.term.0.wrapping_mul(1 << 32).wrapping_add(cycle),
    };
    let plans = allocate(&view, &leader.config.options, &cycle);
    let plans = allocation::plans(&state, plans);
    ::metrics::histogram!(metrics::ALLOCATION_SECONDS).record(started.elapsed().as_secs_f64());
    counters::ALLOCATION_RUN.record(started.elapsed());
    counters::count(counters::Count::AllocationRuns);
    let timeout = leader
        .config
        .offer_timeout
        .map(|t| DurationMs(u64::try_from(t.as_millis()).unwrap_or(u64::MAX)));
    for entry in allocation::entries(plans, timeout) {
        match leader.consensus.propose(Command::IssueOffers(entry)).await {
            Ok(Ok(Outcome::OffersIssued { offers, n_skipped })) => {
                ::metrics::counter!(metrics::OFFERS_ISSUED).increment(offers.len() as u64);
                ::metrics::counter!(metrics::OFFERS_SKIPPED).increment(n_skipped);
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
    use regency_resources::Quantities;
    use regency_state::model::Quota;
    use regency_state::{IssueOffers, OfferPlan, QuotaConfig, RescindOffers, UpdateQuota};

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
            let view = view(&cluster.state, attached, connected, None);
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

    /// Gives roles quotas that nothing forbids: guarantees and limits, as text.
    fn decide(cluster: &mut Cluster, quotas: &[(&str, &str, &str)]) {
        let amounts = |text: &str| Quantities::from(&resources(text));
        let configs = quotas
            .iter()
            .map(|(role, guarantees, limits)| QuotaConfig {
                role: (*role).to_owned(),
                quota: Quota {
                    guarantees: amounts(guarantees),
                    limits: amounts(limits).into(),
                },
            })
            .collect();
        cluster.ok(Command::UpdateQuota(UpdateQuota {
            configs,
            force: false,
        }));
    }

    /// One round over the state as it is, all connected; what it issued.
    fn issue(cluster: &mut Cluster, seed: u64) -> (Vec<regency_types::OfferId>, u64) {
        let attached = cluster.state.agents().map(|a| a.id.clone()).collect();
        let connected = cluster.state.frameworks().map(|f| f.id.clone()).collect();
        let view = view(&cluster.state, &attached, &connected, None);
        let now = cluster.state.now();
        let plans = allocate(
            &view,
            &regency_allocator::Options::default(),
            &Cycle { now, seed },
        );
        let plans = allocation::plans(&cluster.state, plans);
        let mut issued = (Vec::new(), 0);
        for entry in allocation::entries(plans, None) {
            match cluster.ok(Command::IssueOffers(entry)) {
                Outcome::OffersIssued { offers, n_skipped } => {
                    issued.0.extend(offers);
                    issued.1 += n_skipped;
                }
                other => panic!("{other:?}"),
            }
        }
        issued
    }

    #[test]
    fn what_operators_decided_reaches_the_allocator() {
        let mut cluster = Cluster::new();
        cluster.agent(1, "cpus:8;mem:64");
        let framework = cluster.subscribe("eng/web", Capabilities::default());
        let task = (Cluster::task_info("t"), "cpus:1");
        let agent = cluster.state.agents().next().expect("one").id.clone();
        cluster.launch(&framework, "eng/web", &agent, vec![task]);
        // Of seven cpus three are kept for somebody else, and of the four that may be used one is.
        decide(
            &mut cluster,
            &[("eng", "", "cpus:4"), ("other", "cpus:3", "")],
        );
        let (offers, n_skipped) = issue(&mut cluster, 1);
        assert_eq!((offers.len(), n_skipped), (1, 0));
        let offer = cluster.state.offer(offers[0]).expect("outstanding");
        assert_eq!(offer.resources, resources("cpus:3;mem:64"));
        assert_eq!(issue(&mut cluster, 2), (Vec::new(), 0));
        // A plan of a leader that did not know of the limit yet is left out.
        cluster.ok(Command::RescindOffers(RescindOffers { offers }));
        let plan = OfferPlan {
            framework,
            role: "eng/web".into(),
            agent,
            resources: resources("cpus:3.001"),
            described: 0,
        };
        let outcome = cluster.ok(Command::IssueOffers(IssueOffers {
            plans: vec![plan],
            timeout: None,
        }));
        assert!(matches!(
            outcome,
            Outcome::OffersIssued { n_skipped: 1, .. }
        ));
    }

    #[test]
    fn what_is_planned_against_the_newest_state_is_never_left_out() {
        for seed in 0..30 {
            let mut cluster = Cluster::new();
            for n in 1..=4 {
                cluster.agent(n, "cpus:4;mem:512;cpus(eng/web):1;ports:[1-9]");
            }
            for role in ["eng", "eng/web", "ops", "*"] {
                cluster.subscribe(role, Capabilities::default());
            }
            decide(
                &mut cluster,
                &[
                    ("eng", "cpus:5", "cpus:6.5;mem:700"),
                    ("ops", "mem:300", "mem:333.333"),
                    ("*", "", "cpus:0.5"),
                ],
            );
            for round in 0..3 {
                let (offers, n_skipped) = issue(&mut cluster, seed * 10 + round);
                assert_eq!(n_skipped, 0, "seed {seed}, round {round}");
                // Some come back, so that the next round has something to divide.
                let offers = offers.into_iter().step_by(2).collect();
                cluster.ok(Command::RescindOffers(RescindOffers { offers }));
            }
            let roles = ["eng", "ops", "*"].into();
            for (role, has) in cluster.state.consumed_quotas(&roles) {
                for (name, limit) in cluster.state.quota_of(role).limits {
                    assert!(has.promised().get(&name) <= limit, "{role}: {has:?}");
                }
            }
        }
    }

    #[test]
    fn a_framework_says_how_little_is_worth_an_offer() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:2;mem:64");
        let framework = cluster.subscribe("eng", Capabilities::default());
        let plans = |cluster: &Cluster| {
            let (agents, frameworks) = (
                BTreeSet::from([agent.clone()]),
                BTreeSet::from([framework.clone()]),
            );
            let view = view(&cluster.state, &agents, &frameworks, None);
            let cycle = Cycle {
                now: cluster.state.now(),
                seed: 1,
            };
            allocate(&view, &regency_allocator::Options::default(), &cycle).len()
        };
        assert_eq!(plans(&cluster), 1);
        for (cpus, expected) in [(4, 0), (2, 1)] {
            let json = format!(
                r#"{{"user":"root","name":"golden","offer_filters":{{"eng":
                    {{"min_allocatable_resources":{{"quantities":[
                        {{"quantities":{{"cpus":{{"value":{cpus}}}}}}}]}}}}}}}}"#
            );
            let info: regency_wire::v1::FrameworkInfo =
                regency_wire::json::from_slice(json.as_bytes()).expect("it reads");
            let known = cluster.state.framework(&framework).expect("known");
            let mut spec = known.spec.clone();
            spec.info = info.encode_to_vec().into();
            cluster.update(&framework, spec);
            assert_eq!(plans(&cluster), expected, "at least {cpus} cpus");
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
            described: 0,
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
