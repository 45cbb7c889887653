//! Takes the leader away again and again, and measures how soon another one serves: its first
//! committed entry is what makes it serve. After a kill also with a framework's eyes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use regency_client::{Event, Events, Framework};

use crate::cluster::Cluster;
use crate::figures;

/// How long one failover may take before the run fails.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    /// How many failovers.
    #[arg(long, default_value_t = 20)]
    trials: u32,

    /// How the leader is taken away: `kill` is kill -9, `freeze` is SIGSTOP, `hand-over` asks it to.
    #[arg(long, value_enum, default_value_t = How::Kill)]
    how: How,

    /// How many masters: 3 or 5.
    #[arg(long, default_value_t = 3)]
    masters: u16,

    /// How many agents.
    #[arg(long, default_value_t = 2)]
    agents: u16,

    /// The program to measure; by default the one built beside this one.
    #[arg(long, value_name = "FILE")]
    regency: Option<PathBuf>,

    /// A flag for every master, such as --master-flag=--heartbeat-interval=25ms.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    master_flag: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum How {
    Kill,
    Freeze,
    HandOver,
}

pub(crate) async fn run(flags: Flags) -> anyhow::Result<()> {
    let binary = match &flags.regency {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("regency"),
    };
    let mut args = vec![
        format!("--masters={}", flags.masters),
        format!("--agents={}", flags.agents),
    ];
    args.extend(
        flags
            .master_flag
            .iter()
            .map(|flag| format!("--master-flag={flag}")),
    );
    let cluster = Cluster::start(&binary, &args).await?;
    let result = match flags.how {
        How::Kill => measure(&cluster, &flags).await,
        How::Freeze | How::HandOver => measure_others(&cluster, &flags).await,
    };
    cluster.stop().await?;
    result
}

async fn measure(cluster: &Cluster, flags: &Flags) -> anyhow::Result<()> {
    let (framework, mut events) = Framework::builder("failover-bench")
        .masters(cluster.masters.iter().map(|master| master.http.clone()))
        .role("bench")
        .failover_timeout(Duration::from_secs(600))
        .connect()?;
    until_offers(&mut events)
        .await
        .context("no offers before the first failover")?;
    let (mut serves, mut writes, mut offers) = (Vec::new(), Vec::new(), Vec::new());
    for trial in 1..=flags.trials {
        let (leader, term) = cluster.whole().await?;
        let killed = Instant::now();
        cluster.signal(leader, Signal::SIGKILL)?;
        // A subscription is a committed write, and the outstanding offers come with it.
        let served = tokio::time::timeout(TRIAL_TIMEOUT, served(&mut events));
        let (successor, served) = tokio::join!(cluster.successor(leader, term), served);
        let (write, offer) =
            served.with_context(|| format!("not served again after kill {trial}"))??;
        serves.push(successor?.duration_since(killed));
        writes.push(write.duration_since(killed));
        offers.push(offer.duration_since(killed));
        println!(
            "kill {trial:>3} of master {leader}: serves {:>7.1} ms, acknowledged write {:>7.1} ms, \
             offers {:>7.1} ms",
            serves[serves.len() - 1].as_secs_f64() * 1000.0,
            writes[writes.len() - 1].as_secs_f64() * 1000.0,
            offers[offers.len() - 1].as_secs_f64() * 1000.0,
        );
    }
    println!();
    figures::print("kill -9 to another leader serving", &mut serves);
    figures::print("kill -9 to acknowledged write", &mut writes);
    figures::print("kill -9 to first OFFERS", &mut offers);
    framework.teardown().await?;
    Ok(())
}

async fn measure_others(cluster: &Cluster, flags: &Flags) -> anyhow::Result<()> {
    let mut serves = Vec::new();
    for trial in 1..=flags.trials {
        let (leader, term) = cluster.whole().await?;
        let serving = if flags.how == How::Freeze {
            let begun = Instant::now();
            cluster.signal(leader, Signal::SIGSTOP)?;
            let successor = cluster.successor(leader, term).await;
            cluster.signal(leader, Signal::SIGCONT)?;
            successor?.duration_since(begun)
        } else {
            let (begun, successor) =
                tokio::join!(cluster.hand_over(leader), cluster.successor(leader, term));
            successor?.duration_since(begun?)
        };
        println!(
            "trial {trial:>3} of master {leader}: serves {:>7.1} ms",
            serving.as_secs_f64() * 1000.0
        );
        serves.push(serving);
    }
    println!();
    let name = match flags.how {
        How::Freeze => "SIGSTOP to another leader serving",
        _ => "hand-over to another leader serving",
    };
    figures::print(name, &mut serves);
    Ok(())
}

async fn until_offers(events: &mut Events) -> anyhow::Result<()> {
    tokio::time::timeout(TRIAL_TIMEOUT, async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::Offers(_)) {
                return Ok(());
            }
        }
        bail!("the subscription ended")
    })
    .await?
}

/// When the framework was subscribed again, and when it saw offers after that.
async fn served(events: &mut Events) -> anyhow::Result<(Instant, Instant)> {
    let mut subscribed = None;
    while let Some(event) = events.next().await {
        match (event, subscribed) {
            (Event::Subscribed { .. }, _) => subscribed = Some(Instant::now()),
            (Event::Offers(_), Some(subscribed)) => return Ok((subscribed, Instant::now())),
            _ => {}
        }
    }
    bail!("the subscription ended")
}
