//! How long writes are not acknowledged when the leader dies, freezes, or hands over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tokio::sync::mpsc;

use super::cluster::{Cluster, MEMBERS, Policy};
use super::flags::Common;
use super::host::Host;
use super::latency::{Latencies, Latency, ms};
use super::probe::{Ack, Probes};
use super::system::System;
use super::table;

/// How long one trial may take before the run fails.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Acknowledgements in a row that show that writes flow.
const STEADY: u32 = 20;
/// How often each member is sent a write while a leader is taken away.
const WRITE_EVERY: Duration = Duration::from_millis(4);
/// The same while leadership is handed over, which is faster.
const WRITE_EVERY_AT_HAND_OVER: Duration = Duration::from_millis(1);

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) common: Common,

    /// How often a leader is taken away, in each of the ways.
    #[arg(long, default_value_t = 20)]
    pub(crate) trials: u32,
}

/// What is done to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// kill -9.
    Kill,
    /// SIGSTOP: its sockets stay open and nobody answers.
    Freeze,
    /// It is asked to hand over; our own systems only.
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
}

/// All trials of one way with one system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) system: System,
    pub(crate) way: Way,
    /// After a kill or a freeze: until the first acknowledgement of a write that was sent after it.
    /// At a hand-over: the longest time between two acknowledgements.
    pub(crate) gap: Latency,
    /// Writes at hand-overs of which nobody knows whether they were carried out. Those that were
    /// refused because the member did not lead are not counted: they are safe to send again.
    pub(crate) unknown: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    host: Host,
    figures: Vec<Figure>,
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(flags.trials > 0, "--trials must be at least 1");
    let dir = flags.common.dir();
    let host = Host::measure(&dir)?;
    if !flags.common.json {
        host.print();
    }
    let mut figures = Vec::new();
    for system in flags.common.systems() {
        figures.extend(measure(flags, system).await?);
    }
    if flags.common.json {
        return table::json(&Report { host, figures });
    }
    print(&figures);
    Ok(())
}

/// All trials of one system, on one cluster.
pub(crate) async fn measure(flags: &Flags, system: System) -> anyhow::Result<Vec<Figure>> {
    let mut cluster = Cluster::start(system, Policy::default(), &flags.common.dir()).await?;
    cluster.make_keys().await?;
    let mut ways = vec![Way::Kill, Way::Freeze];
    if system.is_ours() {
        ways.push(Way::HandOver);
    }
    let mut figures = Vec::new();
    for way in ways {
        let mut gaps = Latencies::new();
        let mut unknown = 0;
        for trial in 1..=flags.trials {
            let (gap, failed) = tokio::time::timeout(TRIAL_TIMEOUT, once(&mut cluster, way))
                .await
                .with_context(|| format!("{system}, {}: trial {trial} hangs", way.name()))??;
            table::progress(format_args!(
                "{system}: {} {trial}: {} ms",
                way.name(),
                ms(gap.as_secs_f64() * 1000.0)
            ));
            gaps.record(gap);
            unknown += failed;
        }
        figures.push(Figure {
            system,
            way,
            gap: gaps.summary(),
            unknown,
        });
    }
    Ok(figures)
}

async fn once(cluster: &mut Cluster, way: Way) -> anyhow::Result<(Duration, u64)> {
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
            (gap, 0)
        }
        Way::Freeze => {
            cluster.freeze(leader)?;
            let gap = first_after(&mut acks, leader, Instant::now()).await;
            // Whatever was found: it must run again, or nobody could end it politely.
            cluster.thaw(leader)?;
            drop(probes);
            (gap?, 0)
        }
        Way::HandOver => {
            let to = (leader + 1) % MEMBERS;
            let client = cluster.connect_ours(leader).await?;
            let begun = Instant::now();
            client.transfer(to as u64 + 1).await?;
            let gap = longest_gap(&mut acks, to, begun).await?;
            (gap, probes.unknown())
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
/// acknowledges steadily.
async fn longest_gap(
    acks: &mut mpsc::UnboundedReceiver<Ack>,
    new_leader: usize,
    begun: Instant,
) -> anyhow::Result<Duration> {
    let mut times = BTreeSet::new();
    let mut by_new_leader = 0;
    while by_new_leader < STEADY {
        let ack = acks.recv().await.context("nobody writes")?;
        times.insert(ack.acknowledged);
        if ack.member == new_leader {
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
        "leader", "system", "trials", "p50 ms", "p90 ms", "p99 ms", "max ms", "unknown",
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
            figure.unknown.to_string(),
        ]);
    }
    println!("{table}");
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
