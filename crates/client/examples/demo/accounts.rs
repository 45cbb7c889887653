//! The books of the demonstration framework: what was promised for each task and offer, and what
//! came of it. No I/O; the ledger that tasks write themselves is handed in at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use regency_client::is_terminal;
use regency_client::v1::{TaskState, TaskStatus};

/// A task that was accepted so long ago, and whose end was not told, counts as overdue. Tasks run
/// for a second or two, and failovers are shorter than this.
const OVERDUE: Duration = Duration::from_secs(15);

/// What is known of one task.
#[derive(Debug, Default)]
struct Task {
    /// When it was to be launched; absent for one that only its updates tell of.
    launched_at: Option<Instant>,
    /// Whether the master has said that its ACCEPT is committed.
    accepted: bool,
    /// Whether the task is known to run.
    started: bool,
    /// The update that ended it.
    end: Option<End>,
}

#[derive(Debug, PartialEq, Eq)]
struct End {
    finished: bool,
    uuid: Option<Vec<u8>>,
}

/// All tasks and the fates of offers.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    tasks: BTreeMap<String, Task>,
    ended_twice: u64,
    offers: OfferCounts,
}

/// What became of offers. Each is counted once, however often it was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OfferCounts {
    pub(crate) received: u64,
    /// Accepted offers that had been received from an earlier leader.
    pub(crate) carried_over: u64,
    /// Offers that were held when a leader died, and that the next one did not know.
    pub(crate) lost: u64,
    /// Offers that were taken back, which a master may do.
    pub(crate) rescinded: u64,
}

/// How it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    pub(crate) launched: u64,
    pub(crate) running: u64,
    pub(crate) finished: u64,
    /// Ended in another way.
    pub(crate) lost: u64,
    /// Accepted long ago, and their end is not known: updates that look lost.
    pub(crate) overdue: u64,
    pub(crate) offers: OfferCounts,
}

/// A terminal update that should not be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) task: String,
    pub(crate) state: String,
    pub(crate) message: String,
}

impl Accounts {
    /// A task is about to be launched.
    pub(crate) fn launching(&mut self, task: &str, now: Instant) {
        self.tasks.entry(task.to_owned()).or_default().launched_at = Some(now);
    }

    /// The master has accepted it.
    pub(crate) fn accepted(&mut self, task: &str) {
        self.tasks.entry(task.to_owned()).or_default().accepted = true;
    }

    /// The master certainly never saw it.
    pub(crate) fn never_sent(&mut self, task: &str) {
        if self
            .tasks
            .get(task)
            .is_some_and(|task| !task.accepted && task.end.is_none())
        {
            self.tasks.remove(task);
        }
    }

    /// A status update came, perhaps not for the first time.
    pub(crate) fn update(&mut self, status: &TaskStatus) -> Option<Lost> {
        let task = self.tasks.entry(status.task_id.value.clone()).or_default();
        // Somebody launched it, whatever the call's answer was.
        task.accepted = true;
        task.started |= status.state() == TaskState::TaskRunning;
        if !is_terminal(status) {
            return None;
        }
        let end = End {
            finished: status.state() == TaskState::TaskFinished,
            uuid: status.uuid.as_ref().map(|uuid| uuid.to_vec()),
        };
        match &task.end {
            // Delivered again, or an answer to a reconciliation.
            Some(first) if *first == end || end.uuid.is_none() => None,
            Some(_) => {
                self.ended_twice += 1;
                None
            }
            None => {
                let lost = (!end.finished).then(|| Lost {
                    task: status.task_id.value.clone(),
                    state: status.state().as_str_name().to_owned(),
                    message: status.message.clone().unwrap_or_default(),
                });
                task.end = Some(end);
                lost
            }
        }
    }

    pub(crate) fn offers(&mut self) -> &mut OfferCounts {
        &mut self.offers
    }

    /// How many tasks have not ended.
    pub(crate) fn n_open(&self) -> usize {
        self.tasks
            .values()
            .filter(|task| task.end.is_none())
            .count()
    }

    pub(crate) fn totals(&self, now: Instant) -> Totals {
        let mut totals = Totals {
            offers: self.offers,
            ..Totals::default()
        };
        for task in self.tasks.values() {
            totals.launched += u64::from(task.accepted);
            match &task.end {
                None => {
                    totals.running += u64::from(task.started);
                    let since = task.launched_at.map(|at| now.saturating_duration_since(at));
                    totals.overdue += u64::from(since.is_some_and(|since| since > OVERDUE));
                }
                Some(End { finished: true, .. }) => totals.finished += 1,
                Some(_) => totals.lost += 1,
            }
        }
        totals
    }

    /// Closes the books. `ledger` holds the id of a task for each time that one really ran.
    pub(crate) fn settle<'a>(
        &self,
        ending: Ending,
        ledger: impl IntoIterator<Item = &'a str>,
    ) -> Settled {
        let mut runs: BTreeMap<&str, u64> = BTreeMap::new();
        for task in ledger {
            *runs.entry(task).or_default() += 1;
        }
        let mut settled = Settled {
            ended_twice: self.ended_twice,
            offers: self.offers,
            ..Settled::default()
        };
        for (id, task) in &self.tasks {
            let ran = runs.contains_key(id.as_str());
            settled.launched += u64::from(task.accepted);
            match &task.end {
                Some(End { finished: true, .. }) if ran => settled.finished += 1,
                // Said to have finished, but nothing ran; or ended in another way.
                Some(_) => settled.tasks_lost += 1,
                None if ending == Ending::Interrupted => {
                    settled.abandoned += u64::from(task.accepted);
                }
                None if ran => settled.updates_lost += 1,
                // Not accepted and not seen again: nobody promised anything.
                None => settled.tasks_lost += u64::from(task.accepted),
            }
        }
        settled.run_twice = runs.values().map(|n| n - 1).sum();
        let known: BTreeSet<&str> = self.tasks.keys().map(String::as_str).collect();
        settled.strangers = runs.keys().filter(|id| !known.contains(*id)).count() as u64;
        settled
    }
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every task had the time to end: one that did not is lost.
    Drained,
    /// Somebody did not want to wait.
    Interrupted,
}

/// The books at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Settled {
    /// Tasks that a master accepted.
    pub(crate) launched: u64,
    /// Those that ran and were reported as finished.
    pub(crate) finished: u64,
    /// Those that were reported in another way, or never ran.
    pub(crate) tasks_lost: u64,
    /// Those that ran and whose end was never reported.
    pub(crate) updates_lost: u64,
    /// Those that were still open when the run was interrupted.
    pub(crate) abandoned: u64,
    /// Runs beyond the first of a task.
    pub(crate) run_twice: u64,
    /// Tasks with two different ends.
    pub(crate) ended_twice: u64,
    /// Tasks that ran and that nobody launched.
    pub(crate) strangers: u64,
    pub(crate) offers: OfferCounts,
}

impl Settled {
    /// Whether every promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        let broken = [
            self.tasks_lost,
            self.updates_lost,
            self.run_twice,
            self.ended_twice,
            self.strangers,
            self.offers.lost,
        ];
        broken == [0; 6] && self.launched == self.finished + self.abandoned
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            launched,
            running,
            finished,
            lost,
            overdue,
            offers,
        } = self;
        write!(
            f,
            "tasks: {launched} launched, {running} running, {finished} finished, {lost} lost; \
             updates: {overdue} lost; offers: {} received, {} carried over, {} lost",
            offers.received, offers.carried_over, offers.lost
        )
    }
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            launched,
            finished,
            tasks_lost,
            updates_lost,
            offers,
            ..
        } = self;
        writeln!(
            f,
            "tasks    {launched} launched, {finished} finished, {tasks_lost} lost, {} run twice",
            self.run_twice
        )?;
        writeln!(f, "updates  {updates_lost} lost")?;
        write!(
            f,
            "offers   {} received, {} carried over a failover and used, {} lost",
            offers.received, offers.carried_over, offers.lost
        )?;
        if self.abandoned > 0 {
            write!(
                f,
                "\nand {} tasks were still open when interrupted",
                self.abandoned
            )?;
        }
        if self.ended_twice + self.strangers > 0 {
            write!(
                f,
                "\nand {} tasks ended twice, {} ran without having been launched",
                self.ended_twice, self.strangers
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use regency_client::v1::TaskId;

    use super::*;

    fn status(task: &str, state: TaskState, uuid: &str) -> TaskStatus {
        TaskStatus {
            task_id: TaskId { value: task.into() },
            state: state as i32,
            uuid: Some(uuid.as_bytes().to_vec().into()),
            ..TaskStatus::default()
        }
    }

    fn launched(tasks: &[&str]) -> Accounts {
        let mut accounts = Accounts::default();
        for task in tasks {
            accounts.launching(task, Instant::now());
            accounts.accepted(task);
        }
        accounts
    }

    #[test]
    fn a_task_that_ran_once_and_finished_is_clean_however_often_it_is_told() {
        let mut accounts = launched(&["a"]);
        accounts.update(&status("a", TaskState::TaskRunning, "1"));
        assert_eq!(accounts.totals(Instant::now()).running, 1);
        for _ in 0..2 {
            assert_eq!(
                accounts.update(&status("a", TaskState::TaskFinished, "2")),
                None
            );
        }
        let settled = accounts.settle(Ending::Drained, ["a"]);
        assert!(settled.is_clean(), "{settled:?}");
        assert_eq!((settled.launched, settled.finished), (1, 1));
    }

    #[test]
    fn each_broken_promise_shows_as_what_it_is() {
        let finished = |task| {
            let mut accounts = launched(&[task]);
            accounts.update(&status(task, TaskState::TaskFinished, "1"));
            accounts
        };
        let twice = finished("a").settle(Ending::Drained, ["a", "a"]);
        assert_eq!((twice.run_twice, twice.is_clean()), (1, false));

        let never_ran = finished("a").settle(Ending::Drained, []);
        assert_eq!((never_ran.tasks_lost, never_ran.is_clean()), (1, false));

        let silent = launched(&["a"]).settle(Ending::Drained, ["a"]);
        assert_eq!((silent.updates_lost, silent.is_clean()), (1, false));

        let interrupted = launched(&["a"]).settle(Ending::Interrupted, ["a"]);
        assert_eq!((interrupted.abandoned, interrupted.is_clean()), (1, true));

        let gone = launched(&["a"]).settle(Ending::Drained, []);
        assert_eq!((gone.tasks_lost, gone.is_clean()), (1, false));

        let stranger = finished("a").settle(Ending::Drained, ["a", "b"]);
        assert_eq!((stranger.strangers, stranger.is_clean()), (1, false));

        let mut accounts = launched(&["a"]);
        let lost = accounts
            .update(&status("a", TaskState::TaskLost, "1"))
            .expect("lost");
        assert_eq!(
            (lost.task.as_str(), lost.state.as_str()),
            ("a", "TASK_LOST")
        );
        accounts.update(&status("a", TaskState::TaskFinished, "2"));
        let settled = accounts.settle(Ending::Drained, ["a"]);
        assert_eq!((settled.tasks_lost, settled.ended_twice), (1, 1));

        let mut accounts = finished("a");
        accounts.offers().lost += 1;
        assert!(!accounts.settle(Ending::Drained, ["a"]).is_clean());
    }

    #[test]
    fn a_task_that_is_silent_for_long_is_overdue_until_its_end_is_told() {
        let mut accounts = launched(&["a"]);
        let now = Instant::now();
        assert_eq!(accounts.totals(now).overdue, 0);
        let later = now + OVERDUE * 2;
        assert_eq!(accounts.totals(later).overdue, 1);
        accounts.update(&status("a", TaskState::TaskFinished, "1"));
        assert_eq!(accounts.totals(later).overdue, 0);
    }

    #[test]
    fn a_launch_that_was_never_sent_is_no_promise() {
        let mut accounts = Accounts::default();
        accounts.launching("a", Instant::now());
        assert_eq!(accounts.n_open(), 1);
        accounts.never_sent("a");
        assert_eq!(accounts.n_open(), 0);
        accounts.launching("b", Instant::now());
        assert!(
            accounts.settle(Ending::Drained, []).is_clean(),
            "its call was never answered, and it never ran"
        );
    }
}
