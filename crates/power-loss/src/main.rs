//! Power cuts, tried on the log engines of the master.
//!
//! `cargo run -p regency-power-loss -- --rounds 100`
//!
//! In each round a process writes a log through the real engine and tells over a pipe what it was
//! promised. At a random moment the power fails, or the process is killed; what a next process finds
//! must be what was promised, and of what was being done at most a beginning. Two models say what a
//! power cut leaves: [`loop_image`] and [`strict`].
//!
//! Needs root, `/dev/fuse`, loop devices, `mkfs.ext4` and `mount`.
#![allow(clippy::print_stdout, reason = "printing figures is what it is for")]

mod driver;
mod expect;
mod loop_image;
mod no_sync;
mod report;
mod round;
mod script;
mod storage;
mod strict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use regency_raft_store::EngineKind;

use crate::loop_image::LoopImage;
use crate::round::{Failure, Round};
use crate::storage::Storage;
use crate::strict::{Ignored, StrictDisk};

/// Cuts the power under the log engines, again and again.
#[derive(Debug, Parser)]
#[command(name = "power-loss")]
struct Program {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The process that writes; started by the program itself.
    #[command(hide = true)]
    Drive(driver::Orders),
}

#[derive(Debug, Clone, clap::Args)]
struct Flags {
    /// Rounds for each engine and model.
    #[arg(long, default_value_t = 100)]
    rounds: u64,

    /// Number of the first round; with the same seed the same round is tried again.
    #[arg(long, default_value_t = 0, value_name = "N")]
    from: u64,

    /// Where chance begins. Drawn and printed when it is not given.
    #[arg(long)]
    seed: Option<u64>,

    /// Try only this engine: sled or segment.
    #[arg(long)]
    engine: Option<EngineKind>,

    /// Try only this model.
    #[arg(long)]
    model: Option<ModelKind>,

    /// In the strict model, let parts of this many bytes of one write survive or be lost on their own.
    #[arg(long, value_name = "BYTES", value_parser = sector)]
    tear: Option<usize>,

    /// Make these syncs do nothing, to see that it is noticed.
    #[arg(long, value_name = "WHICH")]
    without: Option<Without>,

    /// Keep the logs of rounds that fail in this directory.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModelKind {
    /// ext4 in an image: what the file system gave to its device.
    Loop,
    /// A FUSE file system in memory: what was synced, and of the rest each change with p = 0.5.
    Fuse,
}

/// Syncs that do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Without {
    /// Those of files. In the model `loop`, all of them.
    FileSync,
    /// Those of directories. Only in the model `fuse`.
    DirSync,
}

fn sector(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ (512 | 4096)) => Ok(bytes),
        _ => Err("it must be 512 or 4096".to_owned()),
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let program = Program::parse();
    match program.command {
        Some(Command::Drive(orders)) => {
            driver::run(&orders)?;
            Ok(ExitCode::SUCCESS)
        }
        None => try_all(&program.flags),
    }
}

fn try_all(flags: &Flags) -> anyhow::Result<ExitCode> {
    let models = flags
        .model
        .map_or(vec![ModelKind::Loop, ModelKind::Fuse], |model| vec![model]);
    let engines = flags
        .engine
        .map_or(vec![EngineKind::Sled, EngineKind::Segment], |kind| {
            vec![kind]
        });
    ensure!(
        flags.without != Some(Without::DirSync) || models == [ModelKind::Fuse],
        "--without dir-sync needs --model fuse"
    );
    for model in &models {
        can_run(*model)?;
    }
    let seed = flags.seed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("seed {seed}");
    let mut failed = 0;
    for model in models {
        for engine in &engines {
            failed += try_one(flags, seed, *engine, model)?;
        }
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says what is missing, all of it.
fn can_run(model: ModelKind) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("root".to_owned());
    }
    let devices: &[&str] = match model {
        ModelKind::Loop => &["/dev/loop-control"],
        ModelKind::Fuse => &["/dev/fuse"],
    };
    let programs: &[&str] = match model {
        ModelKind::Loop => &["mkfs.ext4", "mount", "umount"],
        ModelKind::Fuse => &[],
    };
    missing.extend(
        devices
            .iter()
            .filter(|device| !Path::new(device).exists())
            .map(|device| (*device).to_owned()),
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    missing.extend(
        programs
            .iter()
            .filter(|program| !std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
            .map(|program| format!("the program {program}")),
    );
    if !missing.is_empty() {
        bail!(
            "the model {model:?} cannot run here; missing: {}",
            missing.join(", ")
        );
    }
    Ok(())
}

/// All rounds of one engine and model; how many failed.
fn try_one(flags: &Flags, seed: u64, engine: EngineKind, model: ModelKind) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let (mut cuts, mut promises) = (0, 0);
    let (mut lost, mut refused, mut died) = (0, 0, 0);
    for number in flags.from..flags.from + flags.rounds {
        let seed_of_round = seed.wrapping_mul(1_000_003).wrapping_add(number);
        let mut storage: Box<dyn Storage> = match model {
            ModelKind::Loop => Box::new(LoopImage::new()?),
            ModelKind::Fuse => {
                let ignored = Ignored {
                    file_syncs: flags.without == Some(Without::FileSync),
                    dir_syncs: flags.without == Some(Without::DirSync),
                };
                Box::new(StrictDisk::new(seed_of_round, flags.tear, ignored)?)
            }
        };
        let round = Round {
            engine,
            seed: seed_of_round,
            after_max: match model {
                ModelKind::Loop => 900,
                ModelKind::Fuse => 4000,
            },
            without_sync: model == ModelKind::Loop && flags.without.is_some(),
        };
        let found = round
            .run(storage.as_mut())
            .with_context(|| format!("round {number} of {engine} in the model {model:?}"))?;
        cuts += found.cuts;
        promises += found.promises;
        let Some((life, failure)) = found.failure else {
            continue;
        };
        match failure {
            Failure::Lost(_) => lost += 1,
            Failure::Refused(_) => refused += 1,
            Failure::Died(_) => died += 1,
        }
        println!("{engine} {model:?} round {number}, life {life}: {failure}");
        if let Some(keep) = &flags.keep {
            let to = keep.join(format!("{engine}-{model:?}-{seed}-{number}"));
            storage.export(&to)?;
            println!("  kept in {}", to.display());
        }
    }
    println!(
        "{engine:8} {model:?}: {} rounds, {cuts} power cuts, {promises} promises; lost {lost}, not \
         opened {refused}, died {died}; {} s",
        flags.rounds,
        begun.elapsed().as_secs()
    );
    Ok(lost + refused + died)
}
