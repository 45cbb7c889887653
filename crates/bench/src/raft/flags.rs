//! Flags that all measurements share.

use std::path::PathBuf;

use super::system::System;
use super::table;

/// Where, of what, and how it is printed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// The systems to measure, one after the other. Those that are not installed are left out.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "sled,segment,etcd,etcd-tuned,zookeeper,zookeeper-tuned"
    )]
    pub(crate) systems: Vec<System>,

    /// Where the members keep their data; should be on the disk that counts. By default the
    /// directory for temporary files.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) dir: Option<PathBuf>,

    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Common {
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The systems that are installed, in the order in which they were named. Says which are not.
    pub(crate) fn systems(&self) -> Vec<System> {
        let mut installed = Vec::new();
        for &system in &self.systems {
            match system.missing() {
                Some(what) => table::progress(format_args!("{what}")),
                None => installed.push(system),
            }
        }
        installed
    }
}
