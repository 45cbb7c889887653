//! What a command finds in its environment, and the marks by which its processes are found.
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
//! The task's own variables come on top of these. The marks come on top of all: an agent that
//! lost its checkpoints finds by them what it must kill.

use std::path::Path;

use regency_agent_core::{ContainerId, LaunchId};
use regency_types::AgentId;
use regency_wire::v1;

use super::Ground;
use crate::directory::container_name;

/// Search path of commands that bring none (Mesos).
pub(super) const PATH_DEFAULT: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Epoch of the agent's checkpoints.
pub(super) const MARK_EPOCH: &str = "REGENCY_AGENT_EPOCH";
/// Where the agent is reached.
pub(super) const MARK_ADDRESS: &str = "REGENCY_AGENT_ADDRESS";
/// The agent's work directory.
pub(super) const MARK_WORK_DIR: &str = "REGENCY_AGENT_WORK_DIR";
/// The container.
pub(super) const MARK_CONTAINER: &str = "REGENCY_CONTAINER_ID";
/// Only in the environment of a shim.
pub(super) const MARK_SHIM: &str = "REGENCY_TASK_SHIM";

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

/// All variables of a command; later ones replace earlier ones of the same name.
pub(super) fn of_command(
    ground: &Ground,
    agent_id: &AgentId,
    id: &LaunchId,
    container: ContainerId,
    sandbox: &Path,
    command: &v1::CommandInfo,
) -> Vec<(String, String)> {
    let sandbox = sandbox.to_string_lossy();
    let ip = ground.address.ip().to_string();
    let container_id = container_name(container);
    let address = ground.address.to_string();
    let given = [
        ("PATH", PATH_DEFAULT),
        ("LIBPROCESS_IP", &ip),
        ("MESOS_CONTAINER_IP", &ip),
        ("MESOS_TASK_ID", id.key.task.as_str()),
        ("MESOS_EXECUTOR_ID", id.key.task.as_str()),
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

/// The variables that a command brings itself.
pub(super) fn own(command: &v1::CommandInfo) -> impl Iterator<Item = (String, String)> + '_ {
    let variables = command.environment.iter();
    let variables = variables.flat_map(|environment| &environment.variables);
    variables.map(|variable| {
        let value = variable.value.clone().unwrap_or_default();
        (variable.name.clone(), value)
    })
}
