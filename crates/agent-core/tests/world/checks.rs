//! What must hold, always and at rest.

use std::collections::VecDeque;

use regency_agent_core::{Command, Exit, LaunchId, Reason, Record, Update};
use regency_testkit::agent::{Machine, Process};
use regency_types::TaskState;

use super::{Known, World};

impl World {
    /// Holds at every moment.
    pub(crate) fn check(&self) {
        if let Err(what) = self.machine.check() {
            panic!("{what}");
        }
        self.check_groups();
    }

    /// No more faults: everything is delivered, every process ends, every update is acknowledged.
    pub(crate) fn heal(&mut self) {
        // The first one dies where it was told to, if it was.
        self.with_machine(Machine::restart);
        self.with_machine(Machine::restart);
        for _ in 0..10_000 {
            self.connect();
            self.deliver(self.delivered);
            while let Some(id) = self.processes_that(Process::Preparing).pop() {
                self.with_machine(|machine| machine.prepared(id));
            }
            for id in self.processes_that(Process::Running) {
                if self.kill_was_noted(&id) {
                    self.killed.insert(id.clone());
                }
                if self.machine.is_executor(&id) {
                    self.with_machine(|machine| machine.executor_finishes(&id));
                    if self.machine.process(&id) != Some(Process::Running) {
                        continue;
                    }
                }
                self.end(id, Exit::Exited(0));
            }
            let heads: VecDeque<_> = self.heads().into();
            if heads.is_empty() && self.delivered == self.log.len() {
                return;
            }
            for (id, uuid) in heads {
                self.acknowledge(id, uuid);
            }
        }
        panic!("the world does not come to rest");
    }

    /// Holds once nothing is left to do.
    pub(crate) fn check_healed(&self) {
        assert!(
            self.machine.core().durable().tasks.is_empty(),
            "{:?}",
            self.machine.core().durable().tasks
        );
        assert!(
            self.machine.core().durable().executors.is_empty(),
            "{:?}",
            self.machine.core().durable().executors
        );
        assert!(self.machine.core().durable().frameworks.is_empty());
        for id in &self.launched {
            if self.gone.contains(&id.key.framework) {
                continue;
            }
            let known = self
                .known
                .get(id)
                .unwrap_or_else(|| panic!("{id} was never told of"));
            let fates: Vec<_> = known
                .updates
                .values()
                .filter(|u| u.state.is_terminal())
                .collect();
            assert_eq!(fates.len(), 1, "{id} has not exactly one fate: {fates:?}");
            assert_eq!(known.acknowledged, known.updates.len() as u64, "{id}");
            let started = self.machine.starts().contains_key(id);
            let state = fates[0].state;
            let never_ran = matches!(state, TaskState::Dropped | TaskState::Error);
            assert!(!(started && never_ran), "{id} ran and is told as {state:?}");
            if self.killed.contains(id) {
                let too_long = fates[0].reason == Some(Reason::MaxCompletionTimeReached);
                assert!(
                    state == TaskState::Killed || too_long,
                    "{id} was killed while it ran, and is told as {state:?}"
                );
            }
            self.check_health(id, known);
            self.check_together(id);
            let ran = state == TaskState::Finished;
            assert!(started || !ran, "{id} never ran and is told as {state:?}");
            assert_eq!(
                self.n_made(id),
                known.updates.len(),
                "{id}: an update was lost"
            );
        }
    }

    /// Each update about health says something else than the one before, and a task that was
    /// killed for it was told as unhealthy first.
    fn check_health(&self, id: &LaunchId, known: &Known) {
        let of_health =
            |update: &&Update| update.reason == Some(Reason::TaskHealthCheckStatusUpdated);
        let told: Vec<_> = known.updates.values().filter(of_health).collect();
        for pair in told.windows(2) {
            assert_ne!(pair[0].healthy, pair[1].healthy, "{id}");
        }
        let last = known.updates.values().last();
        if last.is_some_and(|end| end.state.is_terminal() && end.healthy == Some(false)) {
            let before = told.last().and_then(|update| update.healthy);
            assert_eq!(before, Some(false), "{id} was killed without a word");
        }
    }

    pub(super) fn kill_was_noted(&self, wanted: &LaunchId) -> bool {
        let noted = self.machine.core().durable().command_seq as usize;
        self.log
            .iter()
            .take(noted)
            .any(|command| matches!(command, Command::Kill { id, .. } if id == wanted))
    }

    pub(super) fn n_made(&self, wanted: &LaunchId) -> usize {
        let made = self
            .machine
            .disk()
            .iter()
            .filter(|record| matches!(record, Record::Updated { id, .. } if id == wanted));
        made.count()
    }
}
