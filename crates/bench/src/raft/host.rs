//! What this machine gives at best: the figures beside which all others are to be read.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use super::latency::{Latencies, Latency};

const SYNCS: usize = 1_000;
const ROUND_TRIPS: usize = 5_000;

/// The profile of disk and loopback.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Host {
    cpus: usize,
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
            cpus: std::thread::available_parallelism()?.get(),
            directory: dir.display().to_string(),
            in_memory: kind == nix::sys::statfs::TMPFS_MAGIC,
            fdatasync: fdatasync(dir)?,
            loopback_round_trip: round_trips()?,
        })
    }

    /// For people, a few lines.
    pub(crate) fn print(&self) {
        println!("processors {}, directory {}", self.cpus, self.directory);
        if self.in_memory {
            println!("WARNING: this directory is in memory; use --dir to name one on a disk");
        }
        println!("256 B and fdatasync   {}", self.fdatasync);
        println!("loopback round trip   {}", self.loopback_round_trip);
        println!();
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
