//! Whether there is room on the disk.
//!
//! A full disk must not be met in the middle of a write: votes, purges and snapshots have to be
//! written just then. So client writes are refused while less than a reserve is free, and a member
//! takes no entries while less than an eighth of it is left. Somebody else may fill the disk at once
//! all the same; the log writer then says so here, and does its writes again when there is room.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::metrics;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a full disk still takes: a part of the room that the engines keep ahead.
const ALLOWANCE_BYTES: u64 = 1024 * 1024;
/// How often something that found no room is tried again.
const TRY_EVERY: Duration = Duration::from_millis(500);
/// Which part of the reserve is kept from the leader's entries.
const FLOOR_PART: u64 = 8;

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomLevel {
    /// Nothing is held back.
    Enough,
    /// Less than the reserve is free: no new writes of clients, and others should lead.
    Low,
    /// Nearly nothing is free, or a write failed for want of room: no entries are taken either.
    Full,
}

impl RoomLevel {
    /// Its name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enough => "enough",
            Self::Low => "low",
            Self::Full => "full",
        }
    }
}

/// The room on the disk that holds a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What it comes to.
    pub level: RoomLevel,
    /// Bytes that may be written.
    pub free_bytes: u64,
    /// Bytes that should stay free.
    pub reserve_bytes: u64,
}

impl Room {
    /// Bytes that have to be freed until nothing is held back.
    #[must_use]
    pub const fn missing_bytes(&self) -> u64 {
        match self.level {
            RoomLevel::Enough => 0,
            RoomLevel::Low | RoomLevel::Full => {
                enough(self.reserve_bytes).saturating_sub(self.free_bytes)
            }
        }
    }
}

/// With this much free the alarm ends. More than the reserve, so that it does not come and go.
const fn enough(reserve_bytes: u64) -> u64 {
    reserve_bytes.saturating_add(reserve_bytes / FLOOR_PART)
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space")
            .field("dir", &self.dir)
            .field("room", &self.room())
            .finish_non_exhaustive()
    }
}

type Probe = Box<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// Watches the disk.
pub(crate) struct Space {
    dir: PathBuf,
    probe: Probe,
    room: watch::Sender<Room>,
    /// A write failed for want of room and was not done again yet.
    stuck: AtomicBool,
    /// Bytes of entries that are still taken although the disk is full.
    allowance_bytes: AtomicU64,
    /// Nobody is to wait for room any more.
    closed: AtomicBool,
}

impl Space {
    /// Watches the disk that `dir` is on, once [`Self::run`] runs.
    pub(crate) fn new(dir: &Path, reserve_bytes: u64) -> Arc<Self> {
        if regency_runtime::simulated() {
            return Self::with_probe(dir, reserve_bytes, Box::new(|| Ok(u64::MAX / 2)));
        }
        let probed = dir.to_path_buf();
        Self::with_probe(dir, reserve_bytes, Box::new(move || free_bytes(&probed)))
    }

    /// The same with another source of how many bytes are free.
    pub(crate) fn with_probe(dir: &Path, reserve_bytes: u64, probe: Probe) -> Arc<Self> {
        let room = Room {
            level: RoomLevel::Enough,
            free_bytes: u64::MAX,
            reserve_bytes,
        };
        let space = Arc::new(Self {
            dir: dir.to_path_buf(),
            probe,
            room: watch::Sender::new(room),
            stuck: AtomicBool::new(false),
            allowance_bytes: AtomicU64::new(ALLOWANCE_BYTES),
            closed: AtomicBool::new(false),
        });
        space.look();
        space
    }

    /// The directory whose disk is watched.
    #[cfg(feature = "simulation")]
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The room as last seen.
    pub(crate) fn room(&self) -> Room {
        *self.room.borrow()
    }

    /// Whether no entries are to be taken from a leader, but for [`Self::takes`].
    pub(crate) fn is_full(&self) -> bool {
        self.room().level == RoomLevel::Full
    }

    /// Whether entries of this size are taken from a leader. A full disk takes a little: the engines
    /// have room ahead for it, and without its first entries nobody can begin to lead.
    pub(crate) fn takes(&self, bytes: u64) -> bool {
        if !self.is_full() {
            return true;
        }
        let take = |left: u64| left.checked_sub(bytes);
        !self.stuck.load(Ordering::Relaxed)
            && self
                .allowance_bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
    }

    /// How much is free, when that is too little for so many bytes and what is kept from entries.
    pub(crate) fn lacks(&self, bytes: u64) -> Option<u64> {
        let room = self.room();
        let wanted = bytes.saturating_add(room.reserve_bytes / FLOOR_PART);
        (room.free_bytes < wanted).then_some(room.free_bytes)
    }

    /// Says that a write failed for want of room, or that it was done again.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
        self.look();
    }

    /// Ends every wait in [`Self::when_room`].
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Does something that writes `what` again and again until it does not fail for want of room.
    /// It has to clean up after itself. Blocks.
    pub(crate) fn when_room<T, E: Into<io::Error>>(
        &self,
        what: &str,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> io::Result<T> {
        let mut said = false;
        loop {
            let error: io::Error = match work() {
                Ok(done) => return Ok(done),
                Err(error) => error.into(),
            };
            if !is_full(&error) || self.closed.load(Ordering::Relaxed) {
                return Err(error);
            }
            if !said {
                said = true;
                let dir = self.dir.display();
                tracing::error!(%dir, %error, "no room on the disk to {what}; it is done when there is some");
            }
            std::thread::sleep(TRY_EVERY);
        }
    }

    /// Looks now and then, for as long as it is polled.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            let space = Arc::clone(&self);
            // A disk that stands still may hold this up for long.
            if regency_runtime::spawn_blocking(move || space.look())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Looks once. Blocks on the disk.
    pub(crate) fn look(&self) {
        let free_bytes = match (self.probe)() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::debug!(%error, dir = %self.dir.display(), "cannot ask how much room there is");
                return;
            }
        };
        let before = self.room();
        let stuck = self.stuck.load(Ordering::Relaxed);
        let level = level(before.level, free_bytes, before.reserve_bytes, stuck);
        let now = Room {
            level,
            free_bytes,
            ..before
        };
        self.room.send_replace(now);
        metrics::disk(&now);
        if level == before.level {
            return;
        }
        self.allowance_bytes
            .store(ALLOWANCE_BYTES, Ordering::Relaxed);
        let dir = self.dir.display();
        match level {
            RoomLevel::Enough => {
                tracing::info!(%dir, free_bytes, "there is room on the disk again");
            }
            RoomLevel::Low => tracing::error!(
                %dir,
                free_bytes,
                reserve_bytes = now.reserve_bytes,
                missing_bytes = now.missing_bytes(),
                "the disk is nearly full: this master takes no writes of clients until there is room"
            ),
            RoomLevel::Full => tracing::error!(
                %dir,
                free_bytes,
                reserve_bytes = now.reserve_bytes,
                missing_bytes = now.missing_bytes(),
                "the disk is full: this master takes no entries until there is room"
            ),
        }
    }
}

fn level(before: RoomLevel, free_bytes: u64, reserve_bytes: u64, stuck: bool) -> RoomLevel {
    if stuck || free_bytes < reserve_bytes / FLOOR_PART {
        return RoomLevel::Full;
    }
    let alarm_below = match before {
        RoomLevel::Enough => reserve_bytes,
        RoomLevel::Low | RoomLevel::Full => enough(reserve_bytes),
    };
    if free_bytes < alarm_below {
        RoomLevel::Low
    } else {
        RoomLevel::Enough
    }
}

/// Bytes that this process may still write to the disk of `dir`.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = nix::sys::statvfs::statvfs(dir)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// Whether something failed for want of room, and nothing else.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The result of a sync, so that its failure is never taken for one of want of room: after it the
/// disk cannot be believed, and nothing is done again.
pub(crate) fn synced(result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| io::Error::other(format!("cannot sync: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(free: &Arc<AtomicU64>, reserve_bytes: u64) -> Arc<Space> {
        let free = Arc::clone(free);
        let probe = move || Ok(free.load(Ordering::Relaxed));
        Space::with_probe(Path::new("unused"), reserve_bytes, Box::new(probe))
    }

    #[test]
    fn the_alarm_ends_with_more_room_than_it_began_with() {
        let free = Arc::new(AtomicU64::new(1000));
        let space = space(&free, 800);
        let mut seen = Vec::new();
        for bytes in [1000, 800, 799, 850, 100, 99, 0, 100, 899, 900, 800] {
            free.store(bytes, Ordering::Relaxed);
            space.look();
            seen.push(space.room().level);
        }
        use RoomLevel::{Enough, Full, Low};
        let wanted = [
            Enough, Enough, Low, Low, Low, Full, Full, Low, Low, Enough, Enough,
        ];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn what_is_missing_is_what_ends_the_alarm() {
        let free = Arc::new(AtomicU64::new(300));
        let space = space(&free, 800);
        let missing = space.room().missing_bytes();
        assert_eq!(missing, 600);
        free.fetch_add(missing - 1, Ordering::Relaxed);
        space.look();
        assert_eq!(space.room().level, RoomLevel::Low);
        free.fetch_add(1, Ordering::Relaxed);
        space.look();
        assert_eq!(
            space.room(),
            Room {
                level: RoomLevel::Enough,
                free_bytes: 900,
                reserve_bytes: 800
            }
        );
    }

    #[test]
    fn a_write_that_failed_is_an_alarm_whatever_the_disk_says() {
        let free = Arc::new(AtomicU64::new(u64::MAX));
        // No reserve: the disk is not asked.
        let space = space(&free, 0);
        free.store(0, Ordering::Relaxed);
        space.look();
        assert_eq!(space.room().level, RoomLevel::Enough);
        space.set_stuck(true);
        assert!(space.is_full());
        space.set_stuck(false);
        assert_eq!(space.room().level, RoomLevel::Enough);
    }

    #[test]
    fn a_full_disk_takes_a_little_and_a_stuck_one_nothing() {
        let free = Arc::new(AtomicU64::new(1000));
        let space = space(&free, 800);
        assert!(space.takes(u64::MAX));
        free.store(0, Ordering::Relaxed);
        space.look();
        assert!(space.takes(ALLOWANCE_BYTES - 1));
        assert!(!space.takes(2));
        assert!(space.takes(1));
        assert!(!space.takes(1));
        free.store(1000, Ordering::Relaxed);
        space.look();
        assert!(space.takes(1));
        space.set_stuck(true);
        assert!(!space.takes(1));
    }

    #[test]
    fn a_failed_sync_is_no_want_of_room() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(is_full(&full()));
        assert!(!is_full(&synced(Err(full())).expect_err("failed")));
        let enospc = io::Error::from(nix::errno::Errno::ENOSPC);
        assert!(is_full(&enospc));
        assert!(is_full(&io::Error::from(nix::errno::Errno::EDQUOT)));
        assert!(!is_full(&io::Error::from(nix::errno::Errno::EIO)));
    }

    #[test]
    fn a_real_disk_has_some_room() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert!(free_bytes(dir.path()).expect("asked") > 0);
    }
}
