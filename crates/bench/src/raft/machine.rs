//! Which machine figures were taken on, and of which versions.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;

use anyhow::Context as _;
use serde::Serialize;

use super::{etcd, zookeeper};

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    cpus: usize,
    /// As the processor names itself; empty when it does not.
    cpu: String,
    memory_mb: u64,
    kernel: String,
    /// Of the minute before: what else was going on.
    load_average: f64,
}

impl Machine {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
        };
        let field = |text: &str, name: &str| -> Option<String> {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo")?, "MemTotal").context("no MemTotal")?;
        let memory_kb: u64 = memory.trim_end_matches(" kB").parse()?;
        let load = read("/proc/loadavg")?;
        Ok(Self {
            cpus: std::thread::available_parallelism()?.get(),
            cpu: field(&read("/proc/cpuinfo")?, "model name").unwrap_or_default(),
            memory_mb: memory_kb / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_average: load
                .split_whitespace()
                .next()
                .context("empty loadavg")?
                .parse()?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "processors            {} x {}", self.cpus, self.cpu)?;
        write!(
            f,
            "memory, kernel, load  {} MB, Linux {}, {:.2} before the start",
            self.memory_mb, self.kernel, self.load_average
        )
    }
}

/// Of this program and of what is installed beside it.
pub(crate) fn versions() -> BTreeMap<&'static str, String> {
    let mut versions = BTreeMap::from([("regency", env!("CARGO_PKG_VERSION").to_owned())]);
    let etcd = version(etcd::PROGRAM, &["--version"]);
    let zookeeper = version(
        "dpkg-query",
        &["--show", "--showformat=${Version}", zookeeper::PACKAGE],
    );
    for (name, version) in [("etcd", etcd), ("zookeeper", zookeeper)] {
        if let Some(version) = version {
            versions.insert(name, version);
        }
    }
    versions
}

/// Nothing when the program is not there or fails.
fn version(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    // Some put their name before it.
    let version = line.rsplit(": ").next()?.to_owned();
    output.status.success().then_some(version)
}
