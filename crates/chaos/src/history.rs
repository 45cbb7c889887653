//! What happened, as clients saw it: everything that the invariants are checked on.
//!
//! Times are microseconds since the run began. It is part of the report, so names are stable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Writes and reads of registers, which are weights of roles.
    pub operations: Vec<Operation>,
    /// What the framework was told and did, in the order in which that happened.
    pub framework: Vec<FrameworkEvent>,
    /// How often each task says it ran, where that can be read.
    pub ledger: Option<BTreeMap<String, u64>>,
    /// Streams of events that operators read.
    pub streams: Vec<Stream>,
    /// Digests of the states of masters.
    pub digests: Vec<Digest>,
    /// Who led, when that changed.
    pub leaders: Vec<Leader>,
    /// Processes that ended although nobody ended them.
    pub crashes: Vec<String>,
    /// How long after the faults everything was well again; absent when it never was.
    pub healed_after_ms: Option<u64>,
    /// What was not well until the end.
    pub not_healed: Vec<String>,
    /// Damaged replicas and what became of them.
    pub damages: Vec<Damage>,
}

impl History {
    /// The operations of each register, in the order in which they ended.
    #[must_use]
    pub fn registers(&self) -> BTreeMap<&str, Vec<&Operation>> {
        let mut registers: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            registers.entry(&operation.key).or_default().push(operation);
        }
        registers
    }
}

/// One write or read of a register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who did it.
    pub client: u32,
    /// The register.
    pub key: String,
    /// What was done.
    pub call: Call,
    /// Which master was asked at last.
    pub master: u64,
    /// When it began.
    pub from_us: u64,
    /// When it was answered, or given up.
    pub to_us: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is done with a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Gives it a value, which is never given to it again.
    Write(u64),
    /// Reads it with everything that was answered before (`?consistent=true`).
    Read,
    /// Reads what the master has, though not older than this entry, which the client has seen; 0 for
    /// any.
    ReadStale(u64),
}

/// What is known of an operation afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A write took effect.
    Written,
    /// A read told this, as of this entry; the digest is that of everything that was told.
    Told {
        /// The value; none when there was none yet.
        value: Option<u64>,
        /// Index of the last entry in it.
        index: u64,
        /// Digest of the whole answer.
        digest: u64,
        /// Which start of the master answered, counted from 0; absent when it was started meanwhile.
        start: Option<u32>,
    },
    /// It certainly had no effect.
    Failed,
    /// Nobody knows: no answer in time, or a connection that broke.
    Unknown,
}

/// What a framework sees and does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkEvent {
    /// When.
    pub at_us: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// See [`FrameworkEvent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Happened {
    /// It is subscribed.
    Subscribed {
        /// At this master.
        master: String,
    },
    /// Its stream broke.
    Disconnected,
    /// It was made this offer.
    Offered {
        /// The id.
        offer: String,
    },
    /// An offer was taken back.
    Rescinded {
        /// The id.
        offer: String,
    },
    /// It begins to launch a task.
    Launching {
        /// The task.
        task: String,
        /// With this offer.
        offer: String,
        /// Whether the offer was used before, so that this must be refused.
        spent: bool,
    },
    /// The launch was answered with 202.
    Launched {
        /// The task.
        task: String,
    },
    /// It was told how a task is.
    Updated {
        /// The task.
        task: String,
        /// The state.
        state: String,
        /// Whether that is the end of it.
        terminal: bool,
        /// Identity of the update, in hexadecimal; empty where it need not be acknowledged.
        uuid: String,
    },
    /// An acknowledgement was answered with 202.
    Acknowledged {
        /// The task.
        task: String,
        /// The update.
        uuid: String,
    },
}

/// What one operator was told by one master over one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Who reads.
    pub reader: u32,
    /// From whom.
    pub master: u64,
    /// Behind which position it was asked for; empty for the present.
    pub after: String,
    /// Whether the master began with the whole state, so that there may be a gap before.
    pub fresh: bool,
    /// Positions and digests of the events.
    pub events: Vec<(String, u64)>,
}

/// The state of a master, as it says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest {
    /// After this entry.
    pub index: u64,
    /// Which master.
    pub master: u64,
    /// The digest.
    pub digest: String,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Since when, as observed.
    pub at_us: u64,
    /// The master; absent when none serves.
    pub master: Option<u64>,
    /// Its term.
    pub term: u64,
}

/// A replica whose files were damaged while it was down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Which master.
    pub master: u64,
    /// What was done to it.
    pub what: String,
    /// What it did when it was started.
    pub reaction: Reaction,
}

/// What a damaged replica does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// It says so and ends.
    Refused {
        /// What it said.
        said: String,
    },
    /// It follows, with the same digest as the others.
    Repaired,
    /// It follows with a state that is not that of the others.
    Differs {
        /// Both digests.
        digests: String,
    },
    /// It neither ended nor followed in time.
    Silent,
}
