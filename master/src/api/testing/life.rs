//! What happens to a framework in its life, so that it is sent every kind of event.

use std::collections::BTreeMap;
use std::time::Duration;

use regency_resources::{
    DiskInfo, Persistence, Reservation, ResourceKey, Value, Volume, VolumeMode,
};
use regency_state::model::{ExecutorKey, MachineId, MaintenanceWindow, Unavailability};
use regency_state::{
    AcknowledgeUpdate, ApplyOperation, Command, EndExecutors, ExecutorExit, IssueInverseOffers,
    MarkAgentUnreachable, RescindOffers, ResourceOperation, SuspectAgents, UpdateMaintenance,
};
use regency_testkit::malformed::Request;
use regency_types::{AgentId, ExecutorId, FrameworkId, TaskId, TaskKey, TaskState, UpdateUuid};

use super::{Master, PATIENCE, offer, propose, scheduler_call};
use crate::query::fixture::{Cluster, WALL, resources};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

impl Master {
    async fn call(&self, name: &str, part: &str) {
        let framework = &self.ids.framework;
        let call = format!(r#"{{"type":"{name}","framework_id":{{"value":"{framework}"}}{part}}}"#);
        let request = scheduler_call(call, Some(&self.ids.stream));
        let (status, text) = self.send(&request).await;
        assert_eq!(status, 202, "{name}: {text}");
    }

    /// Subscribes the framework anew, as another process of it would.
    pub(crate) async fn fail_over(&self) {
        let framework = &self.ids.framework;
        let subscribe = format!(
            r#"{{"type":"SUBSCRIBE","framework_id":{{"value":"{framework}"}},"subscribe":{{
               "framework_info":{{"id":{{"value":"{framework}"}},"user":"root","name":"shop",
               "failover_timeout":3600,"roles":["eng"],"principal":"golden-principal",
               "capabilities":[{{"type":"MULTI_ROLE"}}]}}}}}}"#
        );
        let (status, text) = self.send(&scheduler_call(subscribe, None)).await;
        assert!(status == 200 && text.contains("SUBSCRIBED"), "{text}");
    }

    /// The machine of an agent is going to be unavailable, of which its framework is told, and then it
    /// is not.
    async fn plan_maintenance(&self, framework: &FrameworkId, agent: &AgentId) {
        let propose = |command| propose(&self.consensus, command);
        let state = self.consensus.state().get().state.clone();
        let record = state.agent(agent).expect("there");
        let hostname = Some(record.spec.hostname.to_lowercase());
        propose(Command::UpdateMaintenance(UpdateMaintenance {
            windows: vec![MaintenanceWindow {
                machines: vec![MachineId { hostname, ip: None }],
                unavailability: Unavailability {
                    start_ns: 1_795_159_765_677_113_344,
                    duration_ns: Some(3_600_000_000_000),
                },
            }],
        }))
        .await;
        let state = self.consensus.state().get().state.clone();
        let rest = state.agent(agent).expect("there").available();
        offer(&self.consensus, framework, agent, rest).await;
        propose(Command::IssueInverseOffers(IssueInverseOffers {
            plans: vec![(framework.clone(), agent.clone())],
            timeout: None,
        }))
        .await;
        // Streams send what there is, so one that hears of it only after its end would tell nothing.
        self.has_sent("inverse_offers").await;
        let windows = Vec::new();
        propose(Command::UpdateMaintenance(UpdateMaintenance { windows })).await;
    }

    /// Waits until an event of this kind was sent to a framework, by Mesos' counters.
    async fn has_sent(&self, event: &str) {
        let request = Request {
            method: "GET".into(),
            path: "/metrics/snapshot".into(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let sent = async {
            loop {
                let (_, text) = self.send(&request).await;
                let counters: BTreeMap<String, f64> = serde_json::from_str(&text).expect("JSON");
                let mut counters = counters.iter();
                if counters.any(|(key, n)| key.ends_with(&format!("/events/{event}")) && *n > 0.0) {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let sent = tokio::time::timeout(PATIENCE, sent).await;
        sent.unwrap_or_else(|_| panic!("{event} is not sent"));
    }

    /// Brings about one of each kind of event but ERROR; the last one is that the agent is lost.
    pub(crate) async fn live_through(&self) {
        let framework = FrameworkId::new(&self.ids.framework).expect("an id");
        let agent = AgentId::new(&self.ids.agent).expect("an id");
        let propose = |command| propose(&self.consensus, command);
        // Something reserved, and a volume.
        let reservation = Reservation {
            labels: vec![("k".into(), Some("v".into()))],
            ..Reservation::dynamic("eng", Some("shop".into()))
        };
        let reserved = resources("cpus:1;disk:100").push_reservation(&reservation);
        let volume = ResourceKey {
            disk: Some(Box::new(DiskInfo {
                persistence: Some(Persistence {
                    id: "vol1".into(),
                    principal: Some("shop".into()),
                }),
                volume: Some(Volume {
                    container_path: "data".into(),
                    host_path: None,
                    mode: VolumeMode::ReadWrite,
                }),
                source: None,
            })),
            reservations: vec![reservation],
            ..ResourceKey::new("disk")
        };
        let volume = std::iter::once((volume, Value::units(100))).collect();
        for operation in [
            ResourceOperation::Reserve(reserved),
            ResourceOperation::Create(volume),
        ] {
            propose(Command::ApplyOperation(ApplyOperation {
                agent: agent.clone(),
                operation,
                principal: None,
            }))
            .await;
        }
        let state = self.consensus.state().get().state.clone();
        let all = state.agent(&agent).expect("there").available();
        let all = offer(&self.consensus, &framework, &agent, all).await;
        // A task fails, another one cannot be, and one has an executor of its own.
        let key = TaskKey {
            framework: framework.clone(),
            task: TaskId::new("t").expect("an id"),
        };
        for (n, to) in [(1, TaskState::Running), (2, TaskState::Failed)] {
            let state = self.consensus.state().get();
            let report = Cluster::report_of(&state.state, &key, n, to, to, WALL);
            propose(Command::ApplyReports(report)).await;
            propose(Command::AcknowledgeUpdate(AcknowledgeUpdate {
                task: key.clone(),
                agent: agent.clone(),
                uuid: UpdateUuid(u128::from(n)),
            }))
            .await;
        }
        let agent_id = format!(r#""agent_id":{{"value":"{agent}"}}"#);
        let task = |id: &str, cpus: &str, how: &str| {
            format!(
                r#"{{"name":"{id}","task_id":{{"value":"{id}"}},{agent_id},"resources":[
                   {{"name":"cpus","type":"SCALAR","scalar":{{"value":{cpus}}}}}],{how}}}"#
            )
        };
        let run = r#""command":{"value":"true"}"#;
        let executor = r#""executor":{"type":"CUSTOM","executor_id":{"value":"e"},
            "command":{"value":"true"}}"#;
        let reserve = r#"{"type":"RESERVE","id":{"value":"op"},"reserve":{"resources":[
            {"name":"mem","type":"SCALAR","scalar":{"value":16},"allocation_info":{"role":"eng"},
             "reservations":[{"type":"DYNAMIC","role":"eng","principal":"golden-principal"}]}]}}"#;
        let accept = format!(
            r#","accept":{{"offer_ids":[{{"value":"{all}"}}],"operations":[{reserve},
               {{"type":"LAUNCH","launch":{{"task_infos":[{},{}]}}}}],
               "filters":{{"refuse_seconds":3600}}}}"#,
            task("too-big", "1000", run),
            task("own", "0.5", executor)
        );
        self.call("ACCEPT", &accept).await;
        let operations = format!(
            r#","reconcile_operations":{{"operations":[{{"operation_id":{{"value":"op"}},
               {agent_id}}}]}}"#
        );
        self.call("RECONCILE_OPERATIONS", &operations).await;
        self.call("RECONCILE", r#","reconcile":{"tasks":[]}"#).await;
        self.plan_maintenance(&framework, &agent).await;
        let state = self.consensus.state().get().state.clone();
        let record = state.agent(&agent).expect("there");
        let executor = ExecutorKey {
            framework: framework.clone(),
            executor: ExecutorId::new("e").expect("an id"),
        };
        let instance = record.executors[&executor].instance;
        propose(Command::EndExecutors(EndExecutors {
            agent: agent.clone(),
            epoch: record.epoch,
            command_seq: record.command_seq,
            exits: vec![ExecutorExit {
                report_seq: record.report_seq + 1,
                executor,
                instance,
                status: Some(256),
            }],
        }))
        .await;
        // The agent is lost, and with it what was offered.
        let now = self.consensus.state().get().state.now();
        let left = state.offers().map(|offer| offer.id).collect();
        propose(Command::SuspectAgents(SuspectAgents {
            agents: vec![(agent.clone(), now)],
        }))
        .await;
        propose(Command::RescindOffers(RescindOffers { offers: left })).await;
        propose(Command::MarkAgentUnreachable(MarkAgentUnreachable {
            agent,
        }))
        .await;
    }
}
