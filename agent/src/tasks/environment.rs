//! What a command or an executor finds in its environment, and the marks by which its processes are found.
//!
//! The names that Mesos gives its command tasks keep their meaning:
//!
//! | name | value |
//! |---|---|
//! | `MESOS_TASK_ID`, `MESOS_EXECUTOR_ID` | the task's id |
//! | `MESOS_FRAMEWORK_ID` | its framework's id |
//! | `MESOS_AGENT_ID`, `MESOS_SLAVE_ID` | the agent's id |
//! | `MESOS_CONTAINER_ID` | the container's id |
//! | `MESOS_SANDBOX`, `MESOS_DIRECTORY` | the working directory |
//! | `MESOS_AGENT_ENDPOINT` | "ip:port" of the agent |
//! | `MESOS_CONTAINER_IP`, `LIBPROCESS_IP` | the agent's address |
//! | `PATH` | [`PATH_DEFAULT`] |
//!
//! Tasks of groups get `MESOS_ALLOCATION_ROLE` besides, and the id of their executor.
//!
//! Executors get what the executor API needs: `MESOS_SLAVE_PID`, `MESOS_CHECKPOINT` (always 1),
//! `MESOS_RECOVERY_TIMEOUT`, `MESOS_SUBSCRIPTION_BACKOFF_MAX` and
//! `MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD`, spans as in "5secs".
//!
//! The task's own variables come on top of these. The marks come on top of all: an agent that
//! lost its checkpoints finds by them what it must kill.

use std::path::Path;
use std::time::Duration;

use regency_agent_core::{ContainerId, Executor, InstanceId, Launch};
use regency_types::AgentId;
use regency_wire::v1;

use super::Ground;
use crate::directory::container_name;

/// Search path of commands that bring none (Mesos).
pub(crate) const PATH_DEFAULT: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Epoch of the agent's checkpoints.
pub(super) const MARK_EPOCH: &str = "REGENCY_AGENT_EPOCH";
/// Where the agent is reached.
pub(super) const MARK_ADDRESS: &str = "REGENCY_AGENT_ADDRESS";
/// The agent's work directory.
pub(super) const MARK_WORK_DIR: &str = "REGENCY_AGENT_WORK_DIR";
/// The container.
pub(super) const MARK_CONTAINER: &str = "REGENCY_CONTAINER_ID";
/// A container within another one, or a standalone one, by its whole name.
pub(super) const MARK_LAUNCHED: &str = "REGENCY_LAUNCHED_CONTAINER_ID";
/// Only in the environment of a shim.
pub(crate) const MARK_SHIM: &str = "REGENCY_TASK_SHIM";

/// The marks of everything that runs in `container`.
pub(super) fn marks(ground: &Ground, container: ContainerId) -> [(String, String); 4] {
    let work_dir = ground.paths.root().to_string_lossy().into_owned();
    [
        (MARK_EPOCH.to_owned(), ground.epoch.to_string()),
        (MARK_ADDRESS.to_owned(), ground.address.to_string()),
        (MARK_WORK_DIR.to_owned(), work_dir),
        (MARK_CONTAINER.to_owned(), container_name(container)),
    ]
}

/// The marks of everything that runs in a container that somebody launched: its own, and those of the
/// task's or executor's container that it is in.
pub(crate) fn launched_marks(
    ground: &Ground,
    root: &str,
    name: &str,
) -> impl Iterator<Item = (String, String)> {
    let mut marks = marks(ground, ContainerId(0));
    marks[3].1 = root.to_owned();
    let own = (MARK_LAUNCHED.to_owned(), name.to_owned());
    marks.into_iter().chain([own])
}

/// Variables of a container with a sandbox of its own that somebody launched.
pub(crate) fn of_launched(
    ground: &Ground,
    name: &str,
    sandbox: &Path,
    command: &v1::CommandInfo,
) -> Vec<(String, String)> {
    let ip = ground.address.ip().to_string();
    let sandbox = sandbox.to_string_lossy().into_owned();
    let given = [
        ("PATH", PATH_DEFAULT.to_owned()),
        ("LIBPROCESS_IP", ip.clone()),
        ("MESOS_CONTAINER_IP", ip),
        ("MESOS_CONTAINER_ID", name.to_owned()),
        ("MESOS_SANDBOX", sandbox.clone()),
        ("MESOS_DIRECTORY", sandbox),
        ("MESOS_AGENT_ENDPOINT", ground.address.to_string()),
    ];
    let given = given
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    given.chain(own(command)).collect()
}

/// All variables of an executor; later ones replace earlier ones of the same name.
pub(super) fn of_executor(
    ground: &Ground,
    agent_id: &AgentId,
    id: &InstanceId,
    executor: &Executor,
    sandbox: &Path,
    command: &v1::CommandInfo,
) -> Vec<(String, String)> {
    let text = |value: &dyn ToString| value.to_string();
    let sandbox = sandbox.to_string_lossy().into_owned();
    let grace = Duration::from_millis(executor.shutdown_grace.0);
    let given = [
        ("PATH", PATH_DEFAULT.to_owned()),
        ("LIBPROCESS_IP", text(&ground.address.ip())),
        ("LIBPROCESS_PORT", "0".to_owned()),
        ("MESOS_FRAMEWORK_ID", text(&id.key.framework)),
        ("MESOS_EXECUTOR_ID", text(&id.key.task)),
        ("MESOS_AGENT_ID", text(agent_id)),
        ("MESOS_SLAVE_ID", text(agent_id)),
        ("MESOS_SLAVE_PID", format!("slave(1)@{}", ground.address)),
        ("MESOS_AGENT_ENDPOINT", text(&ground.address)),
        ("MESOS_CONTAINER_ID", container_name(executor.container)),
        ("MESOS_SANDBOX", sandbox.clone()),
        ("MESOS_DIRECTORY", sandbox),
        // Whatever its framework asked for: nothing is lost with the agent.
        ("MESOS_CHECKPOINT", "1".to_owned()),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned()),
        ("MESOS_RECOVERY_TIMEOUT", duration(ground.recovery_timeout)),
        (
            "MESOS_SUBSCRIPTION_BACKOFF_MAX",
            duration(ground.backoff_max),
        ),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration(grace)),
    ];
    let mut all: Vec<(String, String)> = given
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    all.extend(own(command));
    all.extend(marks(ground, executor.container));
    all
}

/// A span as Mesos writes it, in the largest unit that needs no fraction.
fn duration(span: Duration) -> String {
    let ms = span.as_millis();
    match ms {
        0 => "0ns".to_owned(),
        _ if ms.is_multiple_of(60_000) => format!("{}mins", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}secs", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// All variables of a command; later ones replace earlier ones of the same name.
pub(super) fn of_command(
    ground: &Ground,
    agent_id: &AgentId,
    launch: &Launch,
    sandbox: &Path,
    command: &v1::CommandInfo,
) -> Vec<(String, String)> {
    let (id, container) = (&launch.id, launch.container);
    // A task with a command is its own executor.
    let executor = launch.executor.as_ref().unwrap_or(id);
    let sandbox = sandbox.to_string_lossy();
    let ip = ground.address.ip().to_string();
    let container_id = container_name(container);
    let address = ground.address.to_string();
    let given = [
        ("PATH", PATH_DEFAULT),
        ("LIBPROCESS_IP", &ip),
        ("MESOS_CONTAINER_IP", &ip),
        ("MESOS_TASK_ID", id.key.task.as_str()),
        ("MESOS_EXECUTOR_ID", executor.key.task.as_str()),
        ("MESOS_FRAMEWORK_ID", id.key.framework.as_str()),
        ("MESOS_AGENT_ID", agent_id.as_str()),
        ("MESOS_SLAVE_ID", agent_id.as_str()),
        ("MESOS_CONTAINER_ID", &container_id),
        ("MESOS_SANDBOX", &sandbox),
        ("MESOS_DIRECTORY", &sandbox),
        ("MESOS_AGENT_ENDPOINT", &address),
    ];
    let mut all: Vec<(String, String)> = given
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    all.extend(own(command));
    all.extend(marks(ground, container));
    all
}

/// What a task of a group finds besides: for which role it was launched.
pub(super) fn of_member(
    resources: &[v1::Resource],
    framework: &v1::FrameworkInfo,
) -> Option<(String, String)> {
    let allocated = resources.first()?.allocation_info.as_ref();
    let role = allocated.and_then(|allocation| allocation.role.clone());
    let role = role.or_else(|| framework.roles.first().cloned())?;
    Some(("MESOS_ALLOCATION_ROLE".to_owned(), role))
}

/// The variables that a command brings itself.
pub(crate) fn own(command: &v1::CommandInfo) -> impl Iterator<Item = (String, String)> + '_ {
    let variables = command.environment.iter();
    let variables = variables.flat_map(|environment| &environment.variables);
    variables.map(|variable| {
        let value = variable.value.clone().unwrap_or_default();
        (variable.name.clone(), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_mesos_writes_them() {
        for (ms, text) in [
            (5_000, "5secs"),
            (900_000, "15mins"),
            (1_500, "1500ms"),
            (0, "0ns"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }
}
