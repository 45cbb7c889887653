//! Disks of simulated masters.
//!
//! A master in a simulator runs as it is: its files are real ones. What is simulated is what a disk makes of
//! them. It notes the content of each file and the names in each directory when they are synced
//! (`crate::durable`), and when the power is cut, it puts back what it noted. And it lets the log writer wait as
//! long as a slow disk would.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openraft::async_runtime::watch::WatchReceiver as _;

use crate::consensus::Consensus;

/// Segments are small, so that there are some.
const SEGMENT_BYTES: u64 = 32 * 1024;
/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

thread_local! {
    static DISKS: RefCell<BTreeMap<PathBuf, Disk>> = const { RefCell::new(BTreeMap::new()) };
    static ORIGIN: Instant = Instant::now();
}

/// What a disk says is durable, and makes not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lies {
    /// It is honest.
    #[default]
    Nothing,
    /// Entries in segments, as if the log engine forgot to sync them.
    Entries,
    /// All files, and the names in directories.
    Everything,
}

impl Lies {
    fn about(self, path: &Path) -> bool {
        match self {
            Self::Nothing => false,
            Self::Entries => path.extension().is_some_and(|end| end == "segment"),
            Self::Everything => true,
        }
    }
}

/// How a disk behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// How long each group of writes waits.
    pub delay: Duration,
    /// What it says is durable when it is not.
    pub lies: Lies,
}

/// How often what happened on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskCounts {
    /// Files and directories that were synced.
    pub syncs: u64,
    /// Groups of writes that waited.
    pub waits: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Files whose content went back at a power cut, wholly or in part.
    pub reverted: u64,
    /// Names that came or went at a power cut.
    pub names: u64,
}

/// Which file: its number and when it was made, since numbers are used again.
type Id = (u64, Option<std::time::SystemTime>);

#[derive(Debug, Default)]
struct Disk {
    pace: Pace,
    files: BTreeMap<Id, Vec<u8>>,
    names: BTreeMap<Id, BTreeMap<OsString, Id>>,
    counts: DiskCounts,
}

/// A disk for the data directory `dir`, which must be there and empty.
///
/// # Errors
/// When the directory cannot be read.
pub fn add_disk(dir: &Path) -> io::Result<()> {
    let mut disk = Disk::default();
    disk.note_tree(dir)?;
    DISKS.with_borrow_mut(|disks| disks.insert(dir.to_path_buf(), disk));
    Ok(())
}

/// Changes how the disk of `dir` behaves from now on.
pub fn set_pace(dir: &Path, pace: Pace) {
    with(dir, |disk| disk.pace = pace);
}

/// What happened on the disk of `dir`.
#[must_use]
pub fn disk_counts(dir: &Path) -> DiskCounts {
    with(dir, |disk| disk.counts).unwrap_or_default()
}

/// Puts the disk of `dir` back to what is durable. `chance` decides what else is there: at random a file has
/// its newest content or some sectors of it, and a directory its newest names.
///
/// # Errors
/// When the files cannot be written.
pub fn cut_power(dir: &Path, chance: &mut dyn FnMut() -> u64) -> io::Result<()> {
    with(dir, |disk| disk.cut(dir, chance)).unwrap_or(Ok(()))
}

fn with<T>(dir: &Path, act: impl FnOnce(&mut Disk) -> T) -> Option<T> {
    DISKS.with_borrow_mut(|disks| disks.get_mut(dir).map(act))
}

/// Notes that a file or directory is durable.
pub(crate) fn synced(file: &File) -> io::Result<()> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    DISKS.with_borrow_mut(|disks| {
        let disk = disks.iter_mut().find(|(dir, _)| path.starts_with(dir));
        match disk {
            Some((_, disk)) => disk.synced(file, &path),
            None => Ok(()),
        }
    })
}

/// Waits as long as the disk of `dir` lets a group of writes wait.
pub(crate) async fn pause(dir: &Path) {
    let delay = with(dir, |disk| {
        disk.counts.waits += u64::from(!disk.pace.delay.is_zero());
        disk.pace.delay
    });
    if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
        tokio::time::sleep(delay).await;
    }
}

/// Size of a segment file.
pub(crate) fn segment_bytes() -> u64 {
    if regency_runtime::simulated() {
        SEGMENT_BYTES
    } else {
        crate::engine::segment::SEGMENT_BYTES
    }
}

/// Time since the simulator began.
pub(crate) fn now() -> Duration {
    ORIGIN.with(Instant::elapsed)
}

/// Term and index of an entry.
pub type At = (u64, u64);

/// What the consensus core of a master believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core {
    /// The term of its vote, for whom that is, and whether that one is known to lead.
    pub vote: (u64, u64, bool),
    /// Whether it leads itself.
    pub leads: bool,
    /// Index of its last entry.
    pub last_log: Option<u64>,
    /// The last entry it knows to be committed.
    pub committed: Option<At>,
    /// The last entry it applied.
    pub applied: Option<At>,
    /// The last entry in its newest snapshot.
    pub snapshot: Option<At>,
    /// The last entry it removed from its log.
    pub purged: Option<At>,
}

impl Consensus {
    /// What the core believes.
    #[must_use]
    pub fn core(&self) -> Core {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let at = |id: Option<crate::types::LogId>| id.map(|id| (id.leader_id.term, id.index));
        let vote = &metrics.vote;
        Core {
            vote: (
                vote.leader_id.term,
                vote.leader_id.voted_for,
                vote.committed,
            ),
            leads: metrics.state == openraft::ServerState::Leader,
            last_log: metrics.last_log_index,
            committed: at(metrics.local_committed),
            applied: at(metrics.last_applied),
            snapshot: at(metrics.snapshot),
            purged: at(metrics.purged),
        }
    }

    /// Lets the core campaign now, whoever leads, without asking before whether it would win.
    pub async fn campaign(&self) {
        // An error says that the core stopped.
        let _ = self.raft().trigger().elect(false).await;
    }
}

fn id(metadata: &Metadata) -> Id {
    (metadata.ino(), metadata.created().ok())
}

fn names_in(dir: &Path) -> io::Result<BTreeMap<OsString, Id>> {
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        names.insert(entry.file_name(), id(&entry.metadata()?));
    }
    Ok(names)
}

impl Disk {
    fn synced(&mut self, file: &File, path: &Path) -> io::Result<()> {
        if self.pace.lies.about(path) {
            return Ok(());
        }
        self.counts.syncs += 1;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            self.names.insert(id(&metadata), names_in(path)?);
        } else {
            self.files.insert(id(&metadata), std::fs::read(path)?);
        }
        Ok(())
    }

    /// Notes everything below `dir` as durable.
    fn note_tree(&mut self, dir: &Path) -> io::Result<()> {
        self.names
            .insert(id(&std::fs::metadata(dir)?), names_in(dir)?);
        for entry in std::fs::read_dir(dir)? {
            let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if metadata.is_dir() {
                self.note_tree(&path)?;
            } else {
                self.files.insert(id(&metadata), std::fs::read(&path)?);
            }
        }
        Ok(())
    }

    fn cut(&mut self, dir: &Path, chance: &mut dyn FnMut() -> u64) -> io::Result<()> {
        self.counts.cuts += 1;
        let newest = content(dir)?;
        let mut tree = Vec::new();
        let root = id(&std::fs::metadata(dir)?);
        self.durable_names(root, PathBuf::new(), &newest, chance, &mut tree);
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else {
                std::fs::remove_file(path)?;
            }
        }
        for (path, bytes) in tree {
            match bytes {
                Some(bytes) => std::fs::write(dir.join(path), bytes)?,
                None => std::fs::create_dir(dir.join(path))?,
            }
        }
        self.files.clear();
        self.names.clear();
        self.note_tree(dir)
    }

    /// What is there after a power cut: directories, and files with their content.
    fn durable_names(
        &mut self,
        own: Id,
        below: PathBuf,
        newest: &BTreeMap<Id, Node>,
        chance: &mut dyn FnMut() -> u64,
        tree: &mut Vec<(PathBuf, Option<Vec<u8>>)>,
    ) {
        let durable = self.names.get(&own).cloned().unwrap_or_default();
        let now = newest.get(&own).and_then(|node| node.names.clone());
        let now = now.unwrap_or_else(|| durable.clone());
        let names = if now != durable && chance().is_multiple_of(2) {
            now
        } else {
            self.counts.names += u64::from(now != durable);
            durable
        };
        for (name, id) in names {
            let path = below.join(name);
            let node = newest.get(&id);
            let is_dir =
                self.names.contains_key(&id) || node.is_some_and(|node| node.names.is_some());
            if is_dir {
                tree.push((path.clone(), None));
                self.durable_names(id, path, newest, chance, tree);
                continue;
            }
            let durable = self.files.get(&id).cloned().unwrap_or_default();
            let now = node.map(|node| &node.bytes);
            let bytes = match now {
                Some(now) if *now != durable => {
                    let mixed = mixed(&durable, now, chance);
                    self.counts.reverted += u64::from(mixed != *now);
                    mixed
                }
                _ => durable,
            };
            tree.push((path, Some(bytes)));
        }
    }
}

/// A file or directory as it is.
#[derive(Debug)]
struct Node {
    names: Option<BTreeMap<OsString, Id>>,
    bytes: Vec<u8>,
}

/// All that is there.
fn content(dir: &Path) -> io::Result<BTreeMap<Id, Node>> {
    fn visit(root: &Path, below: PathBuf, nodes: &mut BTreeMap<Id, Node>) -> io::Result<()> {
        let path = root.join(&below);
        let metadata = std::fs::metadata(&path)?;
        let id = id(&metadata);
        let (names, bytes) = if metadata.is_dir() {
            (Some(names_in(&path)?), Vec::new())
        } else {
            (None, std::fs::read(&path)?)
        };
        let within: Vec<_> = names
            .iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect();
        nodes.insert(id, Node { names, bytes });
        for name in within {
            visit(root, below.join(name), nodes)?;
        }
        Ok(())
    }
    let mut nodes = BTreeMap::new();
    visit(dir, PathBuf::new(), &mut nodes)?;
    Ok(nodes)
}

/// What a file holds whose newest content was not synced: that before, the newest, or sectors of both.
fn mixed(durable: &[u8], newest: &[u8], chance: &mut dyn FnMut() -> u64) -> Vec<u8> {
    match chance() % 3 {
        0 => durable.to_vec(),
        1 => newest.to_vec(),
        _ => {
            let mut mixed = newest.to_vec();
            for (nth, sector) in mixed.chunks_mut(SECTOR_BYTES).enumerate() {
                let from = nth * SECTOR_BYTES;
                if chance().is_multiple_of(2) {
                    for (at, byte) in sector.iter_mut().enumerate() {
                        *byte = durable.get(from + at).copied().unwrap_or(0);
                    }
                }
            }
            mixed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_power_cut_leaves_what_was_synced() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path();
        add_disk(dir).expect("empty");
        let mut kept = File::create(dir.join("kept")).expect("made");
        kept.write_all(b"durable").expect("written");
        synced(&kept).expect("noted");
        synced(&File::open(dir).expect("there")).expect("noted");
        kept.write_all(b" and not").expect("written");
        let unnamed = File::create(dir.join("unnamed")).expect("made");
        synced(&unnamed).expect("noted");
        // Always the worst.
        cut_power(dir, &mut || 3).expect("cut");
        assert_eq!(std::fs::read(dir.join("kept")).expect("there"), b"durable");
        assert!(!dir.join("unnamed").exists());
        let counts = disk_counts(dir);
        assert_eq!((counts.cuts, counts.reverted, counts.names), (1, 1, 1));
    }

    #[test]
    fn a_disk_that_lies_loses_what_it_said_was_durable() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path();
        add_disk(dir).expect("empty");
        set_pace(
            dir,
            Pace {
                lies: Lies::Everything,
                ..Pace::default()
            },
        );
        let file = File::create(dir.join("file")).expect("made");
        synced(&file).expect("it says so");
        synced(&File::open(dir).expect("there")).expect("it says so");
        cut_power(dir, &mut || 3).expect("cut");
        assert!(!dir.join("file").exists());
    }
}
