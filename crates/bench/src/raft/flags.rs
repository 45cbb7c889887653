//! Flags that all measurements share.

use std::path::PathBuf;

use super::system::System;

/// Where, of what, and how it is printed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// The systems to measure, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "sled,segment")]
    systems: Vec<System>,

    /// Where the members keep their data; should be on the disk that counts. By default the
    /// directory for temporary files.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,

    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Common {
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The systems, in the order in which they were named.
    pub(crate) fn systems(&self) -> Vec<System> {
        self.systems.clone()
    }
}
