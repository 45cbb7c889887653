//! What happens in the cluster, as told to people and to scripts.

use std::fmt;

use serde::Serialize;

use super::accounts::{Settled, Totals};
use super::cluster::{Death, Kind};
use super::demo::Told;
use super::failover::Failover;

/// One event. As JSON it is an object with the variant's name under `event` and its fields beside.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// Another master leads, or the same in a later term.
    Leader { id: u64, term: u64, http: String },
    /// A process was killed by us.
    Killed { kind: Kind, id: u16, pid: i32 },
    /// A process ended by itself, or somebody else killed it.
    Died(Death),
    /// A process was started again.
    Started { kind: Kind, id: u16, pid: i32 },
    /// A restarted master follows, and has applied what was committed when it came back.
    Rejoined { id: u16, after_ms: u64 },
    /// A failover is over, as far as it was measured.
    Failover(Failover),
    /// The demonstration framework is subscribed.
    Subscribed { master: String, resumed: bool },
    /// It lost its subscription.
    Disconnected { reason: String },
    /// A task of it ended in another way than it should.
    TaskLost {
        task: String,
        state: String,
        message: String,
    },
    /// How it goes; once a second.
    Progress(Totals),
    /// How it went; the last event.
    Summary(Summary),
}

/// How a run went.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    /// Whether nothing was lost, ran twice, or crashed.
    pub(crate) ok: bool,
    pub(crate) seconds: u64,
    pub(crate) failovers: Vec<Failover>,
    /// Processes that ended by themselves.
    pub(crate) crashes: u64,
    /// What the demonstration framework has to say; absent without it.
    pub(crate) demo: Option<Settled>,
}

impl Event {
    /// What the demonstration framework tells.
    pub(crate) fn of_demo(told: Told) -> Self {
        match told {
            Told::Subscribed { master, resumed } => Self::Subscribed { master, resumed },
            Told::Disconnected { reason } => Self::Disconnected { reason },
            Told::Lost(lost) => Self::TaskLost {
                task: lost.task,
                state: lost.state,
                message: lost.message,
            },
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader { id, term, http } => {
                write!(f, "master {id} at http://{http} leads term {term}")
            }
            Self::Killed { kind, id, pid } => {
                write!(f, "killed {} {id} (kill -9 {pid})", kind.name())
            }
            Self::Died(death) => {
                write!(
                    f,
                    "{} {} ended: {}",
                    death.kind.name(),
                    death.id,
                    death.status
                )?;
                if death.killed {
                    return Ok(());
                }
                write!(f, "; see {}", death.log.display())?;
                death
                    .last_lines
                    .lines()
                    .try_for_each(|line| write!(f, "\n    {line}"))
            }
            Self::Started { kind, id, pid } => {
                write!(f, "started {} {id} again (pid {pid})", kind.name())
            }
            Self::Rejoined { id, after_ms } => {
                write!(
                    f,
                    "master {id} has caught up, {after_ms} ms after its start"
                )
            }
            Self::Failover(failover) => failover.fmt(f),
            Self::Subscribed {
                master,
                resumed: false,
            } => {
                write!(f, "framework subscribed at {master}")
            }
            Self::Subscribed {
                master,
                resumed: true,
            } => {
                write!(f, "framework subscribed again at {master}")
            }
            Self::Disconnected { reason } => {
                write!(f, "framework lost its subscription: {reason}")
            }
            Self::TaskLost {
                task,
                state,
                message,
            } => {
                write!(f, "task {task} ended as {state}: {message}")
            }
            Self::Progress(totals) => totals.fmt(f),
            Self::Summary(summary) => summary.fmt(f),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_failovers = self.failovers.len();
        write!(f, "\nran {} s with {n_failovers} failovers", self.seconds)?;
        if !self.failovers.is_empty() {
            write!(f, "\n\n{}", Failover::HEADER)?;
            for (i, failover) in self.failovers.iter().enumerate() {
                write!(f, "\n{}", failover.row(i + 1))?;
            }
        }
        if let Some(demo) = &self.demo {
            write!(f, "\n\n{demo}")?;
        }
        if self.crashes > 0 {
            write!(f, "\n{} processes crashed", self.crashes)?;
        }
        f.write_str(if self.ok {
            "\nnothing was lost"
        } else {
            "\nFAILED"
        })
    }
}
