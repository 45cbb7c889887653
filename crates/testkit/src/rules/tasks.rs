//! I5: a task moves along the legal graph, each move is made by a command that may make it, and
//! an end is final.

use regency_state::model::Task;
use regency_state::{Command, TaskReport};
use regency_types::TaskState;

use super::Step;

pub(super) fn check(step: &Step<'_>) -> Result<(), String> {
    for old in step.before.tasks() {
        match step.after.task(&old.key) {
            Some(new) if new.generation == old.generation => {
                if new.state != old.state {
                    moved(step, old, new.state)?;
                }
            }
            // A task goes only when it has ended, and its framework remembers it.
            _ => completed(step, old)?,
        }
    }
    Ok(())
}

fn moved(step: &Step<'_>, old: &Task, to: TaskState) -> Result<(), String> {
    let wrong = |why: &str| {
        Err(format!(
            "{}: {} became {}: {why}",
            old.key,
            old.state.name(),
            to.name()
        ))
    };
    if old.is_terminal() {
        return wrong("it had ended");
    }
    let may = match (&step.proposal.command, to) {
        (Command::MarkAgentUnreachable(c), TaskState::Unreachable) => c.agent == old.agent,
        (Command::ReregisterAgent(c), to) => {
            c.agent == old.agent && old.state_before_unreachable == Some(to)
        }
        (Command::ApplyReports(c), to) => {
            let applied = step.before.agent(&c.agent).map_or(0, |a| a.report_seq);
            let new = c.reports.iter().filter(|r| r.report_seq > applied);
            c.agent == old.agent && says(new, old, to)
        }
        (Command::ResyncAgent(c), to) => {
            let named = |r: &TaskReport| r.task == old.key && r.generation == old.generation;
            let missing = !c.tasks.iter().any(named);
            let noted = old.launch_seq <= c.command_seq;
            c.agent == old.agent
                && (says(c.tasks.iter(), old, to) || missing && noted && to == TaskState::Gone)
        }
        (Command::TakeInventory(c), to) => {
            let named = |r: &&TaskReport| r.task == old.key && r.generation == old.generation;
            let mut reports = c.tasks.iter().map(|task| &task.report);
            let missing = !reports.clone().any(|r| named(&r));
            c.agent == old.agent
                && (says(&mut reports, old, to) || missing && to == TaskState::Gone)
        }
        (Command::StartMaintenance(_), TaskState::Lost) => {
            let agent = step.after.agent(&old.agent);
            agent.is_some_and(|agent| !agent.is_registered())
        }
        (Command::MarkAgentGone(c), TaskState::GoneByOperator) => c.agent == old.agent,
        (Command::ForgetAgents(c), TaskState::Gone) => {
            c.agents.contains(&old.agent) && old.state == TaskState::Unreachable
        }
        (
            Command::RegisterAgent(_) | Command::TeardownFramework(_) | Command::ExpireFramework(_),
            to,
        ) => to.is_terminal(),
        _ => false,
    };
    if may {
        Ok(())
    } else {
        wrong("this command does not do that")
    }
}

/// Whether one of the reports says this of this launch; masters' words are not an agent's.
fn says<'a>(mut reports: impl Iterator<Item = &'a TaskReport>, task: &Task, to: TaskState) -> bool {
    let of_masters = [
        TaskState::Staging,
        TaskState::Unreachable,
        TaskState::Unknown,
    ];
    !of_masters.contains(&to)
        && reports
            .any(|r| r.task == task.key && r.generation == task.generation && r.latest_state == to)
}

fn completed(step: &Step<'_>, old: &Task) -> Result<(), String> {
    let framework = step.after.framework(&old.key.framework).cloned();
    let framework = framework.map(|f| (*f).clone()).or_else(|| {
        step.after
            .completed_frameworks()
            .map(|c| &c.framework)
            .find(|f| f.id == old.key.framework)
            .cloned()
    });
    let Some(framework) = framework else {
        return Err(format!("{} went with its framework", old.key));
    };
    let kept = framework
        .completed_tasks
        .iter()
        .find(|t| t.key == old.key && t.generation == old.generation);
    match kept {
        None => Err(format!("{} is not among the completed", old.key)),
        Some(kept) if !kept.is_terminal() => {
            Err(format!("{} is complete, but has not ended", old.key))
        }
        Some(kept) if old.is_terminal() && kept.state != old.state => Err(format!(
            "{} ended as {} and is kept as {}",
            old.key,
            old.state.name(),
            kept.state.name()
        )),
        Some(_) => Ok(()),
    }
}
