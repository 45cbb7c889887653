//! What this machine gives at best: the figures beside which all others are to be read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use super::latency::{Latencies, Latency};
use super::machine::{self, Machine};

const SYNCS: usize = 1_000;
const ROUND_TRIPS: usize = 5_000;

/// The machine, what runs on it, and the profile of disk and loopback.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Host {
    /// When the profile was taken, in UTC.
    at: String,
    machine: Machine,
    /// Of this program and of the installed systems.
    versions: BTreeMap<&'static str, String>,
    /// Built without optimisation: figures say nothing.
    is_debug_build: bool,
    directory: String,
    /// Whether the directory is in memory, where syncing costs nothing.
    in_memory: bool,
    /// 256 bytes appended and `fdatasync`.
    fdatasync: Latency,
    /// One byte there and back over TCP, between two threads that block.
    loopback_round_trip: Latency,
}

impl Host {
    /// Blocks for a second or two.
    pub(crate) fn measure(dir: &Path) -> anyhow::Result<Self> {
        let kind = nix::sys::statfs::statfs(dir)
            .with_context(|| format!("--dir {}", dir.display()))?
            .filesystem_type();
        Ok(Self {
            at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            machine: Machine::read()?,
            versions: machine::versions(),
            is_debug_build: cfg!(debug_assertions),
            directory: dir.display().to_string(),
            in_memory: kind == nix::sys::statfs::TMPFS_MAGIC,
            fdatasync: fdatasync(dir)?,
            loopback_round_trip: round_trips()?,
        })
    }

    /// For people, a few lines.
    pub(crate) fn print(&self) {
        println!("{}", self.machine);
        println!("directory             {} ({})", self.directory, self.at);
        for (name, version) in &self.versions {
            println!("{name:<22}{version}");
        }
        if self.is_debug_build {
            println!("WARNING: a debug build; figures say nothing");
        }
        if self.in_memory {
            println!("WARNING: this directory is in memory; use --dir to name one on a disk");
        }
        self.print_profile();
        println!();
    }

    /// Only what the disk and loopback gave.
    pub(crate) fn print_profile(&self) {
        println!("256 B and fdatasync   {}", self.fdatasync);
        println!("loopback round trip   {}", self.loopback_round_trip);
    }
}

fn fdatasync(dir: &Path) -> anyhow::Result<Latency> {
    let mut file = tempfile::tempfile_in(dir)?;
    let sync = |file: &mut File| -> std::io::Result<()> {
        file.write_all(&[7; 256])?;
        file.sync_data()
    };
    let mut latencies = Latencies::new();
    for _ in 0..SYNCS {
        let begun = Instant::now();
        sync(&mut file)?;
        latencies.record(begun.elapsed());
    }
    Ok(latencies.summary())
}

fn round_trips() -> anyhow::Result<Latency> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut there = TcpStream::connect(listener.local_addr()?)?;
    let (mut back, _) = listener.accept()?;
    there.set_nodelay(true)?;
    back.set_nodelay(true)?;
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let mut byte = [0];
        while back.read(&mut byte)? > 0 {
            back.write_all(&byte)?;
        }
        Ok(())
    });
    let mut latencies = Latencies::new();
    let mut byte = [7];
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        there.write_all(&byte)?;
        there.read_exact(&mut byte)?;
        latencies.record(begun.elapsed());
    }
    drop(there);
    echo.join()
        .map_err(|_| anyhow::anyhow!("the echo panicked"))??;
    Ok(latencies.summary())
}
