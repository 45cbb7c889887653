//! A small cluster for the tests of the command families.

use std::collections::BTreeSet;

use bytes::Bytes;
use regency_resources::Resources;
use regency_types::{
    AgentEpoch, AgentId, BootId, ClusterId, ClusterTime, DurationMs, FrameworkId, Generation,
    Incarnation, NodeId, OfferId, StreamId, TaskId, TaskKey, TaskState, Term, UpdateUuid, WallTime,
};

use crate::apply::Applied;
use crate::command::*;
use crate::effect::Effect;
use crate::model::{AgentCommand, AgentSpec, Capabilities, FrameworkSpec};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

pub(crate) struct Given {
    pub(crate) state: State,
    pub(crate) at: ClusterTime,
}

pub(crate) fn begin_term(term: u64) -> BeginTerm {
    BeginTerm {
        cluster: ClusterId(7),
        term: Term(term),
        master: MasterInfo {
            node: NodeId(1),
            incarnation: Incarnation(1),
            process: 1,
            hostname: "m1".into(),
            http: "m1:5050".into(),
            agent: "m1:5061".into(),
            version: "0".into(),
        },
    }
}

pub(crate) fn resources(text: &str) -> Resources {
    regency_resources::parse::resources(text, "*").expect("a test's resources parse")
}

impl Given {
    /// A cluster in its first term, with nothing in it.
    pub(crate) fn new() -> Self {
        let mut given = Self {
            state: State::default(),
            at: ClusterTime(0),
        };
        given.ok(Command::BeginTerm(begin_term(1)));
        given
    }

    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        let proposal = Proposal {
            proposed_at: self.at,
            wall: WallTime(self.at.0),
            command,
        };
        let applied = self.state.apply(&proposal);
        self.state
            .check_invariants()
            .expect("the invariants hold after every entry");
        applied
    }

    pub(crate) fn ok(&mut self, command: Command) -> (Outcome, Vec<crate::Effect>) {
        let applied = self.apply(command);
        (
            applied.verdict.expect("the command is accepted"),
            applied.effects,
        )
    }

    pub(crate) fn spec(address: &str, total: &str) -> AgentSpec {
        AgentSpec {
            info: Bytes::new(),
            hostname: "a".into(),
            address: address.into(),
            total: resources(total),
            version: "0".into(),
        }
    }

    pub(crate) fn agent(&mut self, epoch: u128, total: &str) -> AgentId {
        let (outcome, _) = self.ok(Command::RegisterAgent(RegisterAgent {
            epoch: AgentEpoch(epoch),
            boot: BootId(1),
            spec: Self::spec(&format!("a{epoch}:5051"), total),
        }));
        match outcome {
            Outcome::AgentRegistered { agent } => agent,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn framework_spec() -> FrameworkSpec {
        FrameworkSpec {
            info: Bytes::new(),
            name: "f".into(),
            user: "root".into(),
            principal: None,
            roles: BTreeSet::from(["*".to_owned()]),
            failover_timeout: DurationMs(1000),
            checkpoint: false,
            capabilities: Capabilities {
                partition_aware: true,
                ..Capabilities::default()
            },
            offer_constraints: Bytes::new(),
        }
    }

    pub(crate) fn subscribe(&mut self, id: Option<FrameworkId>, stream: u128) -> FrameworkId {
        let (outcome, _) = self.ok(Command::SubscribeFramework(SubscribeFramework {
            framework: id,
            spec: Self::framework_spec(),
            suppressed: Vec::new(),
            stream: StreamId(stream),
            kept: None,
        }));
        match outcome {
            Outcome::Subscribed { framework } => framework,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn offer(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        what: &str,
    ) -> OfferId {
        let (outcome, _) = self.ok(Command::IssueOffers(IssueOffers {
            plans: vec![OfferPlan {
                framework: framework.clone(),
                role: "*".into(),
                agent: agent.clone(),
                resources: resources(what),
                described: 0,
            }],
            timeout: None,
        }));
        match outcome {
            Outcome::OffersIssued { offers, .. } => offers[0],
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn task(id: &str, agent: &AgentId, what: &str) -> LaunchSpec {
        LaunchSpec::Valid(TaskSpec {
            task: TaskId::new(id).expect("a test's id is valid"),
            agent: agent.clone(),
            name: id.into(),
            resources: resources(what),
            info: Bytes::new(),
            executor: None,
        })
    }

    pub(crate) fn accept(
        framework: &FrameworkId,
        offers: &[OfferId],
        tasks: Vec<LaunchSpec>,
    ) -> Command {
        Command::AcceptOffers(AcceptOffers {
            framework: framework.clone(),
            offers: offers.iter().copied().map(Some).collect(),
            operations: vec![Operation::Launch(tasks)],
            refuse: DurationMs(0),
            content: 42,
        })
    }

    pub(crate) fn key(framework: &FrameworkId, id: &str) -> TaskKey {
        TaskKey {
            framework: framework.clone(),
            task: TaskId::new(id).expect("a test's id is valid"),
        }
    }

    /// One agent (epoch 1), one framework (stream 1) and one task `t` of it, launched.
    pub(crate) fn with_task() -> (Self, AgentId, FrameworkId, TaskKey) {
        let mut given = Self::new();
        let agent = given.agent(1, "cpus:4;mem:1024");
        let framework = given.subscribe(None, 1);
        let offer = given.offer(&framework, &agent, "cpus:4;mem:1024");
        given.ok(Self::accept(
            &framework,
            &[offer],
            vec![Self::task("t", &agent, "cpus:1;mem:32")],
        ));
        let key = Self::key(&framework, "t");
        (given, agent, framework, key)
    }

    /// The agent (epoch 1) reports a state of the task as a new head.
    pub(crate) fn report(
        &mut self,
        agent: &AgentId,
        key: &TaskKey,
        seq: u64,
        state: TaskState,
    ) -> Applied {
        let generation = self
            .state
            .task(key)
            .map_or(regency_types::Generation(1), |t| t.generation);
        let command_seq = self.state.agent(agent).map_or(0, |a| a.command_seq);
        self.apply(Command::ApplyReports(ApplyReports {
            agent: agent.clone(),
            epoch: AgentEpoch(1),
            command_seq,
            reports: vec![TaskReport {
                report_seq: seq,
                task: key.clone(),
                generation,
                task_seq: seq,
                head: Some(ReportedUpdate {
                    uuid: UpdateUuid(u128::from(seq)),
                    state,
                    status: Bytes::from_static(b"s"),
                }),
                latest_state: state,
            }],
        }))
    }

    pub(crate) fn acknowledge(&mut self, agent: &AgentId, key: &TaskKey, uuid: u128) -> Applied {
        self.apply(Command::AcknowledgeUpdate(AcknowledgeUpdate {
            task: key.clone(),
            agent: agent.clone(),
            uuid: UpdateUuid(uuid),
        }))
    }

    pub(crate) fn later(&mut self, ms: u64) {
        self.at += DurationMs(ms);
    }

    /// Applies what must be refused without a trace.
    pub(crate) fn refused(&mut self, command: Command) -> Refusal {
        let before = self.state.clone();
        let applied = self.apply(command);
        assert_eq!(applied.effects, Vec::new(), "a refusal has effects");
        let (mut before, mut after) = (before.to_parts(), self.state.to_parts());
        for parts in [&mut before, &mut after] {
            parts.now = ClusterTime(0);
            parts.wall = WallTime(0);
        }
        assert_eq!(before, after, "a refusal changed the state");
        applied.verdict.expect_err("the command is refused")
    }

    pub(crate) fn suspect(&mut self, agent: &AgentId) {
        self.ok(Command::SuspectAgents(SuspectAgents {
            agents: vec![(agent.clone(), self.at)],
        }));
    }

    pub(crate) fn give_up(&mut self, agent: &AgentId) -> Vec<Effect> {
        self.suspect(agent);
        let (_, effects) = self.ok(Command::MarkAgentUnreachable(MarkAgentUnreachable {
            agent: agent.clone(),
        }));
        effects
    }

    /// The agent (epoch 1) attaches with this total.
    pub(crate) fn reregister(&mut self, agent: &AgentId, total: &str) -> Applied {
        self.apply(Command::ReregisterAgent(ReregisterAgent {
            agent: agent.clone(),
            epoch: AgentEpoch(1),
            boot: BootId(2),
            spec: Self::spec("a1:5051", total),
        }))
    }

    /// The agent (epoch 1) gives its whole picture.
    pub(crate) fn resync(
        &mut self,
        agent: &AgentId,
        command_seq: u64,
        tasks: Vec<TaskReport>,
    ) -> Vec<Effect> {
        let (_, effects) = self.ok(Command::ResyncAgent(ResyncAgent {
            agent: agent.clone(),
            epoch: AgentEpoch(1),
            command_seq,
            report_seq: 0,
            tasks,
        }));
        effects
    }

    /// The agent (epoch 1) confirms all commands.
    pub(crate) fn confirm_all(&mut self, agent: &AgentId) {
        let command_seq = self.state.agent(agent).map_or(0, |a| a.command_seq);
        self.ok(Command::ApplyReports(ApplyReports {
            agent: agent.clone(),
            epoch: AgentEpoch(1),
            command_seq,
            reports: Vec::new(),
        }));
    }

    pub(crate) fn outbox(&self, agent: &AgentId) -> Vec<AgentCommand> {
        let agent = self.state.agent(agent).expect("the agent is known");
        agent.outbox.values().cloned().collect()
    }

    pub(crate) fn task_state(&self, key: &TaskKey) -> Option<TaskState> {
        self.state.task(key).map(|t| t.state)
    }

    /// The state in which the newest completed task of the framework ended.
    pub(crate) fn completed_as(&self, framework: &FrameworkId) -> Option<TaskState> {
        let framework = self.state.framework(framework)?;
        framework.completed_tasks.last().map(|t| t.state)
    }

    /// The update of this state that follows the ones reported so far.
    pub(crate) fn news(key: &TaskKey, generation: u64, seq: u64, state: TaskState) -> TaskReport {
        TaskReport {
            report_seq: seq,
            task: key.clone(),
            generation: Generation(generation),
            task_seq: seq,
            head: Some(ReportedUpdate {
                uuid: UpdateUuid(u128::from(seq)),
                state,
                status: Bytes::from_static(b"s"),
            }),
            latest_state: state,
        }
    }
}

/// The statuses among the effects that masters made themselves.
pub(crate) fn statuses(effects: &[Effect]) -> Vec<(&str, TaskState)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendStatus { status, .. } => Some((status.task_id.as_str(), status.state)),
            _ => None,
        })
        .collect()
}
