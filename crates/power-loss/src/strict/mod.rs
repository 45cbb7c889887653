//! The strict model: a disk on which only what was synced is certain.
//!
//! [`Disk`] is a file system in memory that knows, for each file and each directory, what is durable
//! and which changes came since. At a power cut each of those changes survives with a probability of
//! one half, writes in any order. [`fuse`] shows it to a process.

mod fuse;
mod storage;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

pub(crate) use self::storage::StrictDisk;

/// Number of the topmost directory.
const ROOT: u64 = 1;

/// A change of a file that was not synced.
#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Size(usize),
}

/// A change of a directory that was not synced.
#[derive(Debug, Clone)]
enum NameChange {
    Put(OsString, u64),
    Remove(OsString),
    Rename(OsString, OsString, u64),
}

/// A file or a directory, as a process sees it and as it is on the disk.
#[derive(Debug)]
enum Node {
    File {
        now: Vec<u8>,
        durable: Vec<u8>,
        pending: Vec<Change>,
    },
    Dir {
        now: BTreeMap<OsString, u64>,
        durable: BTreeMap<OsString, u64>,
        pending: Vec<NameChange>,
    },
}

/// Syncs that do nothing, as a fault on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ignored {
    pub(crate) file_syncs: bool,
    pub(crate) dir_syncs: bool,
}

#[derive(Debug)]
struct Disk {
    nodes: HashMap<u64, Node>,
    next: u64,
    rng: SmallRng,
    /// Bytes within which a write survives or is lost as a whole; `None` for all of it.
    sector: Option<usize>,
    ignored: Ignored,
    /// Changes and syncs that are still carried out.
    left: u64,
}

impl Disk {
    fn new(seed: u64, sector: Option<usize>, ignored: Ignored) -> Self {
        Self {
            nodes: HashMap::from([(ROOT, Node::dir())]),
            next: ROOT + 1,
            rng: SmallRng::seed_from_u64(seed),
            sector,
            ignored,
            left: u64::MAX,
        }
    }

    /// Whether the power is still on for one more change or sync.
    fn spend(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    fn add(&mut self, node: Node) -> u64 {
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        number
    }

    fn names(&self, dir: u64) -> Option<&BTreeMap<OsString, u64>> {
        match self.nodes.get(&dir)? {
            Node::Dir { now, .. } => Some(now),
            Node::File { .. } => None,
        }
    }

    fn child(&self, dir: u64, name: &OsStr) -> Option<u64> {
        self.names(dir)?.get(name).copied()
    }

    fn change_file(&mut self, file: u64, change: Change) -> bool {
        let Some(Node::File { now, pending, .. }) = self.nodes.get_mut(&file) else {
            return false;
        };
        change.apply(now);
        pending.push(change);
        true
    }

    fn change_names(&mut self, dir: u64, change: NameChange) -> bool {
        let Some(Node::Dir { now, pending, .. }) = self.nodes.get_mut(&dir) else {
            return false;
        };
        change.apply(now);
        pending.push(change);
        true
    }

    fn sync(&mut self, number: u64) -> bool {
        match self.nodes.get_mut(&number) {
            None => return false,
            Some(Node::File { .. }) if self.ignored.file_syncs => {}
            Some(Node::Dir { .. }) if self.ignored.dir_syncs => {}
            Some(Node::File {
                durable, pending, ..
            }) => {
                for change in pending.drain(..) {
                    change.apply(durable);
                }
            }
            Some(Node::Dir {
                durable, pending, ..
            }) => {
                for change in pending.drain(..) {
                    change.apply(durable);
                }
            }
        }
        true
    }

    /// Loses what was not synced, as chance will have it.
    fn cut_power(&mut self) {
        let (rng, sector) = (&mut self.rng, self.sector);
        // In order of their numbers, so that a seed says what happens.
        let mut numbers: Vec<u64> = self.nodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            match self.nodes.get_mut(&number) {
                Some(Node::File {
                    now,
                    durable,
                    pending,
                }) => {
                    let mut parts: Vec<_> = pending
                        .drain(..)
                        .flat_map(|c| c.into_parts(sector))
                        .collect();
                    parts.retain(|_| rng.random_bool(0.5));
                    parts.shuffle(rng);
                    for part in parts {
                        part.apply(durable);
                    }
                    now.clone_from(durable);
                }
                Some(Node::Dir {
                    now,
                    durable,
                    pending,
                }) => {
                    for change in pending.drain(..) {
                        if rng.random_bool(0.5) {
                            change.apply(durable);
                        }
                    }
                    now.clone_from(durable);
                }
                None => {}
            }
        }
        self.forget_unnamed();
    }

    /// Forgets what no name leads to any more, once no process holds it open.
    fn forget_unnamed(&mut self) {
        let mut named = HashSet::from([ROOT]);
        let mut look = vec![ROOT];
        while let Some(number) = look.pop() {
            if let Some(Node::Dir { now, durable, .. }) = self.nodes.get(&number) {
                for child in now.values().chain(durable.values()) {
                    if named.insert(*child) {
                        look.push(*child);
                    }
                }
            }
        }
        self.nodes.retain(|number, _| named.contains(number));
    }
}

impl Node {
    fn file() -> Self {
        Self::File {
            now: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn dir() -> Self {
        Self::Dir {
            now: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => {
                let end = at + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(data);
            }
            Self::Size(size) => bytes.resize(*size, 0),
        }
    }

    /// What survives or is lost on its own.
    fn into_parts(self, sector: Option<usize>) -> Vec<Self> {
        let (Self::Write { at, data }, Some(sector)) = (&self, sector) else {
            return vec![self];
        };
        let mut parts = Vec::new();
        let mut from = 0;
        while from < data.len() {
            let to = data.len().min(from + sector - (at + from) % sector);
            parts.push(Self::Write {
                at: at + from,
                data: data[from..to].to_vec(),
            });
            from = to;
        }
        parts
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<OsString, u64>) {
        match self {
            Self::Put(name, number) => {
                names.insert(name.clone(), *number);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, number) => {
                names.remove(from);
                names.insert(to.clone(), *number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at: usize, byte: u8, bytes: usize) -> Change {
        Change::Write {
            at,
            data: vec![byte; bytes],
        }
    }

    fn bytes(disk: &Disk, file: u64) -> Vec<u8> {
        match &disk.nodes[&file] {
            Node::File { now, .. } => now.clone(),
            Node::Dir { .. } => panic!("a directory"),
        }
    }

    /// A disk with a durable, empty file.
    fn with_file(seed: u64, sector: Option<usize>) -> (Disk, u64) {
        let mut disk = Disk::new(seed, sector, Ignored::default());
        let file = disk.add(Node::file());
        assert!(disk.change_names(ROOT, NameChange::Put("a".into(), file)));
        assert!(disk.sync(ROOT));
        (disk, file)
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_or_may_not() {
        let mut lost = HashSet::new();
        for seed in 0..50 {
            let (mut disk, file) = with_file(seed, None);
            disk.change_file(file, write(0, 1, 10));
            disk.sync(file);
            disk.change_file(file, write(10, 2, 10));
            disk.change_file(file, write(20, 3, 10));
            disk.cut_power();
            let found = bytes(&disk, file);
            assert_eq!(found[..10], [1; 10]);
            lost.insert((found.get(10).copied(), found.get(20).copied()));
        }
        assert_eq!(lost.len(), 4, "{lost:?}");
    }

    #[test]
    fn a_name_without_a_sync_of_its_directory_may_be_lost() {
        let mut found = HashSet::new();
        for seed in 0..20 {
            let mut disk = Disk::new(seed, None, Ignored::default());
            let file = disk.add(Node::file());
            disk.change_names(ROOT, NameChange::Put("a".into(), file));
            disk.sync(file);
            disk.cut_power();
            let there = disk.child(ROOT, OsStr::new("a")).is_some();
            assert_eq!(disk.nodes.contains_key(&file), there);
            found.insert(there);
        }
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_torn_write_survives_by_sectors() {
        let mut torn = 0;
        for seed in 0..20 {
            let (mut disk, file) = with_file(seed, Some(512));
            disk.change_file(file, Change::Size(4096));
            disk.sync(file);
            disk.change_file(file, write(100, 7, 2000));
            disk.cut_power();
            let found = bytes(&disk, file);
            for sector in found[512..2048].chunks(512) {
                assert!(sector.iter().all(|byte| *byte == sector[0]));
            }
            let there = found.iter().filter(|byte| **byte == 7).count();
            torn += usize::from(there != 0 && there != 2000);
        }
        assert!(torn > 10, "{torn}");
    }
}
