//! Status updates of executors, completed with what only the agent knows.

use prost::Message;
use regency_agent_core::{ContainerId, ExecutorUpdate};
use regency_types::{TaskId, TaskState, UpdateUuid, WallTime};
use regency_wire::v1;

use crate::directory::container_name;

/// Longest status that is taken, in bytes: it must fit into an entry of the masters' log with room
/// to spare.
pub(crate) const STATUS_BYTES_MAX: usize = 256 * 1024;

/// Why a status cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadStatus {
    /// The id of its task is none.
    #[error("'update.status.task_id' is invalid: {0}")]
    TaskId(#[from] regency_types::IdError),
    /// Its uuid is none.
    #[error("'update.status.uuid' is not a UUID of 16 bytes")]
    Uuid,
    /// Its state is none.
    #[error("'update.status.state' {0} is not a state of a task")]
    State(i32),
    /// It is too long.
    #[error("'update.status' has {0} bytes, {STATUS_BYTES_MAX} are allowed; send less 'data'")]
    TooLong(usize),
}

/// What every status of an executor says besides what the executor put in.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) agent_id: String,
    pub(crate) executor_id: String,
    pub(crate) container: ContainerId,
    pub(crate) executor_pid: Option<u32>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) now: WallTime,
}

/// Checks a status before anybody is asked about it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(status: &v1::TaskStatus) -> Result<(), BadStatus> {
    TaskId::new(&status.task_id.value)?;
    uuid(status)?;
    state(status)?;
    let bytes = status.encoded_len();
    if bytes > STATUS_BYTES_MAX {
        return Err(BadStatus::TooLong(bytes));
    }
    Ok(())
}

fn uuid(status: &v1::TaskStatus) -> Result<UpdateUuid, BadStatus> {
    let bytes = status.uuid.as_deref();
    bytes
        .and_then(UpdateUuid::from_bytes)
        .ok_or(BadStatus::Uuid)
}

fn state(status: &v1::TaskStatus) -> Result<TaskState, BadStatus> {
    TaskState::from_number(status.state).ok_or(BadStatus::State(status.state))
}

/// Completes a status as Mesos' agent does: agent and executor always, time and container where the
/// executor says nothing.
///
/// # Errors
/// As [`check`].
pub(crate) fn complete(
    mut status: v1::TaskStatus,
    stamp: &Stamp,
) -> Result<ExecutorUpdate, BadStatus> {
    check(&status)?;
    let (uuid, state) = (uuid(&status)?, state(&status)?);
    let task = TaskId::new(&status.task_id.value)?;
    status.agent_id = Some(v1::AgentId {
        value: stamp.agent_id.clone(),
    });
    status.executor_id = Some(v1::ExecutorId {
        value: stamp.executor_id.clone(),
    });
    status.source = Some(v1::task_status::Source::Executor as i32);
    status.timestamp.get_or_insert(stamp.now.as_secs_f64());
    let container = status.container_status.get_or_insert_default();
    container.container_id.get_or_insert(v1::ContainerId {
        value: container_name(stamp.container),
        parent: None,
    });
    if container.network_infos.is_empty() {
        container
            .network_infos
            .push(crate::convert::network_info(stamp.address.ip()));
    }
    container.executor_pid = container.executor_pid.or(stamp.executor_pid);
    Ok(ExecutorUpdate {
        task,
        uuid,
        state,
        status: status.encode_to_vec().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            agent_id: "a".into(),
            executor_id: "e".into(),
            container: ContainerId(7),
            executor_pid: Some(9),
            address: ([127, 0, 0, 1], 5051).into(),
            now: WallTime(1_500),
        }
    }

    fn status() -> v1::TaskStatus {
        v1::TaskStatus {
            task_id: v1::TaskId { value: "t".into() },
            state: TaskState::Running.number(),
            uuid: Some(vec![3; 16].into()),
            data: Some(vec![0, 255].into()),
            ..v1::TaskStatus::default()
        }
    }

    #[test]
    fn what_the_executor_left_out_is_added_and_what_it_said_is_kept() {
        let update = complete(status(), &stamp()).expect("a good status");
        let told = v1::TaskStatus::decode(update.status).expect("a status");
        assert_eq!((told.timestamp, told.data), (Some(1.5), status().data));
        assert_eq!(told.executor_id.expect("an executor").value, "e");
        assert_eq!(told.agent_id.expect("an agent").value, "a");
        let container = told.container_status.expect("a container");
        assert_eq!(container.executor_pid, Some(9));
        let mut own = status();
        own.timestamp = Some(7.0);
        let update = complete(own, &stamp()).expect("a good status");
        let told = v1::TaskStatus::decode(update.status).expect("a status");
        assert_eq!(told.timestamp, Some(7.0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut bad = [status(), status(), status(), status()];
        bad[0].task_id.value = "a/b".into();
        bad[1].uuid = Some(vec![1].into());
        bad[2].state = 99;
        bad[3].data = Some(vec![0; STATUS_BYTES_MAX].into());
        for (status, named) in bad.iter().zip(["task_id", "uuid", "state", "data"]) {
            let error = check(status).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
