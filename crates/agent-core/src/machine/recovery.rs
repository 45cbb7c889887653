//! What a start of the agent makes of the launches it finds in its checkpoints.

use std::collections::BTreeMap;

use regency_mutants::{Mutant, on};
use regency_types::{BootId, TaskState};

use crate::durable::{Phase, Record};
use crate::exit::Exit;
use crate::launch::LaunchId;
use crate::step::{Action, Cx};
use crate::update::Reason;

use super::{Core, News, processes};

/// What was found of a launch's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessFact {
    /// It lives; its end will be told.
    Alive,
    /// It ended like this.
    Ended(Exit),
}

pub(super) fn recover(
    core: &mut Core,
    boot: BootId,
    facts: &BTreeMap<LaunchId, ProcessFact>,
    cx: &mut Cx<'_>,
) {
    let rebooted = core.durable.boot.is_some_and(|last| last != boot);
    if core.durable.boot != Some(boot) {
        core.record(Record::Booted(boot), cx);
    }
    // They first: what becomes of their tasks depends on them.
    let executors: Vec<LaunchId> = core.durable.executors.keys().cloned().collect();
    for id in executors {
        super::executors::recover(core, &id, facts.get(&id).copied(), rebooted, cx);
    }
    let ids: Vec<LaunchId> = core.durable.tasks.keys().cloned().collect();
    for id in ids {
        let Some(task) = core.durable.tasks.get(&id) else {
            continue;
        };
        if !task.launch.has_command() {
            continue;
        }
        match task.phase {
            Phase::HandedOver | Phase::Ended => {}
            // Without a record of its process nobody can have let the command run.
            Phase::Intended => {
                let message = "Agent restarted before the task was started";
                let news = News::agent(TaskState::Dropped, Reason::AgentRestarted, message);
                core.update(&id, news, cx);
            }
            Phase::Started(_) => {
                let fact = facts.get(&id).copied();
                match fact.unwrap_or(ProcessFact::Ended(Exit::Lost)) {
                    ProcessFact::Ended(_) if on(Mutant::StartAgain) => {
                        cx.act(Action::Prepare(id.clone()));
                    }
                    ProcessFact::Alive => alive(core, &id, cx),
                    ProcessFact::Ended(Exit::Lost) if rebooted => gone(core, &id, cx),
                    ProcessFact::Ended(exit) => processes::ended(core, &id, exit, cx),
                }
            }
        }
    }
}

/// A kill asked for before the restart goes on, with its whole grace again: nobody knows how
/// much of it had passed.
fn alive(core: &mut Core, id: &LaunchId, cx: &mut Cx<'_>) {
    let kill = core.durable.tasks.get(id).and_then(|task| task.kill);
    if let Some(grace) = kill.filter(|_| !on(Mutant::KillForgottenAtRestart)) {
        processes::terminate(core, id, grace, cx);
    }
}

/// The machine went down under it.
fn gone(core: &mut Core, id: &LaunchId, cx: &mut Cx<'_>) {
    let silent = core.durable.tasks.get(id).is_some_and(|task| task.silent);
    if silent {
        return processes::ended(core, id, Exit::Lost, cx);
    }
    core.update(id, machine_restarted(), cx);
}

pub(super) fn machine_restarted() -> News {
    let message = "Agent's machine was restarted";
    News::agent(TaskState::Gone, Reason::ExecutorTerminated, message)
}
