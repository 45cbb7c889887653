//! A master with a memory of its own: it commits at once and never forgets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_rpc::proto::regency::agent::v1::agent_attachment_server::{
    AgentAttachment, AgentAttachmentServer,
};
use regency_wire::v1;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::eventually;

pub(crate) const CLUSTER: u128 = 0xC1;
pub(crate) const FRAMEWORK: &str = "framework-1";

/// What all masters of a cluster know. Several of them share it, as if replicated.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Every attachment that was asked for at a leader.
    pub(crate) attaches: Vec<rpc::Attach>,
    /// Command number n is at n - 1.
    pub(crate) commands: Vec<rpc::command::Command>,
    /// Highest command number the agent said it noted.
    pub(crate) noted: u64,
    pub(crate) applied_report_seq: u64,
    /// Updates of each task (with its generation) in the order they first came.
    pub(crate) updates: BTreeMap<(String, u64), Vec<v1::TaskStatus>>,
    pub(crate) latest: BTreeMap<(String, u64), i32>,
    pub(crate) resyncs: Vec<rpc::Resync>,
    /// Ends of executors, in the order they came.
    pub(crate) exits: Vec<rpc::executor_exits::Exit>,
    /// What executors said to their framework.
    pub(crate) messages: Vec<rpc::ExecutorMessage>,
    /// Acknowledge each update when it comes.
    pub(crate) acknowledges: bool,
    pub(crate) next_generation: u64,
}

impl Memory {
    fn learn(&mut self, report: &rpc::Report) {
        let key = (report.task_id.clone(), report.generation);
        self.latest.insert(key.clone(), report.latest_state);
        if report.status.is_empty() {
            return;
        }
        let status = v1::TaskStatus::decode(report.status.clone()).expect("a status");
        let updates = self.updates.entry(key).or_default();
        let is_known = updates.iter().any(|known| known.uuid == status.uuid);
        if is_known {
            return;
        }
        assert_eq!(
            updates.len() as u64 + 1,
            report.task_seq,
            "updates come in order"
        );
        updates.push(status.clone());
        if self.acknowledges {
            self.acknowledge(
                &report.task_id,
                report.generation,
                status.uuid.expect("a uuid"),
            );
        }
    }

    fn acknowledge(&mut self, task: &str, generation: u64, uuid: Bytes) {
        self.commands
            .push(rpc::command::Command::Acknowledge(rpc::Acknowledge {
                framework_id: FRAMEWORK.to_owned(),
                task_id: task.to_owned(),
                generation,
                uuid,
            }));
    }
}

/// How one master behaves.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) term: u64,
    /// The leader's address, when it is another one.
    pub(crate) leader: Option<String>,
    pub(crate) refuses: Option<rpc::refused::Reason>,
    pub(crate) pings: bool,
    /// Raised by one to cut all streams.
    pub(crate) cut: u64,
    /// Raised by one when there are new commands.
    pub(crate) woken: u64,
    /// Raised by one to ask for the whole picture.
    pub(crate) resync: u64,
    /// Raised by one to remove the agent.
    pub(crate) shutdown: u64,
}

#[derive(Clone)]
struct Service {
    node: u64,
    memory: Arc<Mutex<Memory>>,
    manner: watch::Receiver<Manner>,
    wake: watch::Sender<Manner>,
}

/// A running master.
pub(crate) struct Master {
    pub(crate) address: SocketAddr,
    pub(crate) memory: Arc<Mutex<Memory>>,
    pub(crate) manner: watch::Sender<Manner>,
    server: JoinHandle<()>,
}

impl Drop for Master {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Master {
    /// A leader of term 1 that acknowledges what it hears.
    pub(crate) fn leader() -> Self {
        let memory = Arc::new(Mutex::new(Memory {
            acknowledges: true,
            ..Memory::default()
        }));
        Self::start(1, memory, None)
    }

    pub(crate) fn start(node: u64, memory: Arc<Mutex<Memory>>, leader: Option<String>) -> Self {
        let listener = regency_rpc::Listener::bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (manner, watched) = watch::channel(Manner {
            term: 1,
            leader,
            refuses: None,
            pings: true,
            cut: 0,
            woken: 0,
            resync: 0,
            shutdown: 0,
        });
        let service = Service {
            node,
            memory: Arc::clone(&memory),
            manner: watched,
            wake: manner.clone(),
        };
        let routes = tonic::service::Routes::new(AgentAttachmentServer::new(service));
        let server = tokio::spawn(async move {
            regency_rpc::serve(listener, routes, std::future::pending())
                .await
                .expect("a server");
        });
        Self {
            address,
            memory,
            manner,
            server,
        }
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Memory) -> T) -> T {
        f(&mut self.memory.lock().expect("no panic in the master"))
    }

    pub(crate) fn change(&self, f: impl FnOnce(&mut Manner)) {
        self.manner.send_modify(f);
    }

    pub(crate) fn command(&self, command: rpc::command::Command) {
        self.with(|memory| memory.commands.push(command));
        self.change(|manner| manner.woken += 1);
    }

    /// Launches a shell command; gives the launch's generation.
    pub(crate) fn launch(&self, task: &str, script: &str) -> u64 {
        self.launch_info(v1::TaskInfo {
            name: task.to_owned(),
            task_id: v1::TaskId {
                value: task.to_owned(),
            },
            command: Some(v1::CommandInfo {
                value: Some(script.to_owned()),
                ..v1::CommandInfo::default()
            }),
            ..v1::TaskInfo::default()
        })
    }

    pub(crate) fn launch_info(&self, task: v1::TaskInfo) -> u64 {
        use v1::framework_info::{Capability, capability};
        let generation = self.with(|memory| {
            memory.next_generation += 1;
            memory.next_generation
        });
        let framework = v1::FrameworkInfo {
            name: "test".to_owned(),
            capabilities: vec![Capability {
                r#type: Some(capability::Type::TaskKillingState as i32),
            }],
            ..v1::FrameworkInfo::default()
        };
        self.command(rpc::command::Command::Launch(rpc::Launch {
            framework_id: FRAMEWORK.to_owned(),
            generation,
            framework_info: framework.encode_to_vec().into(),
            task_info: task.encode_to_vec().into(),
            executor: None,
        }));
        generation
    }

    pub(crate) fn kill(&self, task: &str, generation: u64, grace_ms: Option<u64>) {
        self.command(rpc::command::Command::Kill(rpc::Kill {
            framework_id: FRAMEWORK.to_owned(),
            task_id: task.to_owned(),
            generation,
            grace_ms,
        }));
    }

    /// States of a task's updates so far.
    pub(crate) fn states(&self, task: &str, generation: u64) -> Vec<&'static str> {
        self.with(|memory| {
            let updates = memory.updates.get(&(task.to_owned(), generation));
            updates
                .into_iter()
                .flatten()
                .map(|s| s.state().as_str_name())
                .collect()
        })
    }

    /// Waits until the newest update of a task has `state`, and gives all its updates.
    pub(crate) async fn wait_for(
        &self,
        task: &str,
        generation: u64,
        state: &str,
    ) -> Vec<v1::TaskStatus> {
        let what = format!("{task} becomes {state}");
        eventually(&what, || async {
            self.with(|memory| {
                let updates = memory.updates.get(&(task.to_owned(), generation))?;
                let there = updates
                    .iter()
                    .any(|update| update.state().as_str_name() == state);
                there.then(|| updates.clone())
            })
        })
        .await
    }

    /// Waits until the agent noted every command.
    pub(crate) async fn wait_until_noted(&self) {
        eventually("all commands are noted", || async {
            self.with(|memory| (memory.noted == memory.commands.len() as u64).then_some(()))
        })
        .await;
    }
}

type Outbound = mpsc::Sender<Result<rpc::MasterMessage, Status>>;

#[tonic::async_trait]
impl AgentAttachment for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<rpc::MasterMessage, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<rpc::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (outbound, stream) = mpsc::channel(64);
        let service = self.clone();
        tokio::spawn(async move {
            // A stream that breaks is what the test wanted.
            let _ = service.talk(request.into_inner(), outbound).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl Service {
    fn say(&self, message: rpc::master_message::Message) -> rpc::MasterMessage {
        rpc::MasterMessage {
            cluster_id: Bytes::copy_from_slice(&CLUSTER.to_be_bytes()),
            term: self.manner.borrow().term,
            leader: self.node,
            message: Some(message),
        }
    }

    async fn talk(
        mut self,
        mut inbound: Streaming<rpc::AgentMessage>,
        outbound: Outbound,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        use rpc::agent_message::Message as Said;
        use rpc::master_message::Message as Say;
        let Some(Said::Attach(attach)) = inbound.message().await?.and_then(|m| m.message) else {
            return Ok(());
        };
        let manner = self.manner.borrow_and_update().clone();
        let refusal = match &manner.leader {
            Some(_) => Some(rpc::refused::Reason::NotLeader),
            None => manner.refuses,
        };
        if let Some(reason) = refusal {
            let refused = rpc::Refused {
                reason: reason as i32,
                message: "as the test wants it".to_owned(),
                leader_address: manner.leader.clone().unwrap_or_default(),
            };
            outbound.send(Ok(self.say(Say::Refused(refused)))).await?;
            return Ok(());
        }
        let mut sent = attach.command_seq;
        let applied_report_seq = {
            let mut memory = self.memory.lock().expect("no panic");
            memory.attaches.push(attach);
            memory.applied_report_seq
        };
        let attached = rpc::Attached {
            agent_id: "agent-S0".to_owned(),
            applied_report_seq,
            ping_interval_ms: 50,
            ping_timeout_ms: 1_000,
            adoption: None,
        };
        outbound.send(Ok(self.say(Say::Attached(attached)))).await?;
        let mut pings = tokio::time::interval(Duration::from_millis(50));
        loop {
            let commands: Vec<rpc::Command> = {
                let memory = self.memory.lock().expect("no panic");
                let fresh = memory.commands.iter().enumerate().skip(sent as usize);
                fresh
                    .map(|(index, command)| rpc::Command {
                        command_seq: index as u64 + 1,
                        command: Some(command.clone()),
                    })
                    .collect()
            };
            if !commands.is_empty() {
                sent += commands.len() as u64;
                outbound
                    .send(Ok(self.say(Say::Commands(rpc::Commands { commands }))))
                    .await?;
            }
            tokio::select! {
                said = inbound.next() => match said {
                    Some(Ok(message)) => {
                        if let Some(answer) = self.hear(message) {
                            outbound.send(Ok(self.say(answer))).await?;
                        }
                    }
                    Some(Err(status)) => return Err(status.into()),
                    None => return Ok(()),
                },
                _ = pings.tick(), if manner.pings => {
                    outbound.send(Ok(self.say(Say::Ping(rpc::Ping::default())))).await?;
                }
                changed = self.manner.changed() => {
                    changed?;
                    let now = self.manner.borrow_and_update().clone();
                    if now.cut != manner.cut || now.term != manner.term || now.leader.is_some() {
                        return Ok(());
                    }
                    if now.resync != manner.resync {
                        outbound.send(Ok(self.say(Say::ResyncRequest(rpc::ResyncRequest::default())))).await?;
                    }
                    if now.shutdown != manner.shutdown {
                        let reason = "the test removed it".to_owned();
                        outbound.send(Ok(self.say(Say::Shutdown(rpc::Shutdown { reason })))).await?;
                    }
                }
            }
        }
    }

    fn hear(&self, message: rpc::AgentMessage) -> Option<rpc::master_message::Message> {
        use rpc::agent_message::Message as Said;
        let mut memory = self.memory.lock().expect("no panic");
        match message.message? {
            Said::Attach(_) => None,
            Said::Pong(pong) => {
                memory.noted = pong.command_seq;
                None
            }
            Said::Resync(resync) => {
                memory.resyncs.push(resync);
                None
            }
            Said::ExecutorExits(exits) => {
                memory.noted = memory.noted.max(exits.command_seq);
                for exit in exits.exits {
                    assert!(
                        exit.report_seq > memory.applied_report_seq,
                        "reports ascend"
                    );
                    memory.applied_report_seq = exit.report_seq;
                    memory.exits.push(exit);
                }
                let report_seq = memory.applied_report_seq;
                drop(memory);
                self.wake.send_modify(|manner| manner.woken += 1);
                Some(rpc::master_message::Message::ReportsCommitted(
                    rpc::ReportsCommitted { report_seq },
                ))
            }
            Said::ExecutorMessage(message) => {
                memory.messages.push(message);
                None
            }
            Said::Reports(reports) => {
                memory.noted = memory.noted.max(reports.command_seq);
                for report in &reports.reports {
                    assert!(
                        report.report_seq > memory.applied_report_seq,
                        "reports ascend"
                    );
                    memory.applied_report_seq = report.report_seq;
                    memory.learn(report);
                }
                let report_seq = memory.applied_report_seq;
                drop(memory);
                self.wake.send_modify(|manner| manner.woken += 1);
                Some(rpc::master_message::Message::ReportsCommitted(
                    rpc::ReportsCommitted { report_seq },
                ))
            }
        }
    }
}
