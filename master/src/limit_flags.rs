//! Flags of what bounds memory and disk.

use std::time::Duration;

use regency_raft_store::{EngineKind, Limits, LogConfig};
use regency_state::FEATURE_LEVEL;

use crate::flags::duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Bounds of replication. The defaults are right for nearly everybody.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits of replication")]
pub struct LimitFlags {
    /// Bytes that should stay free on the disk of the data directory: with less, writes of clients
    /// are refused until there is room again; 0 turns that off.
    #[arg(long, default_value_t = 256 * MIB, value_name = "BYTES")]
    pub disk_reserve_bytes: u64,

    /// Largest change of the state that is taken; a larger call is answered with 413.
    #[arg(long, default_value_t = MIB, value_name = "BYTES", value_parser = bytes(4 * KIB, 16 * MIB))]
    pub max_proposal_bytes: u64,

    /// Changes on their way at once; further ones wait, and are refused after `--lease-wait`.
    #[arg(long, default_value_t = 64 * MIB, value_name = "BYTES", value_parser = bytes(MIB, 4096 * MIB))]
    pub max_in_flight_bytes: u64,

    /// How long a change may take before its outcome is called unknown.
    #[arg(long, default_value = "10secs", value_parser = duration)]
    pub propose_timeout: Duration,

    /// How long a change waits for a master that is about to lead, or for others on their way.
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub lease_wait: Duration,

    /// How long a consistent read may take to be confirmed.
    #[arg(long, default_value = "5secs", value_parser = duration)]
    pub read_timeout: Duration,

    /// Entries of the log kept in memory, so that followers are served without the disk.
    #[arg(long, default_value_t = 32 * MIB, value_name = "BYTES", value_parser = bytes(MIB, 65536 * MIB))]
    pub log_cache_bytes: u64,

    /// Entries in one message to a follower.
    #[arg(long, default_value_t = MIB, value_name = "BYTES", value_parser = bytes(4 * KIB, 32 * MIB))]
    pub max_append_bytes: u64,

    /// A snapshot is written after this many entries.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_every_entries: u64,

    /// Snapshots kept on disk, the newest included; with 1, a damaged file costs a master its place.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub snapshots_kept: u64,

    /// Entries kept behind a snapshot, so that a master that was away for a while needs none.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub log_keep_entries: u64,

    /// Masters compare their states after this many entries; the same on all masters.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub state_hash_every_entries: u64,

    /// The highest feature level this master takes part in; hold all masters at the present one to
    /// go through an upgrade in stages.
    #[arg(long, default_value_t = FEATURE_LEVEL, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(FEATURE_LEVEL)))]
    pub feature_level_max: u32,

    /// Entries whose effects wait for a slow leader before it looks at the whole state instead.
    #[arg(long, default_value_t = 16 * 1024, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub max_effect_batches: u64,
}

fn bytes(min: u64, max: u64) -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(min..=max)
}

impl LimitFlags {
    /// The log's part, with the engine chosen elsewhere.
    #[must_use]
    pub fn log(&self, engine: EngineKind) -> LogConfig {
        LogConfig {
            engine,
            cache_bytes_max: size(self.log_cache_bytes),
            snapshot_every_entries: self.snapshot_every_entries,
            keep_entries: self.log_keep_entries,
            append_bytes_max: size(self.max_append_bytes),
            state_hash_every_entries: self.state_hash_every_entries,
            disk_reserve_bytes: self.disk_reserve_bytes,
            feature_level_max: self.feature_level_max,
            snapshots_kept: size(self.snapshots_kept),
            ..LogConfig::default()
        }
    }

    /// The rest.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn limits(&self) -> anyhow::Result<Limits> {
        anyhow::ensure!(
            self.max_proposal_bytes <= self.max_in_flight_bytes,
            "--max-proposal-bytes {} is more than --max-in-flight-bytes {}; raise the second one",
            self.max_proposal_bytes,
            self.max_in_flight_bytes
        );
        for (flag, time) in [
            ("--propose-timeout", self.propose_timeout),
            ("--lease-wait", self.lease_wait),
            ("--read-timeout", self.read_timeout),
        ] {
            anyhow::ensure!(!time.is_zero(), "{flag} is 0; give it a time such as 500ms");
        }
        Ok(Limits {
            proposal_bytes_max: size(self.max_proposal_bytes),
            in_flight_bytes_max: size(self.max_in_flight_bytes),
            propose_timeout: self.propose_timeout,
            lease_wait: self.lease_wait,
            read_timeout: self.read_timeout,
            effect_batches_max: size(self.max_effect_batches),
            ..Limits::default()
        })
    }
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        limits: LimitFlags,
    }

    fn parse(args: &[&str]) -> Result<LimitFlags, clap::Error> {
        let args = ["command"].iter().chain(args);
        Command::try_parse_from(args).map(|command| command.limits)
    }

    #[test]
    fn the_defaults_are_those_of_replication() {
        let flags = parse(&[]).expect("defaults");
        assert_eq!(flags.limits().expect("no contradiction"), Limits::default());
        assert_eq!(flags.log(EngineKind::Sled), LogConfig::default());
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_flag() {
        for bad in [
            ["--max-proposal-bytes", "1"],
            ["--max-proposal-bytes", "999999999"],
            ["--snapshot-every-entries", "0"],
            ["--snapshots-kept", "0"],
            ["--max-append-bytes", "99999999999"],
        ] {
            let error = parse(&bad).expect_err(bad[0]).to_string();
            assert!(error.contains(bad[0]), "{error}");
        }
        let flags = parse(&[
            "--max-proposal-bytes=8388608",
            "--max-in-flight-bytes=1048576",
        ]);
        let error = flags
            .expect("each is possible")
            .limits()
            .expect_err("not together");
        assert!(
            error.to_string().contains("--max-in-flight-bytes"),
            "{error}"
        );
        let flags = parse(&["--read-timeout", "0s"]).expect("a time");
        assert!(flags.limits().is_err());
    }
}
