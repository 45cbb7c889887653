//! What comes of a run, as JSON: everything that is needed to look at it again, and to run it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::history::{Call, History, Outcome};
use crate::invariants::Verdict;
use crate::scenario::{Nemesis, Scenario};
use crate::schedule::Step;

/// Version of the form of a report.
pub const VERSION: u32 = 1;
/// Length of the pieces of time in which answers are counted.
pub const BUCKET_MS: u64 = 250;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    /// Everything that was demanded struck, and every promise that was tried was kept.
    Passed,
    /// A promise was broken.
    Failed,
    /// Something that was demanded did not happen, so that the run says nothing.
    Void,
    /// The harness did not work; nothing can be said about the cluster.
    Trouble,
}

impl Result {
    /// As an exit status. 2 is for wrong command lines.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Void => 3,
            Self::Trouble => 4,
        }
    }

    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Void => "VOID",
            Self::Trouble => "TROUBLE",
        }
    }
}

/// A fault as it was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// Which step of the schedule.
    pub step: usize,
    /// What.
    pub nemesis: Nemesis,
    /// When it began, in microseconds.
    pub from_us: u64,
    /// When it was undone.
    pub to_us: u64,
    /// Whom it struck.
    pub targets: Vec<String>,
    /// How often it was seen to have struck: processes that were gone, stood still, and so on.
    pub confirmed: u64,
    /// What was seen.
    pub evidence: String,
}

/// How a nemesis did over the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Whether the run says nothing without it.
    pub demanded: bool,
    /// How often it was tried.
    pub tried: u64,
    /// How often that was seen to have struck.
    pub struck: u64,
    /// Why it cannot strike here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

/// What was answered in a piece of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Writes that were answered.
    pub written: u64,
    /// Writes that failed or of which nobody knows.
    pub not_written: u64,
    /// Consistent reads that were answered.
    pub read: u64,
    /// The slowest write that was answered, in microseconds.
    pub slowest_us: u64,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// How it ended.
    pub result: Result,
    /// Why, where that is not the verdicts' to say.
    pub reasons: Vec<String>,
    /// Version of the program.
    pub program: String,
    /// The seed.
    pub seed: u64,
    /// How long faults were to strike, in milliseconds.
    pub run_for_ms: u64,
    /// How long it really ran, healing included.
    pub ran_ms: u64,
    /// `local` or `command`.
    pub driver: String,
    /// The masters at the begin.
    pub masters: u64,
    /// The scenario, as it was.
    pub scenario: Scenario,
    /// All faults that were drawn from the seed.
    pub schedule: Vec<Step>,
    /// The faults that were carried out.
    pub strikes: Vec<Strike>,
    /// How often each struck.
    pub coverage: BTreeMap<Nemesis, Coverage>,
    /// The promises.
    pub verdicts: Vec<Verdict>,
    /// Longest time in which no write was answered, in milliseconds, and when that began.
    pub longest_outage_ms: u64,
    /// See there.
    pub longest_outage_at_ms: u64,
    /// Answers over time, in pieces of [`BUCKET_MS`].
    pub buckets: Vec<Bucket>,
    /// Everything that was seen.
    pub history: History,
}

impl Report {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or of a version that is not known.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(text)?;
        anyhow::ensure!(
            head.version == VERSION,
            "'version' is {}; this program knows {VERSION}",
            head.version
        );
        Ok(serde_json::from_str(text)?)
    }
}

/// Answers over time.
#[must_use]
pub fn buckets(history: &History, ran_ms: u64) -> Vec<Bucket> {
    let n = usize::try_from(ran_ms / BUCKET_MS + 1).unwrap_or_default();
    let mut buckets = vec![Bucket::default(); n];
    for operation in &history.operations {
        let place = usize::try_from(operation.to_us / 1000 / BUCKET_MS).unwrap_or(usize::MAX);
        let Some(bucket) = buckets.get_mut(place) else {
            continue;
        };
        match (operation.call, operation.outcome) {
            (Call::Write(_), Outcome::Written) => {
                bucket.written += 1;
                let took = operation.to_us - operation.from_us;
                bucket.slowest_us = bucket.slowest_us.max(took);
            }
            (Call::Write(_), _) => bucket.not_written += 1,
            (Call::Read, Outcome::Told { .. }) => bucket.read += 1,
            _ => {}
        }
    }
    buckets
}

/// The longest time in which no write was answered between the first one and `end_us`, and when it
/// began; in milliseconds.
#[must_use]
pub fn longest_outage(history: &History, end_us: u64) -> (u64, u64) {
    let written = history.operations.iter().filter(|operation| {
        matches!(operation.call, Call::Write(_)) && operation.outcome == Outcome::Written
    });
    let mut times: Vec<u64> = written.map(|operation| operation.to_us).collect();
    times.push(end_us);
    times.sort_unstable();
    let mut last = match times.len() {
        // There was none at all.
        1 => 0,
        _ => times[0],
    };
    let mut longest = (0, 0);
    for at in times {
        longest = longest.max((at.saturating_sub(last), last));
        last = at;
    }
    (longest.0 / 1000, longest.1 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::made::{unknown, write};

    #[test]
    fn outages_and_answers_are_counted() {
        let history = History {
            operations: vec![
                write(0, 100_000, 1),
                unknown(200_000, 2_200_000, 2),
                write(2_000_000, 2_300_000, 3),
            ],
            ..History::default()
        };
        assert_eq!(longest_outage(&history, 2_400_000), (2_200, 100));
        assert_eq!(longest_outage(&History::default(), 9_000), (9, 0));
        let buckets = buckets(&history, 2_400);
        assert_eq!((buckets[0].written, buckets[0].slowest_us), (1, 100_000));
        assert_eq!((buckets[8].not_written, buckets[9].written), (1, 1));
    }

    #[test]
    fn a_report_of_another_version_is_refused() {
        let error = Report::parse("{\"version\": 99}").expect_err("another version");
        assert!(error.to_string().contains("'version' is 99"), "{error}");
    }
}
