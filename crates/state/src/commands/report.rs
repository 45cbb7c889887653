//! What agents report of their tasks.

use std::collections::BTreeSet;
use std::sync::Arc;

use regency_mutants::{Mutant, on};
use regency_types::{AgentId, TaskKey, TaskState};

use crate::apply::Applied;
use crate::bounds;
use crate::command::{ApplyReports, ReportedUpdate, ResyncAgent, TaskReport};
use crate::commands::agent::{known, lose};
use crate::effect::Effect;
use crate::model::{AgentCommand, StatusReason, Task, UnackedUpdate};
use crate::outcome::Outcome;
use crate::state::State;

/// Applies reports in order; those applied before are skipped by their number.
pub(crate) fn apply_reports(state: &mut State, command: &ApplyReports) -> Applied {
    if let Err(refusal) = known(state, &command.agent, command.epoch) {
        return refusal.into();
    }
    let mut effects = Vec::new();
    if let Some(agent) = state.agent_mut(&command.agent) {
        agent.confirm(command.command_seq);
        agent.suspect_since = None;
    }
    for report in &command.reports {
        let Some(agent) = state.agent_mut(&command.agent) else {
            break;
        };
        if agent.inventory_due {
            // The inventory says all of this, and with it what is unknown here.
            break;
        }
        if report.report_seq <= agent.report_seq && !on(Mutant::ApplyReportsAgain) {
            continue;
        }
        agent.report_seq = report.report_seq;
        apply_one(state, &command.agent, report, &mut effects);
    }
    let report_seq = state.agents.get(&command.agent).map_or(0, |a| a.report_seq);
    Applied::ok(Outcome::ReportsApplied { report_seq }, effects)
}

/// Takes over an agent's whole picture. A task the masters placed there, whose launch the agent
/// noted, and which it does not name any more has ended without a trace: it is gone.
pub(crate) fn resync(state: &mut State, command: &ResyncAgent) -> Applied {
    let agent = match known(state, &command.agent, command.epoch) {
        Ok(agent) => agent,
        Err(refusal) => return refusal.into(),
    };
    if agent.inventory_due {
        return Applied::ok(
            Outcome::ReportsApplied {
                report_seq: agent.report_seq,
            },
            Vec::new(),
        );
    }
    let mut effects = Vec::new();
    let noted = command.command_seq.min(bounds::COMMAND_SEQ_BELIEVED_MAX);
    renumber(state, &command.agent, noted);
    if let Some(agent) = state.agent_mut(&command.agent) {
        agent.confirm(command.command_seq);
        agent.suspect_since = None;
        agent.report_seq = agent.report_seq.max(command.report_seq);
    }
    let mut named = BTreeSet::new();
    for report in &command.tasks {
        named.insert((report.task.clone(), report.generation));
        apply_one(state, &command.agent, report, &mut effects);
    }
    for key in &agent.tasks {
        let Some(task) = state.tasks.get(key).cloned() else {
            continue;
        };
        let noted = task.launch_seq <= command.command_seq || on(Mutant::LoseLaunchesOnResync);
        if !noted || named.contains(&(key.clone(), task.generation)) {
            continue;
        }
        lose(
            state,
            key,
            StatusReason::Reconciliation,
            "The agent does not know the task any more",
            &mut effects,
        );
    }
    effects.push(Effect::SyncAgent {
        agent: command.agent.clone(),
    });
    effects.push(Effect::WakeAllocator);
    let report_seq = state.agents.get(&command.agent).map_or(0, |a| a.report_seq);
    Applied::ok(Outcome::ReportsApplied { report_seq }, effects)
}

/// An agent that is ahead of this state (which was restored from a backup) has used command
/// numbers that are unknown here; what waits for it gets numbers above them.
///
/// Launches do not: the agent may have noted any of them under another number, run it and forgotten
/// it. They count as noted, so the picture decides: what it names runs there, the rest is gone.
pub(crate) fn renumber(state: &mut State, id: &AgentId, noted: u64) {
    let Some(agent) = state.agent_mut(id) else {
        return;
    };
    if noted <= agent.command_seq {
        return;
    }
    let waiting: Vec<AgentCommand> = agent.outbox.values().cloned().collect();
    agent.outbox.clear();
    agent.command_seq = noted;
    agent.confirmed_seq = noted;
    for command in waiting {
        match &command {
            AgentCommand::Launch { task, .. } | AgentCommand::DropLaunch { task, .. } => {
                if let Some(task) = state.task_mut(task) {
                    task.launch_seq = noted;
                }
            }
            AgentCommand::LaunchGroup { tasks } | AgentCommand::DropGroup { tasks } => {
                for (task, _) in tasks {
                    if let Some(task) = state.task_mut(task) {
                        task.launch_seq = noted;
                    }
                }
            }
            AgentCommand::LaunchExecutor { executor, instance } => {
                // As with a launch.
                if let Some(agent) = state.agent_mut(id)
                    && let Some(executor) = agent.executors.get_mut(executor)
                    && executor.instance == *instance
                {
                    Arc::make_mut(executor).launch_seq = noted;
                }
            }
            AgentCommand::Kill { task, .. } | AgentCommand::DrainTask { task, .. } => {
                let key = task.clone();
                let seq = state.agent_mut(id).map(|agent| agent.push(command));
                let pending = state.task_mut(&key).and_then(|task| task.kill.as_mut());
                if let (Some(seq), Some(pending)) = (seq, pending) {
                    pending.command_seq = seq;
                }
            }
            AgentCommand::Acknowledge { .. }
            | AgentCommand::ShutdownFramework { .. }
            | AgentCommand::DestroyVolume { .. }
            | AgentCommand::ShutdownExecutor { .. } => {
                if let Some(agent) = state.agent_mut(id) {
                    agent.push(command);
                }
            }
        }
    }
}

pub(crate) fn apply_one(
    state: &mut State,
    agent: &AgentId,
    report: &TaskReport,
    effects: &mut Vec<Effect>,
) {
    let current = state.tasks.get(&report.task).filter(|t| {
        let is_its = t.generation == report.generation || on(Mutant::DropGenerationCheck);
        is_its && &t.agent == agent && !t.lost
    });
    let Some(task) = current.cloned() else {
        acknowledge_stale(state, agent, report, effects);
        return;
    };
    let mut latest = report.latest_state;
    if let Some(head) = &report.head
        && (report.task_seq > task.task_seq || is_unseen_end(&task, head))
    {
        if head.state.is_terminal() {
            // An end is final, whatever the agent says came after it.
            latest = head.state;
        }
        let fresh = task.unacked.is_none();
        if let Some(task) = state.task_mut(&report.task) {
            task.task_seq = task.task_seq.max(report.task_seq);
            task.status = head.status.clone();
            task.unacked = Some(UnackedUpdate {
                uuid: head.uuid,
                state: head.state,
                status: head.status.clone(),
            });
        }
        if fresh && let Some(framework) = state.framework_mut(&report.task.framework) {
            framework.n_unacked += 1;
        }
        effects.push(Effect::SendUpdate {
            task: report.task.clone(),
        });
    }
    match latest {
        // Nothing returns to STAGING: that is what the masters call a launch nobody has spoken
        // of. The other two are what masters say when an agent says nothing.
        TaskState::Staging | TaskState::Unreachable | TaskState::Unknown => {}
        _ => follow(state, &report.task, latest, effects),
    }
}

/// Whether this tells an end that was not seen yet, whatever its number: acknowledging an end
/// completes the task. An agent that lost what it knew of a launch counts anew.
fn is_unseen_end(task: &Task, head: &ReportedUpdate) -> bool {
    head.state.is_terminal() && task.unacked.is_none()
}

/// Moves the task to the newest state its agent reports.
fn follow(state: &mut State, key: &TaskKey, to: TaskState, effects: &mut Vec<Effect>) {
    if state.set_task_state(key, to) && to.is_terminal() {
        effects.push(Effect::WakeAllocator);
    }
}

/// An update of a launch that is no longer anybody's: acknowledged so that the agent forgets it,
/// not forwarded.
pub(crate) fn acknowledge_stale(
    state: &mut State,
    agent: &AgentId,
    report: &TaskReport,
    effects: &mut Vec<Effect>,
) {
    let Some(head) = &report.head else { return };
    let Some(record) = state.agent_mut(agent) else {
        return;
    };
    record.push(AgentCommand::Acknowledge {
        task: report.task.clone(),
        generation: report.generation,
        uuid: head.uuid,
    });
    effects.push(Effect::SyncAgent {
        agent: agent.clone(),
    });
}

#[cfg(test)]
mod tests;
