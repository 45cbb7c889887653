//! The demonstration framework of `regency local`, by itself: at any cluster, for as long as you like.
//!
//! ```sh
//! cargo run -p regency -- local --no-demo          # in one terminal
//! cargo run -p regency-client --example demo -- 127.0.0.1:5050 127.0.0.1:5051 127.0.0.1:5052
//! ```
//!
//! It launches short tasks until Ctrl-C, and then says what became of all of them. Kill and start
//! masters meanwhile. Its tasks write to a file in the temporary directory, so the agents have to be
//! on this machine.

#![allow(clippy::print_stdout, reason = "a program that people run")]

#[allow(dead_code, reason = "`regency local` asks for more of it")]
mod accounts;
mod framework;

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::sync::watch;

use accounts::Ending;
use framework::{Demo, Told, books, read_ledger};

/// How often figures are told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// How long open tasks may take to end at the end.
const DRAIN: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let masters: Vec<String> = std::env::args().skip(1).collect();
    if masters.is_empty() {
        bail!("give the masters, as host:port");
    }
    let ledger = std::env::temp_dir().join(format!("regency-demo-{}", std::process::id()));
    let began = Instant::now();
    let demo = Demo::start(masters, ledger.clone(), move |told| {
        let at = began.elapsed().as_secs_f64();
        match told {
            Told::Subscribed { master, resumed } => {
                let again = if resumed { " again" } else { "" };
                println!("{at:8.3} subscribed{again} at {master}");
            }
            Told::Disconnected { reason } => println!("{at:8.3} lost the subscription: {reason}"),
            Told::Lost(lost) => {
                println!("{at:8.3} {} is {}: {}", lost.task, lost.state, lost.message);
            }
        }
    })?;
    let (accounts, mut sight) = (demo.accounts(), demo.sight());
    let (stop, stopped) = watch::channel(None);
    let mut running = tokio::spawn(demo.run(stopped));
    let mut progress = tokio::time::interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            ended = &mut running => return ended?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                break;
            }
            changed = sight.changed() => {
                changed?;
                let seen = *sight.borrow_and_update();
                if let (Some(subscribed), Some(offers)) = (seen.subscribed_at, seen.first_offers_at) {
                    println!("         first offers {} ms later", (offers - subscribed).as_millis());
                }
            }
            _ = progress.tick() => println!("         {}", books(&accounts).totals(Instant::now())),
        }
    }
    stop.send_replace(Some(DRAIN));
    running.await??;
    let ledger = read_ledger(&ledger)?;
    let settled = books(&accounts).settle(Ending::Drained, ledger.lines());
    println!("{settled}");
    if !settled.is_clean() {
        bail!("something was lost, or ran twice");
    }
    Ok(())
}
