//! What a shim is to run, worked out from the description of a task or an executor.

use std::path::{Path, PathBuf};

use nix::unistd::User;
use prost::Message;
use regency_agent_core::{Durable, Executor, InstanceId, Launch, LaunchId};
use regency_types::AgentId;
use regency_wire::{resources, v1};

use super::sandbox::{self, Room};
use super::{Ground, environment, shared};
use crate::directory::container_name;
use crate::shim::Spec;

/// Shell of commands that ask for one (Mesos).
const SHELL: &str = "/bin/sh";

/// Why a task cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    /// Its description cannot be read any more.
    #[error("the task's description cannot be read")]
    Unreadable(#[source] prost::DecodeError),
    /// Its resources cannot be read.
    #[error("the task's resources cannot be read")]
    Resources(#[source] resources::InvalidValue),
    /// Its volumes cannot be shown.
    #[error("{0}")]
    Volumes(String),
    /// It has no command.
    #[error("the task or executor has no command")]
    NoCommand,
    /// Its user is not known here.
    #[error("there is no user '{0}' on this machine")]
    NoUser(String),
    /// Only root can run it.
    #[error(
        "the task asks for user '{0}', which only an agent that runs as root can become; start \
         the agent as root, or with --switch-user=false to run all tasks as its own user"
    )]
    NotRoot(String),
    /// The users of this machine cannot be read.
    #[error("the users of this machine cannot be read")]
    Users(#[source] nix::Error),
}

/// What to prepare.
pub(super) struct Order {
    /// What to run.
    pub(super) spec: Spec,
    /// Where it runs.
    pub(super) room: Room,
    /// Files it wants in its sandbox.
    pub(super) uris: Vec<v1::command_info::Uri>,
}

/// What to prepare for `launch`.
pub(super) fn order(
    ground: &Ground,
    agent_id: &AgentId,
    launch: &Launch,
    framework_info: &[u8],
) -> Result<Order, SpecError> {
    let task = v1::TaskInfo::decode(&launch.task_info[..]).map_err(SpecError::Unreadable)?;
    let spec = of_launch(ground, agent_id, launch, framework_info)?;
    let allocated = resources::from_wire(&task.resources).map_err(SpecError::Resources)?;
    let shared = match (&task.container, launch.parent) {
        (Some(container), Some(_)) => shared::of_task(container).map_err(SpecError::Volumes)?,
        _ => Vec::new(),
    };
    let link = match launch.parent {
        None => sandbox::latest(&spec.sandbox),
        Some(_) => {
            let name = container_name(launch.container);
            let executor = spec.sandbox.ancestors().nth(2).unwrap_or(&spec.sandbox);
            let link = executor.join("tasks").join(launch.id.key.task.as_str());
            (link, Path::new("../containers").join(name))
        }
    };
    let room = Room {
        path: spec.sandbox.clone(),
        owner: spec.owner,
        user: spec.owner,
        link,
        resources: allocated.resources,
        shared,
    };
    let uris = task.command.ok_or(SpecError::NoCommand)?.uris;
    Ok(Order { spec, room, uris })
}

/// What to run for `launch`.
fn of_launch(
    ground: &Ground,
    agent_id: &AgentId,
    launch: &Launch,
    framework_info: &[u8],
) -> Result<Spec, SpecError> {
    let task = v1::TaskInfo::decode(&launch.task_info[..]).map_err(SpecError::Unreadable)?;
    let framework = v1::FrameworkInfo::decode(framework_info).map_err(SpecError::Unreadable)?;
    let command = task.command.ok_or(SpecError::NoCommand)?;
    let sandbox: PathBuf = ground.paths.sandbox_of(agent_id, launch);
    let owner = owner_for(ground, command.user.as_deref(), &framework)?;
    let mut environment = environment::of_command(ground, agent_id, launch, &sandbox, &command);
    if launch.parent.is_some() {
        environment.splice(0..0, environment::of_member(&task.resources, &framework));
    }
    Ok(Spec {
        argv: argv(command).ok_or(SpecError::NoCommand)?,
        environment,
        sandbox,
        owner,
    })
}

/// What to run for a check of `launch`: as the task's user, in its sandbox and environment, with
/// the variables of the check's own command on top.
///
/// # Errors
/// When either cannot be run.
pub(crate) fn of_check(
    ground: &Ground,
    agent_id: &AgentId,
    launch: &Launch,
    framework_info: &[u8],
    check: &v1::CommandInfo,
) -> anyhow::Result<Spec> {
    let task = of_launch(ground, agent_id, launch, framework_info)?;
    let mut environment = task.environment;
    environment.extend(environment::own(check));
    environment.extend(environment::marks(ground, launch.container));
    Ok(Spec {
        argv: argv(check.clone()).ok_or(SpecError::NoCommand)?,
        environment,
        ..task
    })
}

/// What a task or executor runs as, where and with which environment, for containers within its own.
///
/// # Errors
/// When its description cannot be read any more.
pub(crate) fn of_running(
    ground: &Ground,
    durable: &Durable,
    id: &LaunchId,
) -> Result<Option<Spec>, SpecError> {
    let Some(agent_id) = &durable.agent_id else {
        return Ok(None);
    };
    let info = durable.frameworks.get(&id.key.framework);
    let info = info.map_or(&[][..], |info| &info[..]);
    if let Some(task) = durable.tasks.get(id) {
        return of_launch(ground, agent_id, &task.launch, info).map(Some);
    }
    let executor = durable.executors.get(id);
    let order = executor.map(|executor| of_executor(ground, agent_id, id, executor, info));
    Ok(order.transpose()?.map(|order| order.spec))
}

/// Whom the command of a container runs as that somebody launched: the user it names, or whom the
/// container around it runs as.
///
/// # Errors
/// When this agent cannot run anything as that user.
pub(crate) fn owner_within(
    ground: &Ground,
    command: &v1::CommandInfo,
    around: Option<(u32, u32)>,
) -> Result<Option<(u32, u32)>, SpecError> {
    match command.user.as_deref() {
        Some(user) if ground.switch_user && !user.is_empty() => owner(user),
        _ => Ok(around),
    }
}

/// What to run for an executor, and what it is given.
pub(super) fn of_executor(
    ground: &Ground,
    agent_id: &AgentId,
    id: &InstanceId,
    executor: &Executor,
    framework_info: &[u8],
) -> Result<Order, SpecError> {
    let info = v1::ExecutorInfo::decode(&executor.info[..]).map_err(SpecError::Unreadable)?;
    let framework = v1::FrameworkInfo::decode(framework_info).map_err(SpecError::Unreadable)?;
    let command = info.command.ok_or(SpecError::NoCommand)?;
    let sandbox: PathBuf = ground.paths.sandbox(agent_id, id, executor.container);
    let owner = owner_for(ground, command.user.as_deref(), &framework)?;
    let environment = environment::of_executor(ground, agent_id, id, executor, &sandbox, &command);
    let allocated = resources::from_wire(&info.resources).map_err(SpecError::Resources)?;
    let uris = command.uris.clone();
    let room = Room {
        path: sandbox.clone(),
        owner,
        user: owner,
        link: sandbox::latest(&sandbox),
        resources: allocated.resources,
        shared: Vec::new(),
    };
    let spec = Spec {
        argv: argv(command).ok_or(SpecError::NoCommand)?,
        environment,
        sandbox,
        owner,
    };
    Ok(Order { spec, room, uris })
}

/// The sandbox that those of the tasks of a built-in executor lie in. It stays the agent's own: see
/// [`shared`].
pub(super) fn room_of_built_in(
    ground: &Ground,
    agent_id: &AgentId,
    id: &InstanceId,
    executor: &Executor,
    framework_info: &[u8],
) -> Result<Room, SpecError> {
    let info = v1::ExecutorInfo::decode(&executor.info[..]).map_err(SpecError::Unreadable)?;
    let framework = v1::FrameworkInfo::decode(framework_info).map_err(SpecError::Unreadable)?;
    let allocated = resources::from_wire(&info.resources).map_err(SpecError::Resources)?;
    let path = ground.paths.sandbox(agent_id, id, executor.container);
    Ok(Room {
        owner: None,
        user: owner_for(ground, None, &framework)?,
        link: sandbox::latest(&path),
        path,
        resources: allocated.resources,
        shared: Vec::new(),
    })
}

/// Whom a command runs as; `None` for the user the agent runs as.
fn owner_for(
    ground: &Ground,
    user: Option<&str>,
    framework: &v1::FrameworkInfo,
) -> Result<Option<(u32, u32)>, SpecError> {
    match user {
        _ if !ground.switch_user => Ok(None),
        Some(user) if !user.is_empty() => owner(user),
        // Only root can become somebody else; for frameworks that name a user because they must,
        // the agent's own will do.
        _ if framework.user.is_empty() || !nix::unistd::geteuid().is_root() => Ok(None),
        _ => owner(&framework.user),
    }
}

/// `None` for the user the agent runs as.
fn owner(name: &str) -> Result<Option<(u32, u32)>, SpecError> {
    let user = User::from_name(name)
        .map_err(SpecError::Users)?
        .ok_or_else(|| SpecError::NoUser(name.to_owned()))?;
    let other = user.uid != nix::unistd::geteuid();
    if other && !nix::unistd::geteuid().is_root() {
        return Err(SpecError::NotRoot(name.to_owned()));
    }
    Ok(other.then(|| (user.uid.as_raw(), user.gid.as_raw())))
}

/// Program and arguments. With a shell the value is a script and arguments are ignored, without
/// one the value is the program and the arguments are all of its argument list, the name it sees
/// itself under included: that one is dropped, because here it is the program's.
pub(crate) fn argv(command: v1::CommandInfo) -> Option<Vec<String>> {
    if command.shell.unwrap_or(true) {
        return Some(vec![SHELL.to_owned(), "-c".to_owned(), command.value?]);
    }
    let mut arguments = command.arguments.into_iter();
    let program = match command.value {
        Some(value) => {
            arguments.next();
            value
        }
        None => arguments.next()?,
    };
    Some(std::iter::once(program).chain(arguments).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(shell: Option<bool>, value: Option<&str>, arguments: &[&str]) -> v1::CommandInfo {
        v1::CommandInfo {
            shell,
            value: value.map(str::to_owned),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            ..v1::CommandInfo::default()
        }
    }

    #[test]
    fn commands_become_argument_lists() {
        let words = |command| argv(command).map(|argv| argv.join("|"));
        let script = command(None, Some("echo $A"), &["ignored"]);
        assert_eq!(words(script).as_deref(), Some("/bin/sh|-c|echo $A"));
        let program = command(Some(false), Some("/bin/echo"), &["echo", "a b"]);
        assert_eq!(words(program).as_deref(), Some("/bin/echo|a b"));
        let bare = command(Some(false), Some("/bin/true"), &[]);
        assert_eq!(words(bare).as_deref(), Some("/bin/true"));
        let list = command(Some(false), None, &["echo", "x"]);
        assert_eq!(words(list).as_deref(), Some("echo|x"));
        assert_eq!(words(command(None, None, &["x"])), None);
        assert_eq!(words(command(Some(false), None, &[])), None);
    }

    #[test]
    fn an_unknown_user_is_named() {
        let error = owner("no-such-user-here").expect_err("no user");
        assert_eq!(
            error.to_string(),
            "there is no user 'no-such-user-here' on this machine"
        );
    }
}
