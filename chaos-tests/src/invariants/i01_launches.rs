//! I1: a launch starts at most once, and its framework is told exactly one fate of it, which is true.

use std::collections::BTreeMap;

use regency_agent_core::LaunchId;
use regency_state::State;
use regency_state::model::StatusReason;
use regency_testkit::agent::{Machine, Process};
use regency_testkit::rules;
use regency_types::{FrameworkId, Generation, TaskId, TaskKey, TaskState};

use super::{Broken, Checked, Entry, broken};
use crate::model::framework::SimFramework;

/// What was launched, started and told.
#[derive(Debug, Default)]
pub struct Launches {
    launches: rules::Launches,
    fates: rules::Fates,
    /// What was started on machines that are gone.
    gone: BTreeMap<LaunchId, u32>,
}

impl Launches {
    pub(super) fn follow(&mut self, entry: &Entry<'_>) -> Checked {
        self.launches.follow(&entry.step).map_err(broken("I1"))?;
        self.fates.follow(&entry.step).map_err(broken("I1"))
    }

    pub(super) fn machine_is_gone(&mut self, machine: &Machine) {
        for (id, n) in machine.starts() {
            *self.gone.entry(id.clone()).or_default() += n;
        }
    }

    /// The newest launch of a task, unless the status is about one that never came to be.
    pub(super) fn launch_told(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
        reason: StatusReason,
    ) -> Option<Generation> {
        if matches!(
            reason,
            StatusReason::InvalidOffers
                | StatusReason::TaskInvalid
                | StatusReason::TaskGroupInvalid
        ) {
            return None;
        }
        let key = TaskKey {
            framework: framework.clone(),
            task: task.clone(),
        };
        self.launches.newest(&key)
    }

    pub(super) fn healed(
        &self,
        state: &State,
        machines: &[&Machine],
        frameworks: &[SimFramework],
    ) -> Checked {
        let mut starts = self.gone.clone();
        for machine in machines {
            for (id, n) in machine.starts() {
                *starts.entry(id.clone()).or_default() += n;
            }
        }
        let started: BTreeMap<_, _> = starts
            .into_iter()
            .map(|(id, n)| ((id.key, id.generation), n))
            .collect();
        let is_running = |key: &TaskKey, generation: Generation| {
            let id = LaunchId {
                key: key.clone(),
                generation,
            };
            machines
                .iter()
                .any(|m| m.process(&id) == Some(Process::Running))
        };
        self.fates
            // One that failed may not have come that far.
            .check_all_told(state, &started, is_running, &[TaskState::Finished])
            .map_err(broken("I1"))?;
        for (key, generation) in self.fates.launched() {
            let lives = state.framework(&key.framework).is_some();
            let told = frameworks
                .iter()
                .filter(|f| f.id.as_ref() == Some(&key.framework) && !f.is_over)
                .map(|f| f.ends.get(&(key.clone(), *generation)))
                .next();
            let Some(told) = told.filter(|_| lives) else {
                continue;
            };
            let ends: Vec<_> = told
                .into_iter()
                .flatten()
                .map(|state| state.name())
                .collect();
            if ends.len() != 1 {
                let what = format!("its framework heard of {key}#{generation} the ends {ends:?}");
                return Err(Broken::new("I1", what));
            }
        }
        Ok(())
    }
}
