use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::members::former::Former;
use crate::space::Space;
use crate::types::{SnapshotMeta, log_id};
use regency_state::State;
use regency_types::ClusterId;

const HALF: u64 = 50;

/// A snapshot of some other master, and a store that gets it.
struct Fixture {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    announced: Announced,
}

fn fixture(index: u64) -> Fixture {
    let dir = tempfile::tempdir().expect("temporary directory");
    let theirs = SnapshotStore::open(&dir.path().join("theirs"), "test").expect("opens");
    let file = theirs
        .write(
            ClusterId(1),
            &meta(index),
            &Former::default(),
            &State::default(),
        )
        .expect("written");
    let bytes = file
        .read_at(0, usize::try_from(file.bytes()).expect("small"))
        .expect("readable");
    Fixture {
        dir,
        announced: Announced {
            last: meta(index).last_log_id,
            bytes: file.bytes(),
            digest: Some(file.digest().expect("whole")),
        },
        bytes: bytes.to_vec(),
    }
}

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(2, index)),
        last_membership: Default::default(),
    }
}

impl Fixture {
    /// As a start of the process finds it.
    fn store(&self) -> SnapshotStore {
        SnapshotStore::open(&self.dir.path().join("ours"), "test").expect("opens")
    }

    fn half(&self) -> &[u8] {
        &self.bytes[..HALF as usize]
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[HALF as usize..]
    }

    /// A store with half of the snapshot.
    fn halved(&self) -> SnapshotStore {
        let store = self.store();
        let mut receiving = store.receive(self.announced, 0).expect("begins");
        receiving.write(self.half()).expect("written");
        drop(receiving);
        store
    }
}

#[test]
fn a_part_outlives_the_transfer_and_the_process() {
    let f = fixture(9);
    let store = f.halved();
    assert_eq!(store.received_bytes(&f.announced).expect("asked"), HALF);
    drop(store);
    let store = f.store();
    assert_eq!(store.received_bytes(&f.announced).expect("asked"), HALF);
    assert_eq!(store.receiving(), None);
    let mut receiving = store.receive(f.announced, HALF).expect("goes on");
    assert_eq!(store.receiving(), Some(receiving.progress()));
    receiving.write(f.rest()).expect("written");
    let file = receiving.finish().expect("whole");
    assert_eq!(
        file.digest().expect("whole"),
        f.announced.digest.expect("told")
    );

    // The process may end before it is installed.
    let store = f.store();
    let all = store.received_bytes(&f.announced).expect("asked");
    assert_eq!(all, f.announced.bytes);
    let receiving = store.receive(f.announced, all).expect("nothing lacks");
    let file = receiving.finish().expect("whole");
    store
        .adopt(&file, f.announced.last.as_ref())
        .expect("installed");
    assert_eq!(store.received_bytes(&f.announced).expect("asked"), 0);
    assert_eq!(store.files().expect("listed").len(), 1);
    let left = std::fs::read_dir(f.dir.path().join("ours")).expect("listed");
    assert_eq!(left.count(), 1);
}

#[test]
fn a_damaged_part_is_thrown_away_when_the_whole_is_checked() {
    let f = fixture(9);
    let store = f.halved();
    let part = Name::of(&f.announced).path(&store.dir);
    let mut bytes = std::fs::read(&part).expect("readable");
    bytes[40] ^= 4;
    std::fs::write(&part, bytes).expect("writable");
    let mut receiving = store.receive(f.announced, HALF).expect("goes on");
    receiving.write(f.rest()).expect("written");
    let error = receiving.finish().expect_err("damaged");
    assert!(matches!(error, ReceiveError::Damaged(_)), "{error}");
    assert_eq!(store.received_bytes(&f.announced).expect("asked"), 0);
}

#[test]
fn a_snapshot_that_is_whole_but_another_one_is_not_taken() {
    let f = fixture(9);
    let mut announced = f.announced;
    announced.digest = announced.digest.map(|digest| digest ^ 1);
    let mut receiving = f.store().receive(announced, 0).expect("begins");
    receiving.write(&f.bytes).expect("written");
    let error = receiving.finish().expect_err("another one");
    assert!(matches!(error, ReceiveError::Damaged(_)), "{error}");
}

#[test]
fn parts_of_other_snapshots_and_old_ones_are_removed() {
    let f = fixture(9);
    let store = f.halved();
    let other = Announced {
        last: Some(log_id(2, 12)),
        ..f.announced
    };
    drop(store.receive(other, 0).expect("begins"));
    assert_eq!(store.received_bytes(&f.announced).expect("asked"), 0);
    assert_eq!(store.parts().expect("listed").len(), 1);
    // A snapshot of our own that holds as much makes it useless.
    let write = |index| {
        store.write(
            ClusterId(1),
            &meta(index),
            &Former::default(),
            &State::default(),
        )
    };
    write(11).expect("written");
    assert_eq!(store.parts().expect("listed").len(), 1);
    write(12).expect("written");
    assert_eq!(store.parts().expect("listed").len(), 0);
    // What an older program left is not understood, and removed.
    let left = store.dir.join(format!("{:032x}.{PART}", 7));
    std::fs::write(&left, "half").expect("writable");
    f.store();
    assert!(!left.exists());
}

#[test]
fn only_the_newest_transfer_writes() {
    let f = fixture(9);
    let store = f.store();
    let mut first = store.receive(f.announced, 0).expect("begins");
    first.write(f.half()).expect("written");
    let mut second = store.receive(f.announced, HALF).expect("takes over");
    let error = first.write(f.rest()).expect_err("too late");
    assert!(matches!(error, ReceiveError::TakenOver), "{error}");
    drop(first);
    assert!(store.receiving().is_some());
    second.write(f.rest()).expect("written");
    second.finish().expect("whole");
}

#[test]
fn neither_gaps_nor_more_nor_less_than_announced_is_taken() {
    let f = fixture(9);
    let store = f.halved();
    let error = store.receive(f.announced, HALF + 1).expect_err("a gap");
    assert!(
        matches!(error, ReceiveError::Gap { have: HALF, .. }),
        "{error}"
    );
    let receiving = store.receive(f.announced, HALF).expect("goes on");
    let error = receiving.finish().expect_err("too short");
    assert!(matches!(error, ReceiveError::TooShort { .. }), "{error}");
    let mut receiving = store.receive(f.announced, HALF).expect("goes on");
    let error = receiving.write(&f.bytes).expect_err("too long");
    assert!(matches!(error, ReceiveError::TooLong { .. }), "{error}");
    drop(receiving);
    assert_eq!(store.received_bytes(&f.announced).expect("asked"), 0);
}

#[test]
fn without_room_nothing_is_begun() {
    let f = fixture(9);
    let free = Arc::new(AtomicU64::new(f.announced.bytes + 99));
    let probed = Arc::clone(&free);
    let probe = move || Ok(probed.load(Ordering::Relaxed));
    let space = Space::with_probe(f.dir.path(), 800, Box::new(probe));
    let store = f.store().with_space(Arc::clone(&space));
    let error = store.receive(f.announced, 0).expect_err("no room");
    assert!(matches!(error, ReceiveError::NoRoom { .. }), "{error}");
    assert_eq!(store.parts().expect("listed").len(), 0);
    free.fetch_add(1, Ordering::Relaxed);
    space.look();
    store.receive(f.announced, 0).expect("just enough");
}

#[test]
fn what_cannot_be_gone_on_with_does_not_stay() {
    let f = fixture(9);
    let store = f.store();
    let announced = Announced {
        digest: None,
        ..f.announced
    };
    let mut receiving = store.receive(announced, 0).expect("begins");
    receiving.write(f.half()).expect("written");
    drop(receiving);
    assert_eq!(store.parts().expect("listed").len(), 0);
    let mut receiving = store.receive(announced, 0).expect("begins");
    receiving.write(&f.bytes).expect("written");
    let file = receiving.finish().expect("checked by itself");
    store.discard(&file);
    let left = std::fs::read_dir(&*store.dir).expect("listed").count();
    assert_eq!(left, 0);
}
