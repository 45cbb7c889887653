//! The thread that says what a watchdog sees, and may hang while it does.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::start::Standing;
use crate::metrics;
use crate::vitals::Ailment;

/// Things to say that may wait.
const SAYINGS_MAX: usize = 64;
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Something to say.
pub(super) enum Saying {
    Closed(Ailment),
    Opened,
    Figures {
        core: Duration,
        disk: Duration,
    },
    /// How far a start is.
    Starting(Standing),
    /// The same, for people.
    StillStarting(Standing),
    LastWords(String),
}

/// Says things until it is dropped.
pub(super) struct Speaker(SyncSender<Saying>);

impl Speaker {
    pub(super) fn start() -> std::io::Result<Self> {
        let (say, sayings) = sync_channel(SAYINGS_MAX);
        if regency_runtime::simulated() {
            // Nobody listens.
            return Ok(Self(say));
        }
        std::thread::Builder::new()
            .name("watchdog-log".to_owned())
            .spawn(move || speak(sayings))?;
        Ok(Self(say))
    }

    /// Never waits.
    pub(super) fn say(&self, saying: Saying) {
        // The other thread may hang: what it cannot say is lost.
        let _ = self.0.try_send(saying);
    }

    /// Ends the process.
    pub(super) fn abort(&self, why: String) -> ! {
        self.say(Saying::LastWords(why));
        // The other thread aborts when it has spoken.
        std::thread::sleep(LAST_WORDS);
        std::process::abort();
    }
}

fn speak(sayings: Receiver<Saying>) {
    let mut starting = false;
    for saying in sayings {
        match saying {
            Saying::Closed(ailment) => {
                metrics::gate_closed(ailment.name());
                tracing::error!(
                    reason = ailment.name(),
                    "this leader serves nobody until it is well again"
                );
            }
            Saying::Opened => tracing::info!("this leader serves again"),
            Saying::Figures { core, disk } => metrics::stalls(core, disk),
            Saying::Starting(at) => {
                starting = true;
                metrics::starting(at.step.name(), at.in_step, at.still);
            }
            Saying::StillStarting(at) => tracing::warn!(
                step = at.step.name(),
                seconds = at.in_step.as_secs(),
                done = at.done,
                seconds_without_progress = at.still.as_secs(),
                "this master is still starting: it {}",
                at.step.doing()
            ),
            Saying::LastWords(why) => {
                tracing::error!(why, "the watchdog aborts this master");
                // Also where logs go elsewhere: the supervisor keeps this.
                let _ = writeln!(
                    std::io::stderr(),
                    "the watchdog aborts this master: {why}; it has to be started again"
                );
                std::process::abort();
            }
        }
    }
    if starting {
        metrics::start_over();
    }
}
