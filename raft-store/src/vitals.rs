//! Whether this master is well enough to lead, told by numbers that nobody has to be asked for.
//!
//! The tasks of replication write here that they live. Whoever is about to tell a client something
//! in the name of the leader reads it, with nothing but a clock: no lock, no task, no help of the
//! runtime that may be the one that stands still. A process that was frozen and wakes up reads an
//! old time here before anything else of it has run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use regency_types::NodeId;
use tokio::sync::watch;

use crate::disk::DiskWatch;
use crate::term;
use crate::types::Raft;

/// Time since the machine started, the time it was suspended included: a leader that slept has
/// missed its successor's election as much as one that was frozen.
pub(crate) fn now() -> Duration {
    #[cfg(feature = "simulation")]
    if regency_runtime::simulated() {
        return crate::simulation::now();
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Why a leader must not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ailment {
    /// The core of replication did not answer for too long.
    CoreStalled,
    /// The log was not written for too long.
    DiskStalled,
    /// No majority answered for too long: somebody else may lead.
    QuorumLost,
}

impl Ailment {
    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CoreStalled => "core_stalled",
            Self::DiskStalled => "disk_stalled",
            Self::QuorumLost => "quorum_lost",
        }
    }
}

/// The numbers.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// How old the proof of a majority, and of a core that runs, may be.
    support_max: Duration,
    /// How long one group of writes may take.
    disk_stop_after: Duration,
    disk: Arc<DiskWatch>,
    /// This master was elected, and its term began.
    leading: AtomicBool,
    /// When the core answered last, in microseconds of [`now`].
    core_us: AtomicU64,
    /// When the newest message that a majority answered was sent; 0 for never.
    quorum_us: AtomicU64,
}

impl Vitals {
    pub(crate) fn new(
        support_max: Duration,
        disk_stop_after: Duration,
        disk: Arc<DiskWatch>,
    ) -> Self {
        Self {
            support_max,
            disk_stop_after,
            disk,
            leading: AtomicBool::new(false),
            core_us: AtomicU64::new(micros(now())),
            quorum_us: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_leading(&self, leading: bool) {
        self.leading.store(leading, Ordering::Release);
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.leading.load(Ordering::Acquire)
    }

    pub(crate) fn core_answered(&self) {
        self.core_us.store(micros(now()), Ordering::Release);
    }

    /// A majority answered what was sent so long ago.
    pub(crate) fn quorum_answered(&self, age: Option<Duration>) {
        let at = age.map_or(0, |age| micros(now().saturating_sub(age)));
        self.quorum_us.store(at, Ordering::Release);
    }

    /// The last time that the core answered, as a number that changes when it does.
    pub(crate) fn core_mark(&self) -> u64 {
        self.core_us.load(Ordering::Acquire)
    }

    pub(crate) fn disk(&self) -> &DiskWatch {
        &self.disk
    }

    /// How long ago the core answered.
    pub(crate) fn core_age(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_micros(self.core_mark()))
    }

    /// What keeps a leader from serving at this moment, if anything.
    pub(crate) fn ailment(&self, now: Duration) -> Option<Ailment> {
        let quorum_us = self.quorum_us.load(Ordering::Acquire);
        let quorum_age = now.saturating_sub(Duration::from_micros(quorum_us));
        if self.core_age(now) > self.support_max {
            Some(Ailment::CoreStalled)
        } else if self.disk.busy_for() >= self.disk_stop_after {
            Some(Ailment::DiskStalled)
        } else if quorum_us == 0 || quorum_age > self.support_max {
            Some(Ailment::QuorumLost)
        } else {
            None
        }
    }

    /// Whether this master may serve as leader at this moment.
    pub(crate) fn may_serve(&self) -> bool {
        self.is_leading() && self.ailment(now()).is_none()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether this master may say anything in the leader's name. Looked at before each answer and each
/// event that only a leader gives.
#[derive(Debug, Clone)]
pub struct ServingGate {
    vitals: Arc<Vitals>,
    open: watch::Receiver<bool>,
}

impl ServingGate {
    pub(crate) fn new(vitals: Arc<Vitals>, open: watch::Receiver<bool>) -> Self {
        Self { vitals, open }
    }

    /// Whether it is open at this moment. Never waits, and needs nobody's help.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.vitals.may_serve()
    }

    /// Waits until the watchdog saw it closed; a moment late, so that [`Self::is_open`] has to be
    /// asked as well.
    pub async fn closed(&mut self) {
        // An error says that this master stopped.
        let _ = self.open.wait_for(|open| !*open).await;
    }

    /// Waits until the watchdog saw it open, or the term began.
    pub async fn opened(&mut self) {
        if self.open.wait_for(|open| *open).await.is_err() {
            // This master stopped: it will not open any more.
            std::future::pending().await
        }
    }
}

/// Asks the core again and again whether it still answers, and a leader since when a majority did
/// not. Ends when the core does.
pub(crate) async fn pulse(raft: Raft, own: NodeId, vitals: Arc<Vitals>, every: Duration) {
    let mut server = raft.server_metrics();
    loop {
        if raft.with_raft_state(|_| ()).await.is_err() {
            return;
        }
        vitals.core_answered();
        vitals.quorum_answered(term::last_quorum_ack(&raft, own));
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            changed = server.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPPORT: Duration = Duration::from_millis(450);

    fn vitals() -> Vitals {
        Vitals::new(SUPPORT, Duration::from_secs(2), Arc::default())
    }

    #[test]
    fn a_leader_serves_only_while_core_disk_and_majority_are_fresh() {
        let vitals = vitals();
        assert!(!vitals.may_serve(), "it does not lead");
        vitals.set_leading(true);
        assert!(!vitals.may_serve(), "nobody answered it yet");
        vitals.quorum_answered(Some(Duration::ZERO));
        assert!(vitals.may_serve());

        let now = now();
        let later = now + SUPPORT + Duration::from_millis(50);
        assert_eq!(vitals.ailment(now), None);
        assert_eq!(vitals.ailment(later), Some(Ailment::CoreStalled));
        vitals.quorum_answered(Some(SUPPORT * 2));
        assert_eq!(vitals.ailment(now), Some(Ailment::QuorumLost));
        assert!(!vitals.may_serve());
        vitals.quorum_answered(None);
        assert_eq!(vitals.ailment(now), Some(Ailment::QuorumLost));
    }

    #[test]
    fn a_disk_that_stands_still_closes_the_gate() {
        let disk = Arc::<DiskWatch>::default();
        let vitals = Vitals::new(SUPPORT, Duration::from_millis(1), Arc::clone(&disk));
        vitals.quorum_answered(Some(Duration::ZERO));
        assert_eq!(vitals.ailment(now()), None);
        disk.wanted();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(vitals.ailment(now()), Some(Ailment::DiskStalled));
        disk.end(false);
        assert_eq!(vitals.ailment(now()), None);
    }
}
