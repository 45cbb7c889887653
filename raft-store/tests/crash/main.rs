//! Real processes that die at named points, or have a bit of their files flipped, and come back:
//! what was acknowledged is never lost, votes never go back, no term has two leaders, and all agree
//! in the end.
//!
//! ```sh
//! cargo test -p regency-raft-store --features failpoints --test crash
//! cargo test -p regency-raft-store --features failpoints --test crash -- points --restarts 1000
//! cargo test -p regency-raft-store --features failpoints --test crash -- restore --restarts 1000
//! cargo test -p regency-raft-store --features failpoints --test crash -- flips --restarts 200
//! ```
//!
//! Without arguments it does a little of everything. `--restarts` is shared by the kinds of
//! clusters; `--seed` repeats the choices, though not the moments, of a run.
#![allow(clippy::print_stdout, reason = "printing what happened is part of it")]
#![allow(unreachable_pub, reason = "a program of its own")]

mod flips;
mod masters;
mod member;
mod points;
mod restore;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use regency_testkit::Rng;

const RESTARTS_SHORT: usize = 40;
const RESTORES_SHORT: usize = 20;
const FLIPS_SHORT: usize = 12;
const ENGINES: [&str; 2] = ["sled", "segment"];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((word, rest)) = args.split_first()
        && word == "member"
    {
        return member::run(rest);
    }
    let mut only = None;
    let mut restarts = None;
    let mut seed = u64::from(std::process::id());
    let mut left = args.iter();
    while let Some(arg) = left.next() {
        let mut number = || -> anyhow::Result<u64> {
            let text = left
                .next()
                .with_context(|| format!("{arg} needs a number"))?;
            text.parse().with_context(|| format!("{arg} {text}"))
        };
        match arg.as_str() {
            "points" | "restore" | "flips" => only = Some(arg.as_str()),
            "--restarts" => restarts = Some(usize::try_from(number()?)?),
            "--seed" => seed = number()?,
            _ => bail!(
                "'{arg}' is unknown; there are points, restore, flips, --restarts N, --seed N"
            ),
        }
    }
    println!("seed {seed}");
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    if wanted("points") {
        points(seed, restarts.unwrap_or(RESTARTS_SHORT))?;
    }
    if wanted("restore") {
        restore(seed, restarts.unwrap_or(RESTORES_SHORT))?;
    }
    if wanted("flips") {
        flips(seed, restarts.unwrap_or(FLIPS_SHORT))?;
    }
    Ok(())
}

/// Two thirds with three masters, one third with a single one, on both engines.
fn points(seed: u64, restarts: usize) -> anyhow::Result<()> {
    let mut left = restarts;
    for (n, share) in [(3, restarts.div_ceil(3)), (1, restarts.div_ceil(6))] {
        for engine in ENGINES {
            let begun = Instant::now();
            let mut cluster = points::Points {
                engine,
                n,
                rng: Rng::new(seed),
                tally: points::Tally::default(),
            };
            cluster
                .run(share.min(left))
                .with_context(|| format!("{n} masters on {engine}, seed {seed}"))?;
            let tally = cluster.tally;
            left = left.saturating_sub(tally.restarts);
            println!(
                "points: masters {n}, {engine}: {} restarts, {} writes acknowledged, none lost; \
                 {} points not reached; {:.0} s",
                tally.restarts,
                tally.acknowledged,
                tally.not_reached,
                begun.elapsed().as_secs_f64(),
            );
            println!("  {}", list(&tally.at));
            let mut left_out = points::all(engine, n);
            left_out.retain(|point| !tally.at.contains_key(*point));
            // A short run cannot reach all.
            if restarts > RESTARTS_SHORT && !left_out.is_empty() {
                println!("  nobody died at: {}", Vec::from_iter(left_out).join(", "));
            }
        }
    }
    Ok(())
}

fn list(at: &BTreeMap<String, usize>) -> String {
    let parts: Vec<String> = at.iter().map(|(point, n)| format!("{point} {n}")).collect();
    parts.join(", ")
}

fn restore(seed: u64, restarts: usize) -> anyhow::Result<()> {
    let mut rng = Rng::new(seed);
    for engine in ENGINES {
        let begun = Instant::now();
        let mut tally = restore::run(engine, &mut rng, restarts.div_ceil(ENGINES.len()))
            .with_context(|| format!("leaders on {engine}, seed {seed}"))?;
        tally.restarts.sort();
        let at = |share: usize| -> Duration {
            let last = tally.restarts.len().saturating_sub(1);
            tally
                .restarts
                .get(last * share / 100)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "restore: {engine}: {} leaders died before their flush, {} writes acknowledged, none \
             lost; started again after {:.1} ms (median), {:.1} ms (99 %), {} later than 20 ms; \
             {:.0} s",
            tally.restarts.len(),
            tally.acknowledged,
            at(50).as_secs_f64() * 1e3,
            at(99).as_secs_f64() * 1e3,
            tally.late(),
            begun.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}

fn flips(seed: u64, flips: usize) -> anyhow::Result<()> {
    let mut rng = Rng::new(seed);
    for engine in ENGINES {
        let begun = Instant::now();
        let tally = flips::run(engine, &mut rng, flips.div_ceil(ENGINES.len()))
            .with_context(|| format!("flipped bits on {engine}, seed {seed}"))?;
        println!(
            "flips: {engine}: {} flipped bits, {} writes acknowledged, none lost; {} masters \
             replaced; {:.0} s",
            tally.flips,
            tally.acknowledged,
            tally.replaced,
            begun.elapsed().as_secs_f64(),
        );
        for ((target, outcome), n) in &tally.outcomes {
            println!("  {target:?}: {outcome:?} {n}");
        }
    }
    Ok(())
}
