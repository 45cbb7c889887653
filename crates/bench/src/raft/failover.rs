//! How long writes are not acknowledged when the leader dies, freezes, or hands over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tokio::sync::mpsc;

use super::cluster::{Cluster, MEMBERS, Policy};
use super::flags::Common;
use super::latency::{Latencies, Latency, ms};
use super::probe::{Ack, Probes};
use super::report;
use super::requests::{Counts, Requests};
use super::system::{Kind, System};
use super::table;

/// How long one trial may take before the run fails.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Acknowledgements in a row that show that writes flow.
const STEADY: u32 = 20;
/// How often each member is sent a write while a leader is taken away.
const WRITE_EVERY: Duration = Duration::from_millis(4);
/// The same while leadership is handed over, which is faster. As often a client sends a request.
const WRITE_EVERY_AT_HAND_OVER: Duration = Duration::from_millis(1);
/// A hand-over takes a moment, so there are as many times more of them: the p99 is not the worst of few.
const HAND_OVERS: u32 = 5;
/// Fewest trials of a way, however long they take.
const TRIALS_MIN: u32 = 5;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) common: Common,

    /// How often a leader is killed, and frozen; it hands over five times as often.
    #[arg(long, default_value_t = 20)]
    pub(crate) trials: u32,

    /// The ways.
    #[arg(long, value_delimiter = ',', default_value = "kill,freeze,hand-over")]
    pub(crate) ways: Vec<Way>,

    /// No further trials of one way with one system once they took this long, but at least 5; the
    /// number of trials is among the figures.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) limit: Option<Duration>,
}

/// What is done to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// kill -9.
    Kill,
    /// SIGSTOP: its sockets stay open and nobody answers.
    Freeze,
    /// It is asked to hand over, which ZooKeeper cannot do.
    HandOver,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Freeze => "SIGSTOP",
            Self::HandOver => "hand-over",
        }
    }

    fn trials(self, trials: u32) -> u32 {
        match self {
            Self::Kill | Self::Freeze => trials,
            Self::HandOver => trials.saturating_mul(HAND_OVERS),
        }
    }
}

/// All trials of one way with one system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) system: System,
    pub(crate) way: Way,
    /// After a kill or a freeze: until the first acknowledgement of a write that was sent after it.
    /// At a hand-over: the longest time between two acknowledgements.
    pub(crate) gap: Latency,
    /// At hand-overs: writes of which nobody knows whether they were carried out. Those that were
    /// refused because the member did not lead are not counted: they are safe to send again.
    pub(crate) unknown: u64,
    /// At hand-overs: requests of a client that tries a failed one once more.
    pub(crate) requests: Counts,
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(flags.trials > 0, "--trials must be at least 1");
    let measure = async |system, _| {
        let mut figures = Vec::new();
        measure(flags, system, &mut figures).await?;
        Ok(figures)
    };
    report::of_each(&flags.common, 1, measure, print).await
}

/// All trials of one system, on one cluster; the figures of each way are there as soon as it is
/// done.
pub(crate) async fn measure(
    flags: &Flags,
    system: System,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(system, Policy::default(), &flags.common.dir()).await?;
    for &way in &flags.ways {
        if way == Way::HandOver && system.kind() == Kind::ZooKeeper {
            continue;
        }
        let begun = Instant::now();
        let mut gaps = Latencies::new();
        let mut unknown = 0;
        let mut requests = Counts::default();
        for trial in 1..=way.trials(flags.trials) {
            if trial > TRIALS_MIN && flags.limit.is_some_and(|limit| begun.elapsed() >= limit) {
                break;
            }
            let one = tokio::time::timeout(TRIAL_TIMEOUT, once(&mut cluster, way))
                .await
                .with_context(|| format!("{system}, {}: trial {trial} hangs", way.name()))??;
            table::progress(format_args!(
                "{system}: {} {trial}: {} ms",
                way.name(),
                ms(one.gap.as_secs_f64() * 1000.0)
            ));
            gaps.record(one.gap);
            unknown += one.unknown;
            requests += one.requests;
        }
        figures.push(Figure {
            system,
            way,
            gap: gaps.summary(),
            unknown,
            requests,
        });
    }
    Ok(())
}

/// What one trial showed.
struct Trial {
    gap: Duration,
    unknown: u64,
    requests: Counts,
}

impl Trial {
    fn of(gap: Duration) -> Self {
        Self {
            gap,
            unknown: 0,
            requests: Counts::default(),
        }
    }
}

async fn once(cluster: &mut Cluster, way: Way) -> anyhow::Result<Trial> {
    let leader = cluster.whole().await?;
    let every = match way {
        Way::HandOver => WRITE_EVERY_AT_HAND_OVER,
        Way::Kill | Way::Freeze => WRITE_EVERY,
    };
    let (probes, mut acks) = Probes::start(cluster, every);
    steady(&mut acks).await?;
    let result = match way {
        Way::Kill => {
            cluster.kill_now(leader)?;
            let gap = first_after(&mut acks, leader, Instant::now()).await?;
            drop(probes);
            cluster.kill(leader).await?;
            cluster.restart(leader)?;
            Trial::of(gap)
        }
        Way::Freeze => {
            cluster.freeze(leader)?;
            let gap = first_after(&mut acks, leader, Instant::now()).await;
            // Whatever was found: it must run again, or nobody could end it politely.
            cluster.thaw(leader)?;
            drop(probes);
            Trial::of(gap?)
        }
        Way::HandOver => {
            let to = (leader + 1) % MEMBERS;
            let requests = Requests::start(cluster, leader, every).await?;
            let begun = Instant::now();
            cluster.hand_over(leader, to).await?;
            let gap = longest_gap(&mut acks, to, begun, Instant::now()).await?;
            Trial {
                gap,
                unknown: probes.unknown(),
                requests: requests.finish().await?,
            }
        }
    };
    cluster.whole().await?;
    Ok(result)
}

/// Waits until writes are acknowledged in a row.
async fn steady(acks: &mut mpsc::UnboundedReceiver<Ack>) -> anyhow::Result<()> {
    for _ in 0..STEADY {
        acks.recv().await.context("nobody writes")?;
    }
    Ok(())
}

/// From `begun` to the first acknowledgement, by another member than the victim, of a write that
/// was sent after `begun`.
async fn first_after(
    acks: &mut mpsc::UnboundedReceiver<Ack>,
    victim: usize,
    begun: Instant,
) -> anyhow::Result<Duration> {
    loop {
        let ack = acks.recv().await.context("nobody writes")?;
        if ack.member != victim && ack.sent >= begun {
            return Ok(ack.acknowledged - begun);
        }
    }
}

/// The longest time between two acknowledgements from just before `begun` until the new leader
/// acknowledges steadily what was sent to it after `done`. Before, it may have passed writes on.
async fn longest_gap(
    acks: &mut mpsc::UnboundedReceiver<Ack>,
    new_leader: usize,
    begun: Instant,
    done: Instant,
) -> anyhow::Result<Duration> {
    let mut times = BTreeSet::new();
    let mut by_new_leader = 0;
    while by_new_leader < STEADY {
        let ack = acks.recv().await.context("nobody writes")?;
        times.insert(ack.acknowledged);
        if ack.member == new_leader && ack.sent >= done {
            by_new_leader += 1;
        }
    }
    let times: Vec<Instant> = times.into_iter().collect();
    Ok(longest_between(&times, begun))
}

/// The longest distance between two neighbours of which the later is after `from`.
fn longest_between(times: &[Instant], from: Instant) -> Duration {
    times
        .windows(2)
        .filter(|pair| pair[1] >= from)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap_or_default()
}

pub(crate) fn print(figures: &[Figure]) {
    let mut table = table::new(&[
        "leader", "system", "trials", "p50 ms", "p90 ms", "p99 ms", "max ms", "failed",
    ]);
    let mut sorted: Vec<&Figure> = figures.iter().collect();
    sorted.sort_by_key(|figure| figure.way);
    for figure in sorted {
        table.add_row([
            figure.way.name().to_owned(),
            figure.system.to_string(),
            figure.gap.n.to_string(),
            ms(figure.gap.p50_ms),
            ms(figure.gap.p90_ms),
            ms(figure.gap.p99_ms),
            ms(figure.gap.max_ms),
            match figure.way {
                Way::HandOver => {
                    let Counts {
                        sent,
                        retried,
                        failed,
                        ..
                    } = &figure.requests;
                    format!("{failed}/{retried}/{sent}")
                }
                Way::Kill | Way::Freeze => String::new(),
            },
        ]);
    }
    println!("{table}");
    println!("failed: requests that failed twice / that were tried again / of all sent");
    for figure in figures {
        if let Some(failure) = &figure.requests.first_failure {
            println!("{}: first failure: {failure}", figure.system);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_ended_before_does_not_count() {
        let origin = Instant::now();
        let at = |ms| origin + Duration::from_millis(ms);
        let times = [at(0), at(50), at(52), at(60), at(61)];
        assert_eq!(longest_between(&times, at(51)), Duration::from_millis(8));
        assert_eq!(longest_between(&times, at(50)), Duration::from_millis(50));
        assert_eq!(longest_between(&times[..1], at(0)), Duration::ZERO);
    }
}
