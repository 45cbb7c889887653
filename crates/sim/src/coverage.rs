//! How often what struck. A run in which something never did proves nothing about it.

use std::collections::BTreeMap;

macro_rules! events {
    ($($(#[doc = $what:literal])+ $name:ident,)+) => {
        /// Something that a run is for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Event {
            $($(#[doc = $what])+ $name,)+
        }

        impl Event {
            /// All of them, with what happened, for people.
            pub(crate) const ALL: &'static [(Self, &'static str)] =
                &[$((Self::$name, concat!($($what,)+)),)+];
        }
    };
}

events! {
    /// a process was killed
    Killed,
    /// a process was killed while its log writer had something to write
    QueueLost,
    /// a machine lost its power
    PowerCut,
    /// all machines lost their power at once
    Blackout,
    /// a power cut took what was not synced
    UnsyncedLost,
    /// the leader was killed or lost its power
    LeaderDied,
    /// two masters were cut off from each other
    Cut,
    /// a master was cut off from all others
    Isolated,
    /// a leader was cut off from all others
    LeaderIsolated,
    /// messages were lost in one direction
    CutOneWay,
    /// messages were held back
    Held,
    /// messages took long
    Slow,
    /// a disk let the log writer wait
    DiskWaited,
    /// a master campaigned although there was a leader
    Elected,
    /// leadership was handed over
    Transferred,
    /// a snapshot was written
    Snapshot,
    /// the log was purged
    Purged,
    /// another leader served
    Failover,
    /// a proposal was answered
    Answered,
    /// the outcome of a proposal was unknown
    Unknown,
    /// a proposal was turned away
    TurnedAway,
    /// a read was confirmed
    Read,
    /// a read could not be confirmed
    ReadFailed,
    /// states were compared at the same entry
    Compared,
}

/// Counts of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Coverage(BTreeMap<usize, u64>);

impl Coverage {
    pub(crate) fn struck(&mut self, event: Event) {
        self.add(event, 1);
    }

    pub(crate) fn add(&mut self, event: Event, times: u64) {
        if times > 0 {
            *self.0.entry(event as usize).or_default() += times;
        }
    }

    pub(crate) fn count(&self, event: Event) -> u64 {
        self.0.get(&(event as usize)).copied().unwrap_or(0)
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (event, times) in &other.0 {
            *self.0.entry(*event).or_default() += times;
        }
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let all = Event::ALL.iter();
        all.filter(|(event, _)| self.count(*event) == 0)
            .map(|(_, what)| what.trim())
            .collect()
    }

    /// The counts in the order of [`Event::ALL`].
    pub(crate) fn to_counts(&self) -> Vec<u64> {
        Event::ALL
            .iter()
            .map(|(event, _)| self.count(*event))
            .collect()
    }

    pub(crate) fn from_counts(counts: &[u64]) -> Self {
        let mut coverage = Self::default();
        for ((event, _), times) in Event::ALL.iter().zip(counts) {
            coverage.add(*event, *times);
        }
        coverage
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (event, what) in Event::ALL {
            writeln!(f, "{:>12}  {}", self.count(*event), what.trim())?;
        }
        Ok(())
    }
}
