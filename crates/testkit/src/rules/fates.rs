//! I1, the whole: a launch starts at most once, and the framework is told exactly one fate of it,
//! which is true.

use std::collections::{BTreeMap, BTreeSet};

use regency_state::{Effect, State};
use regency_types::{FrameworkId, Generation, TaskId, TaskKey, TaskState};

use super::Step;

/// One launch of a task.
pub type LaunchKey = (TaskKey, Generation);

/// What was launched and what was told of it.
#[derive(Debug, Default)]
pub struct Fates {
    launched: BTreeSet<LaunchKey>,
    told: BTreeMap<LaunchKey, TaskState>,
}

impl Fates {
    /// Follows an entry.
    ///
    /// # Errors
    /// What the entry breaks.
    pub fn follow(&mut self, step: &Step<'_>) -> Result<(), String> {
        for agent in step.after.agents() {
            let minted = step.before.agent(&agent.id).map_or(0, |a| a.command_seq);
            for (_, command) in agent.outbox.range(minted + 1..) {
                for (task, generation) in command.launches() {
                    self.launched.insert((task.clone(), generation));
                }
            }
        }
        for effect in &step.applied.effects {
            match effect {
                Effect::SendUpdate { task } => {
                    let Some(record) = step.after.task(task) else {
                        return Err(format!("an update of {task} is sent, which is unknown"));
                    };
                    let Some(unacked) = &record.unacked else {
                        return Err(format!("an update of {task} is sent, but none waits"));
                    };
                    self.tell(task, record.generation, unacked.state)?;
                }
                Effect::SendStatus { framework, status } => {
                    self.status(step, framework, &status.task_id, status.state)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn status(
        &mut self,
        step: &Step<'_>,
        framework: &FrameworkId,
        task_id: &str,
        state: TaskState,
    ) -> Result<(), String> {
        let Ok(task) = TaskId::new(task_id) else {
            return Ok(());
        };
        let key = TaskKey {
            framework: framework.clone(),
            task,
        };
        match (step.before.task(&key), step.after.task(&key)) {
            (Some(task), _) => self.tell(&key, task.generation, state),
            (None, None) => Ok(()),
            (None, Some(_)) if !state.is_terminal() => Ok(()),
            (None, Some(_)) => Err(format!(
                "the refusal {} of {key} is told, which lives",
                state.name()
            )),
        }
    }

    fn tell(
        &mut self,
        task: &TaskKey,
        generation: Generation,
        state: TaskState,
    ) -> Result<(), String> {
        if !state.is_terminal() {
            return Ok(());
        }
        let key = (task.clone(), generation);
        if !self.launched.contains(&key) {
            return Err(format!("{task} {generation} was never launched"));
        }
        match self.told.insert(key, state) {
            Some(other) if other != state => Err(format!(
                "{task} {generation} was {} and is {}",
                other.name(),
                state.name()
            )),
            _ => Ok(()),
        }
    }

    /// Everything that was ever launched.
    pub fn launched(&self) -> impl Iterator<Item = &LaunchKey> {
        self.launched.iter()
    }

    /// To be called when nothing is on its way any more, with how often each launch was started,
    /// whether it still runs, and which ends say that it ran.
    ///
    /// # Errors
    /// What was not told, or is not true.
    pub fn check_all_told(
        &self,
        state: &State,
        started: &BTreeMap<LaunchKey, u32>,
        is_running: impl Fn(&TaskKey, Generation) -> bool,
        ends_of_what_ran: &[TaskState],
    ) -> Result<(), String> {
        for (key, n) in started {
            if *n > 1 {
                return Err(format!("{} {} was started {n} times", key.0, key.1));
            }
        }
        for key in &self.launched {
            let (task, generation) = key;
            let was_started = started.contains_key(key);
            match self.told.get(key) {
                Some(TaskState::Dropped) if was_started => {
                    return Err(format!("{task} {generation} is told as dropped, but ran"));
                }
                Some(end) if ends_of_what_ran.contains(end) && !was_started => {
                    return Err(format!("{task} {generation} is told to have run"));
                }
                Some(_) => {}
                None if state.framework(&task.framework).is_none() => {}
                None if !is_running(task, *generation) => {
                    return Err(format!(
                        "no fate of {task} {generation} is told; {:?}",
                        state.task(task)
                    ));
                }
                None => {
                    let lives = state
                        .task(task)
                        .is_some_and(|t| t.generation == *generation && !t.is_terminal());
                    if !lives {
                        return Err(format!("{task} {generation} runs, which is not known"));
                    }
                }
            }
        }
        // What ended and was acknowledged is complete: its id may be used again.
        match state.tasks().find(|t| t.is_terminal()) {
            Some(task) => Err(format!("{} has ended and keeps its id: {task:?}", task.key)),
            None => Ok(()),
        }
    }
}
