//! Named tasks that live and die together.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;

use tokio::task::{Id, JoinError, JoinSet};

/// Tasks owned by one value: dropping it stops them all at their next await.
///
/// A component that runs for a while (a term of leadership, a server) holds one of these, waits
/// on [`Self::next_ended`], and decides there whether the end of one task ends the component.
#[derive(Debug, Default)]
pub struct TaskSet {
    tasks: JoinSet<Result<(), String>>,
    names: HashMap<Id, &'static str>,
}

/// One task that is over.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The name it was spawned under.
    pub name: &'static str,
    /// How it ended.
    pub why: Why,
}

/// How a task ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// It returned without an error.
    Done,
    /// It returned this error.
    Failed(String),
    /// It panicked with this message.
    Panicked(String),
    /// It was stopped from outside.
    Aborted,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Done => write!(f, "task {} returned", self.name),
            Why::Failed(error) => write!(f, "task {} failed: {error}", self.name),
            Why::Panicked(message) => write!(f, "task {} panicked: {message}", self.name),
            Why::Aborted => write!(f, "task {} was stopped", self.name),
        }
    }
}

impl TaskSet {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task on the current runtime.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    pub fn spawn<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let handle = self
            .tasks
            .spawn(async move { task.await.map_err(|error| error.to_string()) });
        self.names.insert(handle.id(), name);
    }

    /// Starts a task that cannot fail on the current runtime.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    pub fn spawn_endless<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.tasks.spawn(async move {
            task.await;
            Ok(())
        });
        self.names.insert(handle.id(), name);
    }

    /// Waits for the next task that ends; `None` when none is left.
    pub async fn next_ended(&mut self) -> Option<Ended> {
        let (id, why) = match self.tasks.join_next_with_id().await? {
            Ok((id, Ok(()))) => (id, Why::Done),
            Ok((id, Err(error))) => (id, Why::Failed(error)),
            Err(error) => (error.id(), unfinished(error)),
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        Some(Ended { name, why })
    }

    /// Number of tasks that have not been reported as ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether every task was reported as ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Stops all tasks and waits until they are gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

fn unfinished(error: JoinError) -> Why {
    match error.try_into_panic() {
        Ok(payload) => Why::Panicked(panic_message(payload.as_ref())),
        Err(_) => Why::Aborted,
    }
}

/// The message of a caught panic, for logs.
#[must_use]
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_task_reports_its_name_and_why_it_ended() {
        let mut tasks = TaskSet::new();
        tasks.spawn("good", async { Ok::<(), String>(()) });
        tasks.spawn("bad", async { Err("no disk") });
        tasks.spawn_endless("ugly", async { panic!("broken {}", 1) });
        let mut ended = Vec::new();
        while let Some(end) = tasks.next_ended().await {
            ended.push(end);
        }
        ended.sort_by_key(|end| end.name);
        assert_eq!(
            ended,
            [
                Ended {
                    name: "bad",
                    why: Why::Failed("no disk".into())
                },
                Ended {
                    name: "good",
                    why: Why::Done
                },
                Ended {
                    name: "ugly",
                    why: Why::Panicked("broken 1".into())
                },
            ]
        );
        assert!(tasks.is_empty());
    }

    #[tokio::test]
    async fn dropping_the_set_stops_its_tasks() {
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let mut tasks = TaskSet::new();
        tasks.spawn_endless("waits", async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        assert_eq!(tasks.len(), 1);
        drop(tasks);
        // The sender lives inside the task: it is dropped only because the task is.
        assert_eq!(gone.recv().await, None);
    }
}
