//! Where events and figures come together, and the three ways to show them: a live view on a
//! terminal, lines of text, or JSON for scripts.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::watch;

use super::cluster::MemberInfo;
use super::event::Event;
use super::view::{Model, View};

/// How often figures are printed as a line; scripts get all of them, and the view shows the last.
const PROGRESS_INTERVAL_MS: u64 = 5_000;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Drawn again and again in the same place.
    Terminal,
    Lines,
    Json,
}

/// Shared by everything that has something to tell.
#[derive(Debug)]
pub(crate) struct Board {
    show: Show,
    started: Instant,
    model: Mutex<Model>,
    /// When figures are printed as a line again.
    progress_due_ms: AtomicU64,
    /// Whether nobody reads standard output any more.
    closed: watch::Sender<bool>,
}

/// The first line for scripts.
#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    pub(crate) masters: Vec<MemberInfo>,
    pub(crate) agents: Vec<MemberInfo>,
    pub(crate) dir: std::path::PathBuf,
}

/// An event with its time.
#[derive(Serialize)]
struct Stamped<'a> {
    /// Milliseconds since the cluster was ready.
    at_ms: u64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Board {
    pub(crate) fn new(show: Show, model: Model) -> Self {
        Self {
            show,
            started: Instant::now(),
            model: Mutex::new(model),
            progress_due_ms: AtomicU64::new(PROGRESS_INTERVAL_MS),
            closed: watch::Sender::new(false),
        }
    }

    /// Tells that the cluster is ready.
    pub(crate) fn ready(&self, ready: &Ready) {
        match self.show {
            Show::Json => self.print_json(ready),
            Show::Lines => {
                for master in &ready.masters {
                    self.print(&format!(
                        "master {} at http://{} (pid {})",
                        master.id,
                        master.http,
                        master.pid.unwrap_or_default()
                    ));
                }
                for agent in &ready.agents {
                    self.print(&format!(
                        "agent {} at http://{} (pid {})",
                        agent.id,
                        agent.http,
                        agent.pid.unwrap_or_default()
                    ));
                }
                self.print(&format!("data and logs in {}", ready.dir.display()));
            }
            Show::Terminal => {}
        }
    }

    /// Tells what happened.
    pub(crate) fn emit(&self, event: Event) {
        let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match self.show {
            Show::Json => self.print_json(&Stamped {
                at_ms,
                event: &event,
            }),
            Show::Lines => {
                let seconds = at_ms as f64 / 1000.0;
                match &event {
                    Event::Progress(_) if !self.is_due(at_ms) => {}
                    Event::Summary(_) => self.print(&event.to_string()),
                    _ => self.print(&format!("{seconds:8.3} {event}")),
                }
            }
            Show::Terminal => {
                if let Event::Summary(summary) = &event {
                    self.print(&summary.to_string());
                }
            }
        }
        self.model().note(at_ms, event);
    }

    /// Whether figures are to be printed as a line again.
    fn is_due(&self, at_ms: u64) -> bool {
        let next = at_ms + PROGRESS_INTERVAL_MS;
        let due = |due_ms: u64| (at_ms >= due_ms).then_some(next);
        self.progress_due_ms
            .fetch_update(SeqCst, SeqCst, due)
            .is_ok()
    }

    /// What is known, to be changed or drawn.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the live view, if that is how things are shown.
    pub(crate) fn draw(&self, view: &mut View) {
        if self.show == Show::Terminal {
            let frame = view.frame(&self.model(), self.started.elapsed());
            self.write(&frame);
        }
    }

    /// Waits until nobody reads standard output any more.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender is part of `self`, so that waiting cannot fail.
        let _closed = closed.wait_for(|closed| *closed).await;
    }

    fn print_json(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(line) => self.print(&line),
            Err(error) => tracing::error!(%error, "an event that is no JSON"),
        }
    }

    fn print(&self, line: &str) {
        self.write(&format!("{line}\n"));
    }

    fn write(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        if stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .is_err()
        {
            self.closed.send_replace(true);
        }
    }
}
