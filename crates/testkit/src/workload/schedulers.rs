//! Frameworks' schedulers: they use, give back and repeat, not always by the rules.

use std::collections::BTreeSet;

use bytes::Bytes;
use regency_resources::{Milli, Resources};
use regency_state::model::{Capabilities, FrameworkSpec};
use regency_state::{
    AcceptOffers, AcknowledgeUpdate, Applied, Command, DeclineOffers, ExecutorSpec, KillTask,
    LaunchSpec, Operation, Outcome, ReviveOffers, ShutdownExecutor, State, SubscribeFramework,
    SuppressOffers, TaskSpec, TeardownFramework, UpdateFramework,
};
use regency_types::{
    AgentId, DurationMs, ExecutorId, FrameworkId, OfferId, StreamId, TaskId, TaskKey, UpdateUuid,
};

use super::Workload;
use crate::Rng;

const ROLES: [&str; 3] = ["*", "eng", "eng/web"];
/// Few, so that ids are used again.
const TASK_IDS: u64 = 6;

/// A scheduler.
#[derive(Debug)]
pub(super) struct ImaginedScheduler {
    id: Option<FrameworkId>,
    stream: Option<StreamId>,
    spec: FrameworkSpec,
    n_calls: u64,
}

impl ImaginedScheduler {
    pub(super) fn new(n: u64, rng: &mut Rng) -> Self {
        Self {
            id: None,
            stream: None,
            spec: FrameworkSpec {
                info: Bytes::from_static(b"framework"),
                name: format!("framework {n}"),
                user: "root".to_owned(),
                principal: rng.maybe(|_| format!("principal {n}")),
                roles: roles(rng),
                failover_timeout: DurationMs(rng.below(90_000)),
                checkpoint: rng.chance(50),
                capabilities: Capabilities {
                    partition_aware: rng.chance(70),
                    shared_resources: rng.chance(70),
                    ..Capabilities::default()
                },
                offer_constraints: Bytes::new(),
            },
            n_calls: 0,
        }
    }
}

fn roles(rng: &mut Rng) -> BTreeSet<String> {
    let mut roles: BTreeSet<String> = ROLES
        .into_iter()
        .filter(|_| rng.chance(50))
        .map(str::to_owned)
        .collect();
    if roles.is_empty() {
        roles.insert("*".to_owned());
    }
    roles
}

impl Workload {
    pub(super) fn scheduler_acts(&mut self, state: &State) -> Option<Command> {
        let at = self.rng.index(self.schedulers.len());
        let id = self.schedulers[at].id.clone();
        let known = id.as_ref().and_then(|id| state.framework(id)).cloned();
        let Some(framework) = known else {
            return Some(self.subscribe(at, state));
        };
        if !framework.is_subscribed() {
            return self.rng.chance(40).then(|| self.subscribe(at, state));
        }
        let id = framework.id.clone();
        let offers: Vec<OfferId> = framework.offers.iter().copied().collect();
        match self.rng.below(100) {
            0..=2 => Some(self.subscribe(at, state)),
            3 => Some(self.update(at, id, &offers)),
            4 => Some(Command::TeardownFramework(TeardownFramework {
                framework: id,
            })),
            5..=44 => self.accept(at, id, &offers, state),
            45..=50 => Some(self.decline(id, &offers)),
            51..=52 => self.answer_inverse(&id, state),
            53..=56 => Some(Command::ReviveOffers(ReviveOffers {
                framework: id,
                roles: self.some_roles(),
            })),
            57..=59 => Some(Command::SuppressOffers(SuppressOffers {
                framework: id,
                roles: self.some_roles(),
            })),
            60..=67 => Some(self.kill(id, state)),
            68..=71 => self.acknowledge_operation(&id, state),
            72..=75 => self.shutdown(&id, state),
            _ => self.acknowledge(&id, state),
        }
    }

    fn some_roles(&mut self) -> Vec<String> {
        self.rng
            .several(2, |rng| ROLES[rng.index(ROLES.len())].to_owned())
    }

    fn subscribe(&mut self, at: usize, state: &State) -> Command {
        let stream = self.mint_stream();
        self.schedulers[at].stream = Some(stream);
        let (spec, suppressed) = self.describe(at);
        let known = self.schedulers[at].id.as_ref();
        let known = known.and_then(|id| state.framework(id));
        let offers: Vec<OfferId> =
            known.map_or_else(Vec::new, |f| f.offers.iter().copied().collect());
        let kept = self.rng.chance(30).then(|| self.some_offers(&offers));
        let scheduler = &self.schedulers[at];
        Command::SubscribeFramework(SubscribeFramework {
            framework: scheduler.id.clone(),
            spec,
            suppressed,
            stream,
            kept,
        })
    }

    /// What a scheduler says of itself now, and which roles it suppresses; seldom what it must not.
    fn describe(&mut self, at: usize) -> (FrameworkSpec, Vec<String>) {
        let scheduler = &mut self.schedulers[at];
        let mut suppressed = Vec::new();
        if self.rng.chance(15) {
            scheduler.spec.roles = roles(&mut self.rng);
        }
        if self.rng.chance(15) {
            suppressed.push(ROLES[self.rng.index(ROLES.len())].to_owned());
        }
        if self.rng.chance(10) {
            scheduler.spec.offer_constraints = Bytes::from_static(b"constraints");
        }
        let mut spec = scheduler.spec.clone();
        match self.rng.below(60) {
            0 | 1 => spec.principal = Some("somebody else".to_owned()),
            2 => spec.user = "somebody else".to_owned(),
            3 => spec.checkpoint = !spec.checkpoint,
            _ => {}
        }
        (spec, suppressed)
    }

    fn update(&mut self, at: usize, framework: FrameworkId, offers: &[OfferId]) -> Command {
        let (spec, suppressed) = self.describe(at);
        Command::UpdateFramework(UpdateFramework {
            framework,
            spec,
            suppressed,
            kept: self.some_offers(offers),
        })
    }

    fn some_offers(&mut self, offers: &[OfferId]) -> Vec<OfferId> {
        let all = offers.iter().copied();
        all.filter(|_| self.rng.chance(70)).collect()
    }

    fn accept(
        &mut self,
        at: usize,
        framework: FrameworkId,
        offers: &[OfferId],
        state: &State,
    ) -> Option<Command> {
        let first = *self.rng.pick(offers)?;
        let offer = state.offer(first)?;
        let agent = offer.agent.clone();
        let mut named = vec![Some(first)];
        // Others that can be used with it, and sometimes one that cannot.
        for other in offers {
            let together = state
                .offer(*other)
                .is_some_and(|o| o.agent == agent && o.role == offer.role);
            if *other != first && together && self.rng.chance(40) {
                named.push(Some(*other));
            }
        }
        if self.rng.chance(8) {
            named.push(match self.rng.below(4) {
                0 => None,
                1 => Some(first),
                2 => state
                    .offers()
                    .find(|o| o.framework != framework && o.agent == agent && o.role == offer.role)
                    .map(|o| o.id),
                _ => Some(OfferId(self.rng.below(state.counters().offer + 2))),
            });
        }
        let n_tasks = self.rng.below(4);
        let tasks = (0..n_tasks)
            .map(|_| self.task(&agent, &offer.resources))
            .collect();
        let principal = self.schedulers[at].spec.principal.clone();
        let mut operations: Vec<Operation> = self
            .rng
            .several(3, |_| ())
            .into_iter()
            .map(|()| self.conversion(&offer.resources, &offer.role, principal.as_deref()))
            .collect();
        let place = self.rng.index(operations.len() + 1);
        operations.insert(place, Operation::Launch(tasks));
        if self.rng.chance(40) {
            let place = self.rng.index(operations.len() + 1);
            let group = self.group(&agent, &offer.resources);
            operations.insert(place, Operation::LaunchGroup(group));
        }
        self.schedulers[at].n_calls += 1;
        let content = (at as u64) << 32 | self.schedulers[at].n_calls;
        Some(Command::AcceptOffers(AcceptOffers {
            framework,
            offers: named,
            operations,
            refuse: DurationMs(self.rng.below(3) * 5_000),
            content,
        }))
    }

    fn task(&mut self, agent: &AgentId, offered: &Resources) -> LaunchSpec {
        let n = self.rng.below(TASK_IDS);
        let whose = if self.rng.chance(2) {
            AgentId::new("elsewhere").expect("a word is a valid id")
        } else {
            agent.clone()
        };
        if self.rng.chance(4) {
            return LaunchSpec::Invalid {
                task_id: format!("t{n}/"),
                agent: Some(whose),
                message: "contains invalid characters".to_owned(),
            };
        }
        let part = 1 + self.rng.below(4) as i64;
        let cpus = Milli(offered.unreserved().scalar("cpus").0 / part);
        let mut resources = Resources::of_scalar("cpus", cpus);
        if self.rng.chance(30) {
            resources += offered.persistent_volumes();
        }
        if self.rng.chance(30) {
            resources += offered.reserved().named("cpus");
        }
        LaunchSpec::Valid(TaskSpec {
            task: TaskId::new(format!("t{n}")).expect("a letter with digits is a valid id"),
            agent: whose,
            name: format!("task {n}"),
            resources,
            info: Bytes::from_static(b"task"),
            executor: self.executor(),
        })
    }

    /// Tasks of one executor; seldom one that does not belong there.
    fn group(&mut self, agent: &AgentId, offered: &Resources) -> Vec<LaunchSpec> {
        let n_tasks = self.rng.below(4);
        let mut tasks: Vec<LaunchSpec> = (0..n_tasks).map(|_| self.task(agent, offered)).collect();
        let executor = Some(self.some_executor());
        for task in &mut tasks {
            if let LaunchSpec::Valid(task) = task
                && !self.rng.chance(5)
            {
                task.executor.clone_from(&executor);
                task.resources = Resources::of_scalar("cpus", Milli(100));
            }
        }
        tasks
    }

    fn executor(&mut self) -> Option<ExecutorSpec> {
        self.rng.chance(25).then(|| self.some_executor())
    }

    fn some_executor(&mut self) -> ExecutorSpec {
        let n = self.rng.below(3);
        ExecutorSpec {
            executor: ExecutorId::new(format!("e{n}"))
                .expect("a letter with a digit is a valid id"),
            resources: Resources::of_scalar("cpus", Milli(250)),
            // Seldom another one under the same id.
            info: Bytes::from(if self.rng.chance(5) { "other" } else { "" }),
        }
    }

    fn shutdown(&mut self, framework: &FrameworkId, state: &State) -> Option<Command> {
        let there: Vec<_> = state
            .executors_of(framework)
            .map(|(agent, e)| (agent.clone(), e.key.clone()))
            .collect();
        let (agent, executor) = self.rng.pick(&there)?.clone();
        Some(Command::ShutdownExecutor(ShutdownExecutor {
            executor,
            agent,
        }))
    }

    fn decline(&mut self, framework: FrameworkId, offers: &[OfferId]) -> Command {
        let mut offers: Vec<OfferId> = offers
            .iter()
            .copied()
            .filter(|_| self.rng.chance(40))
            .collect();
        if self.rng.chance(10) {
            offers.push(OfferId(self.rng.below(100)));
        }
        Command::DeclineOffers(DeclineOffers {
            framework,
            offers,
            refuse: DurationMs(self.rng.below(60_000)),
        })
    }

    fn kill(&mut self, framework: FrameworkId, state: &State) -> Command {
        let task = TaskId::new(format!("t{}", self.rng.below(TASK_IDS)))
            .expect("a letter with digits is a valid id");
        let task = TaskKey { framework, task };
        let believed = state.task(&task).map(|t| t.agent.clone());
        Command::KillTask(KillTask {
            agent: believed.filter(|_| self.rng.chance(70)),
            grace: self.rng.maybe(|rng| DurationMs(1_000 * rng.below(3))),
            task,
        })
    }

    fn acknowledge(&mut self, framework: &FrameworkId, state: &State) -> Option<Command> {
        let waiting: Vec<_> = state
            .framework(framework)
            .into_iter()
            .flat_map(|f| state.tasks_of(f))
            .filter(|t| t.unacked.is_some())
            .collect();
        let task = self.rng.pick(&waiting)?;
        let mut uuid = task.unacked.as_ref()?.uuid;
        let mut agent = task.agent.clone();
        match self.rng.below(40) {
            0 => uuid = UpdateUuid(uuid.0.wrapping_sub(1)),
            1 => agent = AgentId::new("elsewhere").expect("a word is a valid id"),
            _ => {}
        }
        Some(Command::AcknowledgeUpdate(AcknowledgeUpdate {
            task: task.key.clone(),
            agent,
            uuid,
        }))
    }

    pub(super) fn acknowledge_any(&mut self, state: &State) -> Option<Command> {
        let task = state.tasks().find(|t| t.unacked.is_some())?;
        Some(Command::AcknowledgeUpdate(AcknowledgeUpdate {
            task: task.key.clone(),
            agent: task.agent.clone(),
            uuid: task.unacked.as_ref()?.uuid,
        }))
    }

    pub(super) fn schedulers_learn(&mut self, command: &Command, applied: &Applied) {
        let Command::SubscribeFramework(subscribe) = command else {
            return;
        };
        let scheduler = self
            .schedulers
            .iter_mut()
            .find(|s| s.stream == Some(subscribe.stream));
        let Some(scheduler) = scheduler else {
            return;
        };
        match &applied.verdict {
            Ok(Outcome::Subscribed { framework }) => scheduler.id = Some(framework.clone()),
            // Begins anew, as after a removal.
            _ if self.rng.chance(70) => scheduler.id = None,
            _ => {}
        }
    }
}
