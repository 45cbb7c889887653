//! What leaders propose by themselves.

use regency_resources::{Milli, Resources};
use regency_state::{
    BeginTerm, ChangeCluster, ClearSuspicion, Command, ExpireFilters, ExpireFramework,
    ExpireOffers, FrameworkDisconnected, IssueOffers, MarkAgentUnreachable, MasterInfo, OfferPlan,
    RaiseFeatureLevel, ReportStateHash, RescindOffers, State, SuspectAgents,
};
use regency_types::{
    AgentId, ClusterId, ClusterTime, DurationMs, FrameworkId, Incarnation, NodeId, OfferId, Term,
};

use super::Workload;

const CLUSTER: ClusterId = ClusterId(0xc1);

impl Workload {
    /// A new leader; sometimes one that is too late, or of another cluster.
    pub(super) fn begin_term(&mut self, state: &State) -> Command {
        let first = state.term().is_none();
        let late = !first && self.rng.chance(10);
        if !late {
            self.term += 1;
        }
        let term = if late { self.term / 2 } else { self.term };
        let stranger = !first && self.rng.chance(5);
        // Its clock goes on from what it applied.
        self.now = self.now.max(state.now());
        let node = 1 + term % 3;
        let own = state.cluster().unwrap_or(CLUSTER);
        Command::BeginTerm(BeginTerm {
            cluster: if stranger { ClusterId(9) } else { own },
            term: Term(term),
            master: MasterInfo {
                node: NodeId(node),
                incarnation: Incarnation(u128::from(node)),
                process: u128::from(term),
                hostname: format!("m{node}"),
                http: format!("m{node}:5050"),
                agent: format!("m{node}:5061"),
                version: "1".to_owned(),
            },
        })
    }

    /// The masters were restored, with nothing lost, or one of them goes on alone.
    pub(super) fn change_cluster(&mut self, state: &State) -> Option<Command> {
        let from = state.cluster()?;
        // What was under way to the former masters never arrives, and nobody repeats it.
        self.past.clear();
        self.old_view = State::default();
        self.agents_lose_pictures();
        Some(Command::ChangeCluster(ChangeCluster {
            from,
            to: ClusterId(from.0 + 1),
            index: self.now.0,
        }))
    }

    /// What some master says its state was; they do not always agree.
    pub(super) fn report_state_hash(&mut self) -> Command {
        Command::ReportStateHash(ReportStateHash {
            node: NodeId(1 + self.rng.below(5)),
            index: self.now.0 / 10_000 * 1000,
            schema: 1,
            digest: u128::from(self.rng.below(2)),
        })
    }

    /// All members were upgraded, or the leader says so once more.
    pub(super) fn raise_feature_level(&mut self) -> Command {
        Command::RaiseFeatureLevel(RaiseFeatureLevel {
            level: u32::try_from(1 + self.rng.below(3)).unwrap_or(1),
        })
    }

    /// Part of an allocation round, sometimes planned against a view that is old.
    pub(super) fn leader_offers(&mut self, state: &State) -> Option<Command> {
        let old = self.rng.chance(20).then(|| self.old_view.clone());
        let view = old.as_ref().unwrap_or(state);
        let wanted: Vec<(FrameworkId, String, u64)> = view
            .frameworks()
            .filter(|f| f.is_subscribed())
            .flat_map(|f| {
                let roles = f.spec.roles.difference(&f.suppressed);
                roles.map(|role| (f.id.clone(), role.clone(), f.described))
            })
            .collect();
        let mut plans = Vec::new();
        for agent in view.agents().filter(|a| a.is_registered()) {
            let mut rest = agent.available();
            for _ in 0..self.rng.below(3) {
                let Some((framework, role, described)) = self.rng.pick(&wanted).cloned() else {
                    break;
                };
                let resources = self.part_of(&rest, &role);
                if resources.is_empty() {
                    break;
                }
                // An overlapping plan now and then: the second one must be left out.
                if !self.rng.chance(5) {
                    rest = rest.checked_sub(&resources).unwrap_or_default();
                }
                plans.push(OfferPlan {
                    framework,
                    role,
                    agent: agent.id.clone(),
                    resources,
                    described,
                });
            }
        }
        (!plans.is_empty()).then(|| {
            Command::IssueOffers(IssueOffers {
                plans,
                timeout: self.rng.maybe(|rng| DurationMs(rng.below(60_000))),
            })
        })
    }

    /// A part of what is not reserved, often with all that is reserved for the role.
    fn part_of(&mut self, rest: &Resources, role: &str) -> Resources {
        let part = 1 + self.rng.below(3) as i64;
        let unreserved = rest.unreserved();
        let mut offer = ["cpus", "mem", "disk"]
            .into_iter()
            .map(|name| Resources::of_scalar(name, Milli(unreserved.scalar(name).0 / part)))
            .fold(Resources::new(), |sum, next| sum + next);
        if self.rng.chance(70) {
            offer += rest.reserved().allocatable_to(role);
        }
        offer
    }

    /// Suspicions, deadlines and broken streams; some of them too early or no longer true.
    pub(super) fn leader_tidies(&mut self, state: &State) -> Option<Command> {
        let agents: Vec<AgentId> = state.agents().map(|a| a.id.clone()).collect();
        let offers = state.offers().map(|o| o.id);
        let offers: Vec<OfferId> = offers.chain(state.inverse_offers().map(|o| o.id)).collect();
        let frameworks: Vec<FrameworkId> = state.frameworks().map(|f| f.id.clone()).collect();
        match self.rng.below(14) {
            13 if self.rng.chance(20) => self.leader_forgets(state),
            10 => self.leader_finds_empty(state),
            11..=12 => self.leader_asks(state),
            0..=1 => {
                let since = ClusterTime(self.now.0.saturating_sub(self.rng.below(5_000)));
                let agent = self.rng.pick(&agents)?.clone();
                Some(Command::SuspectAgents(SuspectAgents {
                    agents: vec![(agent, since)],
                }))
            }
            2 => Some(Command::ClearSuspicion(ClearSuspicion {
                agents: vec![self.rng.pick(&agents)?.clone()],
            })),
            3 => {
                let suspected = state.agents().filter(|a| a.suspect_since.is_some());
                let suspected: Vec<AgentId> = suspected.map(|a| a.id.clone()).collect();
                let agent = self.rng.pick(&suspected).or(agents.first())?.clone();
                Some(Command::MarkAgentUnreachable(MarkAgentUnreachable {
                    agent,
                }))
            }
            4 if self.rng.chance(30) => {
                let asked: Vec<OfferId> = state.inverse_offers().map(|o| o.id).collect();
                Some(Command::RescindOffers(RescindOffers {
                    offers: vec![*self.rng.pick(&asked)?],
                }))
            }
            4 => Some(Command::RescindOffers(RescindOffers {
                offers: vec![*self.rng.pick(&offers)?],
            })),
            5 => Some(Command::ExpireOffers(ExpireOffers { offers })),
            6 => Some(Command::ExpireFilters(ExpireFilters)),
            7 => {
                let framework = state.framework(self.rng.pick(&frameworks)?)?;
                let stream = framework.stream()?;
                Some(Command::FrameworkDisconnected(FrameworkDisconnected {
                    framework: framework.id.clone(),
                    stream,
                }))
            }
            _ => {
                let gone = state.frameworks().filter(|f| !f.is_subscribed());
                let gone: Vec<FrameworkId> = gone.map(|f| f.id.clone()).collect();
                let framework = self.rng.pick(&gone).or(frameworks.first())?.clone();
                Some(Command::ExpireFramework(ExpireFramework { framework }))
            }
        }
    }
}
