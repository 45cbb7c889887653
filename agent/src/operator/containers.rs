//! The v1 calls about containers, but for those that stream.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use regency_agent_core::Exit;
use regency_resources::Resources;
use regency_wire::v1::agent::call::{GetContainers, Type};
use regency_wire::v1::agent::{Call, ProcessIo, Response as Answer, response};
use regency_wire::{ContentType, v1, validate};
use tokio::sync::mpsc;

use super::model;
use super::reply::message;
use super::shown::{self, Owner, Shown};
use super::usage::Processes;
use crate::containers::name::{BadName, Name};
use crate::containers::{Around, ContainerError, Footing, LaunchError, Launched, Order, Place};
use crate::convert;
use crate::driver::View;
use crate::http::Answers;
use crate::refused::Refused;
use crate::shim::container::Io;
use crate::tasks::of_running;

/// Size of a terminal that nobody says the size of.
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

impl From<BadName> for Refused {
    fn from(error: BadName) -> Self {
        Self::bad(error)
    }
}

impl From<LaunchError> for Refused {
    fn from(error: LaunchError) -> Self {
        match &error {
            LaunchError::Ended(_) | LaunchError::Exists(_) => Self::conflict(error),
            LaunchError::Full => Self::full(error),
            // In Mesos, too, what cannot be launched is the caller's fault.
            LaunchError::Failed(_) => Self::bad(error),
        }
    }
}

impl From<ContainerError> for Refused {
    fn from(error: ContainerError) -> Self {
        match &error {
            ContainerError::Unknown(_) => Self::not_found(error),
            ContainerError::Running(_) | ContainerError::InputTaken(_) => Self::conflict(error),
            ContainerError::Mute(_) | ContainerError::NoSignal(_) => Self::bad(error),
            ContainerError::Full => Self::full(error),
            ContainerError::NotRemoved(_) => Self::failed(error),
        }
    }
}

/// What a launch says, whichever call it comes in.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Name of the call's part.
    field: &'static str,
    id: v1::ContainerId,
    command: Option<v1::CommandInfo>,
    container: Option<v1::ContainerInfo>,
    resources: Vec<v1::Resource>,
    must_be_nested: bool,
    /// The output of a session.
    output: Option<mpsc::Sender<ProcessIo>>,
}

impl Wanted {
    /// A LAUNCH_NESTED_CONTAINER_SESSION.
    pub(super) fn session(call: Call, output: mpsc::Sender<ProcessIo>) -> Self {
        let call = call.launch_nested_container_session.unwrap_or_default();
        Self {
            field: "launch_nested_container_session",
            id: call.container_id,
            command: call.command,
            container: call.container,
            resources: Vec::new(),
            must_be_nested: true,
            output: Some(output),
        }
    }

    fn of(call: Call, call_type: Type) -> Self {
        match call_type {
            Type::LaunchNestedContainer => {
                let call = call.launch_nested_container.unwrap_or_default();
                Self {
                    field: "launch_nested_container",
                    id: call.container_id,
                    command: call.command,
                    container: call.container,
                    resources: Vec::new(),
                    must_be_nested: true,
                    output: None,
                }
            }
            _ => {
                let call = call.launch_container.unwrap_or_default();
                Self {
                    field: "launch_container",
                    id: call.container_id,
                    command: call.command,
                    container: call.container,
                    resources: call.resources,
                    must_be_nested: false,
                    output: None,
                }
            }
        }
    }
}

/// Launches what is wanted.
pub(super) async fn launch(answers: &Arc<Answers>, wanted: Wanted) -> Result<Launched, Refused> {
    let field = wanted.field;
    let name = Name::of(&format!("{field}.container_id"), &wanted.id)?;
    if wanted.must_be_nested && !name.is_nested() {
        let words = format!("'{field}.container_id.parent' is missing");
        return Err(Refused::bad(words));
    }
    let command = wanted
        .command
        .ok_or_else(|| Refused::bad(format!("'{field}.command' is missing")))?;
    let bad = |error: String| Refused::bad(format!("'{field}.command' is invalid: {error}"));
    validate::task::command(&command).map_err(bad)?;
    let terminal = terminal(field, wanted.container.as_ref())?;
    let is_session = wanted.output.is_some();
    if !command.uris.is_empty() && name.is_nested() {
        let words = format!(
            "'{field}.command.uris': files are fetched for tasks, executors and standalone containers \
             only"
        );
        return Err(Refused::bad(words));
    }
    let bad = |error: &dyn std::fmt::Display| {
        Refused::bad(format!("'{field}.resources' is invalid: {error}"))
    };
    let resources = regency_wire::resources::from_wire(&wanted.resources)
        .map_err(|error| bad(&error))?
        .resources;
    let resources_json = serde_json::to_string(&wanted.resources).map_err(|error| bad(&error))?;
    let view = answers.look().await?;
    let place = match name.parent() {
        None => {
            if model::running(&view, &name).is_some() {
                let words = format!("'{field}.container_id': {name} is the container of a task");
                return Err(Refused::bad(words));
            }
            Place::Standalone
        }
        Some(parent) => {
            let around = around(answers, &view, &parent)?;
            match is_session {
                true => Place::Beside(around),
                false => Place::Within(around),
            }
        }
    };
    let io = match (terminal, is_session) {
        (Some((rows, columns)), _) => Io::Terminal {
            rows,
            columns,
            log: !is_session,
        },
        (None, true) => Io::Pipes,
        (None, false) => Io::Files,
    };
    let order = Order {
        name,
        command,
        io,
        place,
        resources,
        resources_json,
        output: wanted.output,
    };
    Ok(answers.containers.launch(order).await?)
}

/// The size of the terminal that is wanted. Everything else that a container could be asked for and
/// that there is not is refused.
fn terminal(
    field: &str,
    container: Option<&v1::ContainerInfo>,
) -> Result<Option<(u16, u16)>, Refused> {
    let Some(container) = container else {
        return Ok(None);
    };
    let missing =
        |what: &str, why: &str| Err(Refused::bad(format!("'{field}.container.{what}': {why}")));
    if container.r#type() != v1::container_info::Type::Mesos {
        return missing("type", "only containers of type MESOS are supported");
    }
    let mesos = container.mesos.as_ref();
    if mesos.is_some_and(|mesos| mesos.image.is_some()) {
        return missing("mesos.image", "container images are not supported");
    }
    if !container.volumes.is_empty() {
        return missing("volumes", "volumes of containers are not supported");
    }
    if container.linux_info.is_some() {
        return missing("linux_info", "isolation is not supported");
    }
    if container.rlimit_info.is_some() {
        return missing("rlimit_info", "resource limits are not supported");
    }
    let Some(terminal) = &container.tty_info else {
        return Ok(None);
    };
    let size = terminal.window_size.as_ref();
    let size = size.map(|size| window(&format!("{field}.container.tty_info"), size));
    Ok(Some(size.transpose()?.unwrap_or((ROWS, COLUMNS))))
}

/// Rows and columns.
pub(super) fn window(field: &str, size: &v1::tty_info::WindowSize) -> Result<(u16, u16), Refused> {
    match (u16::try_from(size.rows), u16::try_from(size.columns)) {
        (Ok(rows), Ok(columns)) => Ok((rows, columns)),
        _ => Err(Refused::bad(format!(
            "'{field}.window_size' has more than {} rows or columns",
            u16::MAX
        ))),
    }
}

/// The container that a nested one is to be in.
fn around(answers: &Answers, view: &View, parent: &Name) -> Result<Around, Refused> {
    let not_there = || {
        let words = format!("Parent container {parent} cannot be found");
        Refused::not_found(words)
    };
    if let Some(around) = answers.containers.around(parent) {
        return Ok(around);
    }
    let running = model::running(view, parent).ok_or_else(not_there)?;
    let spec = of_running(&answers.ground, &view.durable, &running.id);
    let spec = spec.map_err(Refused::bad)?.ok_or_else(not_there)?;
    Ok(Around {
        footing: Footing {
            environment: spec.environment,
            owner: spec.owner,
            base: spec.sandbox,
            within: ".".into(),
            own: false,
        },
        process: running.process,
    })
}

/// Carries out a call about containers that does not stream.
pub(super) async fn carry_out(
    answers: &Arc<Answers>,
    call: Call,
    call_type: Type,
    accepted: ContentType,
) -> Result<Response<Body>, Refused> {
    let done = || Ok(StatusCode::OK.into_response());
    match call_type {
        Type::WaitNestedContainer | Type::WaitContainer => {
            wait(answers, call, call_type, accepted).await
        }
        Type::KillNestedContainer => {
            let call = call.kill_nested_container.unwrap_or_default();
            kill(
                answers,
                "kill_nested_container",
                &call.container_id,
                call.signal,
            )
            .await?;
            done()
        }
        Type::KillContainer => {
            let call = call.kill_container.unwrap_or_default();
            kill(answers, "kill_container", &call.container_id, call.signal).await?;
            done()
        }
        Type::RemoveNestedContainer => {
            let id = call
                .remove_nested_container
                .unwrap_or_default()
                .container_id;
            remove(answers, "remove_nested_container", &id).await?;
            done()
        }
        Type::RemoveContainer => {
            let id = call.remove_container.unwrap_or_default().container_id;
            remove(answers, "remove_container", &id).await?;
            done()
        }
        Type::LaunchNestedContainer | Type::LaunchContainer => {
            let launched = launch(answers, Wanted::of(call, call_type)).await?;
            Ok(match launched {
                Launched::Now => StatusCode::OK,
                Launched::Before => StatusCode::ACCEPTED,
            }
            .into_response())
        }
        _ => {
            let words = format!("the call {} is not implemented", call_type.as_str_name());
            Err(Refused::not_implemented(words))
        }
    }
}

/// Why the calls that end a container do not do that to a task's: it is the masters' business.
const THROUGH_FRAMEWORK: &str = "it is killed and waited for through its framework";

/// The id in a call. Containers of tasks and executors are refused, with the reason `why`.
pub(super) async fn name_of(
    answers: &Arc<Answers>,
    field: &str,
    id: &v1::ContainerId,
    why: &str,
) -> Result<Name, Refused> {
    let name = Name::of(&format!("{field}.container_id"), id)?;
    let view = answers.look().await?;
    if model::running(&view, &name).is_some() {
        let words = format!(
            "'{field}.container_id': {name} is the container of a task or an executor; {why}"
        );
        return Err(Refused::bad(words));
    }
    Ok(name)
}

async fn kill(
    answers: &Arc<Answers>,
    field: &str,
    id: &v1::ContainerId,
    signal: Option<i32>,
) -> Result<(), Refused> {
    let name = name_of(answers, field, id, THROUGH_FRAMEWORK).await?;
    let signal = signal.unwrap_or(nix::libc::SIGKILL);
    Ok(answers.containers.kill(&name, signal)?)
}

async fn remove(answers: &Arc<Answers>, field: &str, id: &v1::ContainerId) -> Result<(), Refused> {
    let name = name_of(answers, field, id, THROUGH_FRAMEWORK).await?;
    Ok(answers.containers.remove(&name).await?)
}

async fn wait(
    answers: &Arc<Answers>,
    call: Call,
    call_type: Type,
    accepted: ContentType,
) -> Result<Response<Body>, Refused> {
    let (field, id) = match call_type {
        Type::WaitNestedContainer => (
            "wait_nested_container",
            call.wait_nested_container.unwrap_or_default().container_id,
        ),
        _ => (
            "wait_container",
            call.wait_container.unwrap_or_default().container_id,
        ),
    };
    let name = name_of(answers, field, &id, THROUGH_FRAMEWORK).await?;
    let exit = answers.containers.wait(&name).await?;
    let exit_status = convert::wait_status(exit);
    let text = match exit {
        Exit::Exited(_) => None,
        Exit::Signaled(_) | Exit::NotStarted | Exit::Lost => Some(exit.message()),
    };
    let mut answer = Answer::default();
    let kind = match call_type {
        Type::WaitNestedContainer => {
            answer.wait_nested_container = Some(response::WaitNestedContainer {
                exit_status,
                message: text,
                ..response::WaitNestedContainer::default()
            });
            response::Type::WaitNestedContainer
        }
        _ => {
            answer.wait_container = Some(response::WaitContainer {
                exit_status,
                message: text,
                ..response::WaitContainer::default()
            });
            response::Type::WaitContainer
        }
    };
    answer.r#type = Some(kind as i32);
    Ok(message(accepted, &answer))
}

/// The containers that GET_CONTAINERS asks for.
pub(super) async fn list(
    answers: &Arc<Answers>,
    call: Option<GetContainers>,
) -> Result<Vec<Shown>, Refused> {
    let call = call.unwrap_or_default();
    let view = answers.look().await?;
    let processes = answers.at_leisure(Processes::look).await?;
    let now = answers.now().as_secs_f64();
    let mut all = shown::of_frameworks(&view, &answers.paths, &processes, now);
    if call.show_nested != Some(true) {
        all.retain(|shown| shown.id.parent.is_none());
    }
    let owners: Vec<(String, Option<Owner>)> = all
        .iter()
        .map(|shown| (shown.id.value.clone(), shown.owner.clone()))
        .collect();
    for seen in answers.containers.list() {
        let wanted = match seen.name.is_nested() {
            true => call.show_nested,
            false => call.show_standalone,
        };
        if wanted != Some(true) {
            continue;
        }
        let owner = owners.iter().find(|(root, _)| root == seen.name.root());
        let id = seen.name.to_wire();
        let limits: &Resources = &seen.resources;
        all.push(Shown {
            owner: owner.and_then(|(_, owner)| owner.clone()),
            status: v1::ContainerStatus {
                container_id: Some(id.clone()),
                network_infos: vec![convert::network_info(view.constants.address.ip())],
                cgroup_info: None,
                executor_pid: seen.process.map(|process| process.pid),
            },
            statistics: shown::of_process(&processes, seen.process, limits, now),
            id,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        let container: v1::ContainerInfo = serde_json::from_str(json).expect("a container");
        terminal("part", Some(&container)).expect_err(json).words
    }

    #[test]
    fn what_there_is_not_is_named() {
        for (json, named) in [
            (r#"{"type":"DOCKER","docker":{"image":"i"}}"#, "type"),
            (
                r#"{"type":"MESOS","mesos":{"image":{"type":"DOCKER","docker":{"name":"i"}}}}"#,
                "mesos.image",
            ),
            (
                r#"{"type":"MESOS","volumes":[{"mode":"RW","container_path":"p"}]}"#,
                "volumes",
            ),
            (r#"{"type":"MESOS","linux_info":{}}"#, "linux_info"),
            (r#"{"type":"MESOS","rlimit_info":{}}"#, "rlimit_info"),
            (
                r#"{"type":"MESOS","tty_info":{"window_size":{"rows":70000,"columns":1}}}"#,
                "tty_info.window_size",
            ),
        ] {
            let words = refused(json);
            assert!(
                words.contains(&format!("'part.container.{named}'")),
                "{words}"
            );
        }
    }

    #[test]
    fn a_terminal_has_a_size() {
        let size = |json: &str| {
            let container: v1::ContainerInfo = serde_json::from_str(json).expect("a container");
            terminal("part", Some(&container)).expect(json)
        };
        assert_eq!(size(r#"{"type":"MESOS","network_infos":[{}]}"#), None);
        assert_eq!(size(r#"{"type":"MESOS","tty_info":{}}"#), Some((24, 80)));
        let own = r#"{"type":"MESOS","tty_info":{"window_size":{"rows":7,"columns":9}}}"#;
        assert_eq!(size(own), Some((7, 9)));
    }
}
