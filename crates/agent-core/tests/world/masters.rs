//! The masters' side: a command log, what they learnt, and a stale one among them.

use bytes::Bytes;
use regency_agent_core::message::Report;
use regency_agent_core::{
    AgentMessage, Command, Fence, Input, InstanceId, LaunchId, MasterMessage, Numbered, Record,
    StreamNo, Update,
};
use regency_agent_core::{CheckStatus, HealthRule};
use regency_types::{
    DurationMs, FrameworkId, Generation, NodeId, TaskId, TaskKey, TaskState, Term, UpdateUuid,
};

use regency_testkit::agent::Process;

use super::{CLUSTER, Op, World};

impl World {
    /// The leader hears a message; it commits at once.
    pub(super) fn hear(&mut self, stream: StreamNo, message: AgentMessage) {
        match message {
            AgentMessage::Attach {
                highest_term,
                command_seq,
                report_seq,
                cluster,
                ..
            } => {
                assert!(highest_term <= self.term);
                assert!(cluster.is_none_or(|cluster| cluster == CLUSTER));
                assert!(
                    report_seq >= self.applied_report_seq,
                    "durable report numbers went back"
                );
                assert!(usize::try_from(command_seq).is_ok_and(|seq| seq <= self.log.len()));
                self.delivered = command_seq as usize;
                self.sent_report_seq = self.applied_report_seq;
                let attached = MasterMessage::Attached {
                    agent_id: CLUSTER.agent_id(0),
                    applied_report_seq: self.applied_report_seq,
                    ping_interval: DurationMs(1_000),
                    ping_timeout: DurationMs(u64::MAX),
                    adoption: None,
                };
                self.say(stream, attached);
            }
            AgentMessage::Reports { reports, .. } => {
                for report in reports {
                    assert!(
                        report.report_seq > self.sent_report_seq,
                        "report {} after {}",
                        report.report_seq,
                        self.sent_report_seq
                    );
                    self.sent_report_seq = report.report_seq;
                    self.applied_report_seq = report.report_seq;
                    let head = report.head.clone().expect("a report carries its head");
                    self.learn(&report, head);
                }
                self.say(
                    stream,
                    MasterMessage::ReportsCommitted(self.applied_report_seq),
                );
            }
            AgentMessage::Resync {
                report_seq,
                command_seq,
                tasks,
                executors,
                ..
            } => {
                let named = executors.into_iter().map(|(id, _)| id).collect();
                self.hear_all(&named, command_seq);
                assert!(report_seq >= self.applied_report_seq);
                self.applied_report_seq = report_seq;
                self.sent_report_seq = report_seq;
                for report in tasks {
                    if let Some(head) = report.head.clone() {
                        self.learn(&report, head);
                    }
                }
                self.say(stream, MasterMessage::ReportsCommitted(report_seq));
            }
            AgentMessage::Pong { .. } => {}
            AgentMessage::ExecutorExit {
                report_seq,
                executor,
                ..
            } => {
                assert!(report_seq > self.sent_report_seq, "{executor}");
                self.sent_report_seq = report_seq;
                self.applied_report_seq = report_seq;
                self.hear_end(&executor);
                self.say(
                    stream,
                    MasterMessage::ReportsCommitted(self.applied_report_seq),
                );
            }
            AgentMessage::ExecutorMessage { .. } => panic!("no executor said anything"),
        }
    }

    pub(super) fn learn(&mut self, report: &Report, head: Update) {
        let durable = self.on_disk(&report.id, head.task_seq);
        assert!(durable, "{} was told of before it was durable", report.id);
        let known = self.known.entry(report.id.clone()).or_default();
        assert!(
            head.task_seq <= known.acknowledged + 1,
            "{}: an update was skipped",
            report.id
        );
        if let Some(earlier) = known.updates.get(&head.task_seq) {
            assert_eq!(*earlier, head, "{}: an update changed", report.id);
        }
        if known.latest.is_some_and(TaskState::is_terminal) {
            assert_eq!(
                known.latest,
                Some(report.latest_state),
                "{}: a second fate",
                report.id
            );
        }
        known.latest = Some(report.latest_state);
        known.updates.insert(head.task_seq, head);
    }

    pub(super) fn on_disk(&self, wanted: &LaunchId, task_seq: u64) -> bool {
        self.machine.disk().iter().any(|record| {
            matches!(record, Record::Updated { id, update, .. }
                if id == wanted && update.task_seq == task_seq)
        })
    }

    pub(super) fn say(&mut self, stream: StreamNo, message: MasterMessage) {
        let fence = Fence {
            cluster: CLUSTER,
            term: self.term,
            leader: NodeId(1),
        };
        self.input(Input::Received(stream, fence, message));
    }

    pub(super) fn deliver(&mut self, from: usize) {
        let Some(stream) = self.stream else { return };
        if self.machine.core().attached_to().is_none() {
            return;
        }
        let batch: Vec<Numbered> = self
            .log
            .iter()
            .enumerate()
            .skip(from)
            .map(|(index, command)| Numbered {
                seq: index as u64 + 1,
                command: command.clone(),
            })
            .collect();
        self.delivered = self.log.len();
        if !batch.is_empty() {
            self.say(stream, MasterMessage::Commands(batch));
        }
    }

    pub(super) fn key(framework: u8, task: u8) -> TaskKey {
        TaskKey {
            framework: FrameworkId::new(format!("f{framework}")).expect("an id"),
            task: TaskId::new(format!("t{task}")).expect("an id"),
        }
    }

    pub(super) fn launch(id: LaunchId, defect: bool) -> Command {
        Self::launch_in(id, defect, None)
    }

    pub(super) fn launch_in(id: LaunchId, defect: bool, executor: Option<InstanceId>) -> Command {
        let killing_state = id.key.framework.as_str() == "f0";
        let task = id.key.task.as_str().to_owned();
        Command::Launch {
            id,
            framework_info: Bytes::from_static(b"f"),
            task_info: Bytes::from_static(b"t"),
            kill_grace: None,
            killing_state,
            // One task of each framework is checked, another one has a limit.
            health: (task == "t0").then_some(HealthRule {
                consecutive_failures: 2,
                grace: DurationMs(300),
            }),
            check: (task == "t0").then_some(CheckStatus::Tcp(None)),
            max_completion: (task == "t1").then_some(DurationMs(2_000)),
            executor,
            defect: defect.then(|| "cannot run".to_owned()),
        }
    }

    /// Whether the end of a launch was acknowledged.
    pub(super) fn settled(&self, id: &LaunchId) -> bool {
        self.known.get(id).is_some_and(|known| {
            let last = known.updates.get(&known.acknowledged);
            last.is_some_and(|update| update.state.is_terminal())
        })
    }

    /// A new generation of a task, unless its framework is gone or an earlier one still counts.
    pub(super) fn fresh(&mut self, framework: u8, task: u8) -> Option<LaunchId> {
        let key = Self::key(framework, task);
        let busy = self
            .launched
            .iter()
            .any(|id| id.key == key && !self.settled(id));
        if busy || self.gone.contains(&key.framework) {
            return None;
        }
        self.next_generation += 1;
        let id = LaunchId {
            key,
            generation: Generation(self.next_generation),
        };
        self.launched.insert(id.clone());
        Some(id)
    }

    pub(super) fn connect(&mut self) {
        if self.stream.is_none() {
            self.n_streams += 1;
            let stream = StreamNo(self.n_streams);
            self.stream = Some(stream);
            self.input(Input::StreamOpened(stream));
        }
    }

    /// A master of an older term answers on a stream of its own: nothing of it may be followed.
    pub(super) fn stale_master(&mut self) {
        self.follow(Op::Disconnect);
        let highest = self.machine.core().durable().highest_term;
        if highest == Term(0) {
            return;
        }
        self.n_streams += 1;
        let stream = StreamNo(self.n_streams);
        let fence = Fence {
            cluster: CLUSTER,
            term: Term(highest.0 - 1),
            leader: NodeId(2),
        };
        self.input(Input::StreamOpened(stream));
        let before = self.machine.core().durable().clone();
        let n_running = self.processes_that(Process::Running).len();
        self.input(Input::Received(
            stream,
            fence,
            MasterMessage::Attached {
                agent_id: CLUSTER.agent_id(0),
                applied_report_seq: u64::MAX / 2,
                ping_interval: DurationMs(1),
                ping_timeout: DurationMs(1),
                adoption: None,
            },
        ));
        let command = Command::ShutdownFramework(Self::key(0, 0).framework);
        let commands = vec![Numbered {
            seq: before.command_seq + 1,
            command,
        }];
        self.input(Input::Received(
            stream,
            fence,
            MasterMessage::Commands(commands),
        ));
        assert_eq!(
            *self.machine.core().durable(),
            before,
            "a stale master was followed"
        );
        assert_eq!(n_running, self.processes_that(Process::Running).len());
    }

    pub(super) fn heads(&self) -> Vec<(LaunchId, UpdateUuid)> {
        self.known
            .iter()
            .filter(|(id, _)| !self.gone.contains(&id.key.framework))
            .filter_map(|(id, known)| Some((id.clone(), known.head()?.uuid)))
            .collect()
    }

    pub(super) fn acknowledge(&mut self, id: LaunchId, uuid: UpdateUuid) {
        let known = self
            .known
            .get_mut(&id)
            .expect("only known heads are acknowledged");
        known.acknowledged += 1;
        self.log.push(Command::Acknowledge { id, uuid });
    }
}
