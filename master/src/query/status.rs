//! Task statuses as frameworks are told them.
//!
//! The state keeps what happened in its partition-aware form. A framework that is not
//! PARTITION_AWARE is told TASK_LOST instead, by what it can do *now*: that is decided here, at
//! the moment of telling, and not when it happened.

use prost::Message;
use regency_state::model::{Capabilities, MasterStatus, StatusReason, Task, UnackedUpdate};
use regency_types::{TaskState, WallTime};
use regency_wire::v1::task_status::{Reason, Source};
use regency_wire::v1::{TaskId, TaskStatus, TimeInfo};

/// An update that an agent sent, with its uuid, to be acknowledged by the framework.
///
/// Uuid and state are those the masters hold, whatever the agent's message says: the
/// acknowledgement is matched against them. Should the message not be readable, the framework
/// still learns the state and can acknowledge it.
#[must_use]
pub fn of_update(task: &Task, update: &UnackedUpdate, capabilities: &Capabilities) -> TaskStatus {
    let mut status = TaskStatus::decode(update.status.clone()).unwrap_or_else(|_| TaskStatus {
        source: Some(Source::Agent as i32),
        ..TaskStatus::default()
    });
    status.task_id = (&task.key.task).into();
    status.agent_id = Some((&task.agent).into());
    status.uuid = Some(update.uuid.to_bytes().to_vec().into());
    status.state = told(update.state, capabilities).number();
    status
}

/// A status that the masters made: without a uuid, so that nobody acknowledges it.
///
/// `at` is the time it is stamped with.
#[must_use]
pub fn of_master(status: &MasterStatus, capabilities: &Capabilities, at: WallTime) -> TaskStatus {
    let mut wire = TaskStatus::by_master(
        TaskId {
            value: status.task_id.clone(),
        },
        status.agent.as_ref().map(Into::into),
        told(status.state, capabilities),
        reason_for(status.reason, capabilities),
        status.message.clone(),
        at.as_secs_f64(),
    );
    wire.unreachable_time = status.unreachable.map(time);
    wire
}

/// What the masters say of a task whose state they decided by themselves, at `at`.
#[must_use]
pub fn of_decision(
    task: &Task,
    why: Option<StatusReason>,
    capabilities: &Capabilities,
    at: WallTime,
) -> TaskStatus {
    let message = why.map(|why| match why {
        StatusReason::AgentRemoved => format!("Agent {} is unreachable", task.agent),
        StatusReason::AgentRemovedByOperator => format!("Agent {} was marked gone", task.agent),
        StatusReason::AgentReregistered => format!("Agent {} is back", task.agent),
        StatusReason::FrameworkRemoved => format!("Framework {} removed", task.key.framework),
        other => reason(other).as_str_name().to_owned(),
    });
    TaskStatus {
        task_id: (&task.key.task).into(),
        state: told(task.state, capabilities).number(),
        message,
        source: Some(Source::Master as i32),
        reason: why.map(|why| reason(why) as i32),
        agent_id: Some((&task.agent).into()),
        timestamp: Some(at.as_secs_f64()),
        unreachable_time: task.unreachable.map(time),
        ..TaskStatus::default()
    }
}

/// The state a framework with these capabilities is told.
#[must_use]
pub fn told(state: TaskState, capabilities: &Capabilities) -> TaskState {
    regency_wire::status::state_for(state, capabilities.partition_aware)
}

/// The reason that a framework with these capabilities is told: to whom an agent is lost, nobody
/// removed it.
fn reason_for(why: StatusReason, capabilities: &Capabilities) -> Reason {
    match why {
        StatusReason::AgentRemovedByOperator if !capabilities.partition_aware => {
            Reason::AgentRemoved
        }
        why => reason(why),
    }
}

/// A time as messages carry it.
#[must_use]
pub fn time(wall: WallTime) -> TimeInfo {
    const NANOSECONDS_PER_MS: u64 = 1_000_000;
    TimeInfo {
        nanoseconds: i64::try_from(wall.0.saturating_mul(NANOSECONDS_PER_MS)).unwrap_or(i64::MAX),
    }
}

fn reason(reason: StatusReason) -> Reason {
    match reason {
        StatusReason::InvalidOffers => Reason::InvalidOffers,
        StatusReason::TaskInvalid => Reason::TaskInvalid,
        StatusReason::TaskGroupInvalid => Reason::TaskGroupInvalid,
        StatusReason::AgentRemoved => Reason::AgentRemoved,
        StatusReason::AgentRemovedByOperator => Reason::AgentRemovedByOperator,
        StatusReason::AgentReregistered => Reason::AgentReregistered,
        StatusReason::FrameworkRemoved => Reason::FrameworkRemoved,
        StatusReason::Reconciliation => Reason::Reconciliation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_types::UpdateUuid;
    use regency_wire::v1;

    const AWARE: Capabilities = Capabilities {
        partition_aware: true,
        multi_role: false,
        gpu_resources: false,
        revocable_resources: false,
        shared_resources: false,
        reservation_refinement: false,
        task_killing_state: false,
        region_aware: false,
    };
    const UNAWARE: Capabilities = Capabilities {
        partition_aware: false,
        ..AWARE
    };

    fn update(status: &TaskStatus, state: TaskState) -> UnackedUpdate {
        UnackedUpdate {
            uuid: UpdateUuid(9),
            state,
            status: status.encode_to_vec().into(),
        }
    }

    #[test]
    fn an_update_arrives_unchanged_but_for_the_substitution() {
        let (cluster, key) = Cluster::with_task();
        let task = cluster.state.task(&key).expect("the task was launched");
        let sent = TaskStatus {
            task_id: TaskId { value: "t".into() },
            state: v1::TaskState::TaskDropped as i32,
            message: Some("m".into()),
            data: Some(vec![0, 255].into()),
            uuid: Some(UpdateUuid(9).to_bytes().to_vec().into()),
            agent_id: Some((&task.agent).into()),
            ..TaskStatus::default()
        };
        let update = update(&sent, TaskState::Dropped);
        assert_eq!(of_update(task, &update, &AWARE), sent);
        let lost = of_update(task, &update, &UNAWARE);
        assert_eq!(lost.state, v1::TaskState::TaskLost as i32);
        assert_eq!((lost.message, lost.uuid), (sent.message, sent.uuid));
    }

    #[test]
    fn an_unreadable_update_can_still_be_acknowledged() {
        let (cluster, key) = Cluster::with_task();
        let task = cluster.state.task(&key).expect("the task was launched");
        let update = UnackedUpdate {
            uuid: UpdateUuid(9),
            state: TaskState::Running,
            status: vec![0xff].into(),
        };
        let status = of_update(task, &update, &AWARE);
        assert_eq!(status.task_id.value, "t");
        assert_eq!(status.state, v1::TaskState::TaskRunning as i32);
        assert_eq!(status.uuid.as_deref(), Some(&UpdateUuid(9).to_bytes()[..]));
    }

    #[test]
    fn a_status_of_the_masters_has_no_uuid_and_tells_since_when() {
        let status = MasterStatus {
            task_id: "not/valid".into(),
            agent: None,
            state: TaskState::Unreachable,
            reason: StatusReason::AgentRemoved,
            message: "m".into(),
            unreachable: Some(WallTime(1_500)),
        };
        let wire = of_master(&status, &UNAWARE, WallTime(2_000));
        assert_eq!(
            serde_json::to_string(&wire).expect("a status is JSON"),
            r#"{"task_id":{"value":"not/valid"},"state":"TASK_LOST","message":"m","source":"SOURCE_MASTER","reason":"REASON_AGENT_REMOVED","timestamp":2.0,"unreachable_time":{"nanoseconds":1500000000}}"#
        );
        let aware = of_master(&status, &AWARE, WallTime(2_000));
        assert_eq!(aware.state, v1::TaskState::TaskUnreachable as i32);
    }
}
