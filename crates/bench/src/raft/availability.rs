//! How much of the time writes are acknowledged while the leader is killed again and again.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tokio::sync::mpsc;

use super::cluster::{Cluster, Policy};
use super::flags::Common;
use super::latency::ms;
use super::probe::{Ack, Probes};
use super::report;
use super::system::System;
use super::table;

/// How often each member is sent a write.
const WRITE_EVERY: Duration = Duration::from_millis(4);
/// A time between two acknowledgements that tells of a loaded machine rather than of a leader that is
/// missed. All of a longer one counts as time in which the system was not available.
const GAP_MIN: Duration = Duration::from_millis(20);

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    common: Common,

    /// How long each system is watched.
    #[arg(long = "for", default_value = "10m", value_parser = humantime::parse_duration)]
    span: Duration,

    /// How often the leader is killed with SIGKILL.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    kill_every: Duration,

    /// How long a killed member is down before it is started again.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    down: Duration,
}

/// What one system showed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    system: System,
    seconds: f64,
    kills: u32,
    /// Times without an acknowledgement that were longer than 20 ms, in ms; in order.
    gaps_ms: Vec<f64>,
}

impl Figure {
    /// The part of the time in which writes were acknowledged, from 0 to 1.
    fn availability(&self) -> f64 {
        1.0 - self.gaps_ms.iter().sum::<f64>() / 1000.0 / self.seconds
    }

    fn longest_ms(&self) -> f64 {
        self.gaps_ms.iter().copied().fold(0.0, f64::max)
    }
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(
        flags.down < flags.kill_every && flags.kill_every < flags.span,
        "--down must be shorter than --kill-every, and that shorter than --for"
    );
    let measure = async |system, _| Ok(vec![measure(flags, system).await?]);
    report::of_each(&flags.common, 1, measure, print).await
}

async fn measure(flags: &Flags, system: System) -> anyhow::Result<Figure> {
    let mut cluster = Cluster::start(system, Policy::default(), &flags.common.dir()).await?;
    cluster.whole().await?;
    let (_probes, mut acks) = Probes::start(&cluster, WRITE_EVERY);
    let first = acks.recv().await.context("nobody writes")?;
    let mut gaps = Gaps::since(first.acknowledged);
    let kills = {
        let mut killing = std::pin::pin!(kill_leaders(&mut cluster, flags));
        loop {
            tokio::select! {
                kills = &mut killing => break kills?,
                ack = acks.recv() => gaps.add(ack.context("nobody writes")?.acknowledged),
            }
        }
    };
    drain(&mut acks, &mut gaps);
    let end = Instant::now();
    gaps.add(end);
    Ok(Figure {
        system,
        seconds: end.duration_since(first.acknowledged).as_secs_f64(),
        kills,
        gaps_ms: gaps.ms,
    })
}

/// What has arrived already.
fn drain(acks: &mut mpsc::UnboundedReceiver<Ack>, gaps: &mut Gaps) {
    while let Ok(ack) = acks.try_recv() {
        gaps.add(ack.acknowledged);
    }
}

/// Kills whoever leads, again and again, and returns how often, when the time is over.
async fn kill_leaders(cluster: &mut Cluster, flags: &Flags) -> anyhow::Result<u32> {
    let begun = tokio::time::Instant::now();
    let mut kills = 0;
    loop {
        let next = flags.kill_every * (kills + 1);
        tokio::time::sleep_until(begun + next.min(flags.span)).await;
        if next >= flags.span {
            return Ok(kills);
        }
        let leader = cluster.whole().await?;
        cluster.kill_now(leader)?;
        kills += 1;
        table::progress(format_args!("{}: kill {kills}", cluster.system));
        tokio::time::sleep(flags.down).await;
        cluster.kill(leader).await?;
        cluster.restart(leader)?;
    }
}

/// The times between acknowledgements that are too long.
struct Gaps {
    last: Instant,
    ms: Vec<f64>,
}

impl Gaps {
    fn since(first: Instant) -> Self {
        Self {
            last: first,
            ms: Vec::new(),
        }
    }

    /// Those of several writers may come a little out of order.
    fn add(&mut self, acknowledged: Instant) {
        let gap = acknowledged.saturating_duration_since(self.last);
        if gap > GAP_MIN {
            self.ms.push(gap.as_secs_f64() * 1000.0);
        }
        self.last = self.last.max(acknowledged);
    }
}

fn print(figures: &[Figure]) {
    let mut table = table::new(&[
        "system",
        "s",
        "kills",
        "gaps",
        "longest ms",
        "not available s",
        "available %",
    ]);
    for figure in figures {
        table.add_row([
            figure.system.to_string(),
            format!("{:.0}", figure.seconds),
            figure.kills.to_string(),
            figure.gaps_ms.len().to_string(),
            ms(figure.longest_ms()),
            format!("{:.2}", figure.gaps_ms.iter().sum::<f64>() / 1000.0),
            format!("{:.3}", figure.availability() * 100.0),
        ]);
    }
    println!("{table}");
    println!(
        "gaps: times between two acknowledgements above {} ms, from whichever member",
        GAP_MIN.as_millis()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_gap_counts_and_what_comes_late_ends_none_twice() {
        let first = Instant::now();
        let at = |ms| first + Duration::from_millis(ms);
        let mut gaps = Gaps::since(first);
        for ms in [10, 30, 230, 228, 240] {
            gaps.add(at(ms));
        }
        assert_eq!(gaps.ms, [200.0]);
        let figure = Figure {
            system: System::Sled,
            seconds: 10.0,
            kills: 1,
            gaps_ms: gaps.ms,
        };
        assert!((figure.availability() - 0.98).abs() < 1e-9);
        assert_eq!(figure.longest_ms(), 200.0);
    }
}
