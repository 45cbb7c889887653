//! I1, the part that the masters decide: a launch is put into a command stream once, and what is
//! in a stream changes in two ways only: launches that were not confirmed are withdrawn for good, and a
//! kill gives way to a later one of the same launch.

use std::collections::{BTreeMap, BTreeSet};

use regency_state::State;
use regency_state::model::{Agent, AgentCommand, ExecutorKey};
use regency_types::{Generation, TaskKey};

use super::Step;

/// The newest launch of each task.
#[derive(Debug, Default)]
pub struct Launches {
    newest: BTreeMap<TaskKey, Generation>,
    /// Every executor ever launched.
    executors: BTreeSet<Generation>,
}

impl Launches {
    /// Follows an entry.
    ///
    /// # Errors
    /// What the entry breaks.
    pub fn follow(&mut self, step: &Step<'_>) -> Result<(), String> {
        for agent in step.after.agents() {
            let before = step.before.agent(&agent.id);
            let minted = before.map_or(0, |a| a.command_seq);
            for (seq, old) in before.iter().flat_map(|a| a.outbox.iter()) {
                let kept = agent.outbox.get(seq);
                let fine = match (old, kept) {
                    (_, None) => *seq <= agent.confirmed_seq,
                    (old, Some(new)) => old == new || withdrawn(old, new) || replaced(old, new),
                };
                if !fine {
                    return Err(format!("command {seq} was {old:?} and is {kept:?}"));
                }
            }
            for (_, command) in agent.outbox.range(minted + 1..) {
                for (task, generation) in command.launches() {
                    self.launched(task, generation)?;
                }
                one_executor(step.after, command)?;
                if let AgentCommand::LaunchExecutor { executor, instance } = command
                    && !self.executors.insert(*instance)
                {
                    return Err(format!("{executor} is launched twice as {instance}"));
                }
            }
            given_up_launches_nothing(agent)?;
        }
        Ok(())
    }

    /// The newest launch of a task.
    #[must_use]
    pub fn newest(&self, task: &TaskKey) -> Option<Generation> {
        self.newest.get(task).copied()
    }

    fn launched(&mut self, task: &TaskKey, generation: Generation) -> Result<(), String> {
        match self.newest.insert(task.clone(), generation) {
            Some(newest) if newest >= generation => {
                Err(format!("{task} is launched as {generation} after {newest}"))
            }
            _ => Ok(()),
        }
    }
}

/// What an agent did not confirm when it was given up is never started, though it comes back.
fn given_up_launches_nothing(agent: &Agent) -> Result<(), String> {
    let launch = agent
        .outbox
        .values()
        .find(|command| command.launches().next().is_some());
    match launch {
        Some(launch) if !agent.is_registered() => {
            Err(format!("{} was given up and has {launch:?}", agent.id))
        }
        _ => Ok(()),
    }
}

/// All tasks of a group are of one executor, which is there.
fn one_executor(state: &State, command: &AgentCommand) -> Result<(), String> {
    let AgentCommand::LaunchGroup { tasks } = command else {
        return Ok(());
    };
    let of = |(task, _): &(TaskKey, Generation)| {
        let task = state.task(task)?;
        let executor = task.executor.as_ref()?;
        Some((
            task.agent.clone(),
            task.key.framework.clone(),
            executor.clone(),
        ))
    };
    let executors: Vec<_> = tasks.iter().map(of).collect();
    let Some(Some((agent, framework, executor))) = executors.first() else {
        return Err(format!("{command:?} is of no executor"));
    };
    let key = ExecutorKey {
        framework: framework.clone(),
        executor: executor.executor.clone(),
    };
    let there = state.agent(agent).and_then(|a| a.executors.get(&key));
    if there.is_none_or(|e| e.instance != executor.instance)
        || executors.iter().any(|other| other != &executors[0])
    {
        return Err(format!("{command:?} is of {executors:?}"));
    }
    Ok(())
}

/// Of the kills of a task that wait, the last one may be replaced by another.
fn replaced(old: &AgentCommand, new: &AgentCommand) -> bool {
    let killed = |command: &AgentCommand| match command {
        AgentCommand::Kill {
            task, generation, ..
        }
        | AgentCommand::DrainTask {
            task, generation, ..
        } => Some((task.clone(), *generation)),
        _ => None,
    };
    killed(old).is_some() && killed(old) == killed(new)
}

fn withdrawn(old: &AgentCommand, new: &AgentCommand) -> bool {
    match (old, new) {
        (
            AgentCommand::Launch { task, generation },
            AgentCommand::DropLaunch {
                task: dropped,
                generation: of,
            },
        ) => task == dropped && generation == of,
        (AgentCommand::LaunchGroup { tasks }, AgentCommand::DropGroup { tasks: dropped }) => {
            tasks == dropped
        }
        _ => false,
    }
}
