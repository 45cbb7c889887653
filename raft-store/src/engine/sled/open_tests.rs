use super::*;

/// As large as sled has it by default.
const SEGMENT_BYTES: usize = 512 * 1024;

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("temporary directory");
    for entry in std::fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        let target = to.path().join(path.file_name().expect("a name"));
        if path.is_dir() {
            std::fs::create_dir(target).expect("made");
        } else {
            std::fs::copy(path, target).expect("copied");
        }
    }
    to
}

/// A database whose one page was written again and again, as a kill leaves it: what is alive lies at
/// the end of its file.
fn written(value: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let db = open_db(dir.path(), &Progress::UNWATCHED).expect("opens");
    for n in 0..=value {
        let value = [n.to_be_bytes().as_slice(), &[7; 1000]].concat();
        db.insert(b"k", value).expect("written");
        if n % 16 == 0 {
            db.flush().expect("flushed");
        }
    }
    db.flush().expect("flushed");
    copy_of(dir.path())
}

fn check(dir: &Path, value: u32) {
    let db = open_db(dir, &Progress::UNWATCHED).expect("opens");
    let found = db.get(b"k").expect("read").expect("there");
    assert_eq!(found[..4], value.to_be_bytes());
}

fn cleared(dir: &Path) -> Vec<bool> {
    let db = std::fs::read(dir.join("db")).expect("readable");
    let segments = db.chunks(SEGMENT_BYTES);
    segments
        .map(|segment| segment[..20].iter().all(|byte| *byte == 0))
        .collect()
}

fn only_index(dir: &Path) -> String {
    let mut indexes = listed(dir, INDEX_PREFIX).expect("listed");
    assert_eq!(indexes.len(), 1, "{indexes:?}");
    indexes.remove(0)
}

#[test]
fn an_index_that_is_cut_short_keeps_nothing_from_opening() {
    let killed = written(700);
    check(killed.path(), 700);
    let index = only_index(killed.path());
    let whole = std::fs::read(killed.path().join(&index)).expect("readable");
    for bytes in [0, 12, whole.len() / 2, whole.len() - 1, whole.len()] {
        let dir = copy_of(killed.path());
        let incomplete = format!("snap.7FFFFFFFFFFFFFFF{INCOMPLETE_SUFFIX}");
        std::fs::write(dir.path().join(incomplete), &whole[..bytes]).expect("written");
        check(dir.path(), 700);
    }
}

#[test]
fn an_opening_that_is_cut_short_at_any_step_can_be_repeated() {
    // With an index of an earlier opening, and with none.
    for earlier in [false, true] {
        let mut killed = written(1500);
        if earlier {
            let db = open_db(killed.path(), &Progress::UNWATCHED).expect("opens");
            for n in 1501..=3000_u32 {
                let value = [n.to_be_bytes().as_slice(), &[7; 1000]].concat();
                db.insert(b"k", value).expect("written");
            }
            db.flush().expect("flushed");
            killed = copy_of(killed.path());
        }
        let value = if earlier { 3000 } else { 1500 };
        // Nothing was done but the copy.
        let dir = copy_of(killed.path());
        keep_index(dir.path()).expect("kept");
        assert_eq!(
            listed(dir.path(), KEPT_PREFIX).expect("listed").len(),
            usize::from(earlier)
        );
        check(dir.path(), value);
        // The new index is not remembered, the removal of the old one is.
        let dir = copy_of(killed.path());
        keep_index(dir.path()).expect("kept");
        for index in listed(dir.path(), INDEX_PREFIX).expect("listed") {
            std::fs::remove_file(dir.path().join(index)).expect("removed");
        }
        std::fs::create_dir_all(dir.path().join("blobs").join(STOP)).expect("made");
        check(dir.path(), value);
        // The new index is durable, and nothing was cleared yet.
        let dir = copy_of(killed.path());
        assert!(recover_index(dir.path()).expect("recovered").is_none());
        only_index(dir.path());
        assert_eq!(cleared(dir.path()), cleared(killed.path()));
        check(copy_of(dir.path()).path(), value);
        drop(open_db(dir.path(), &Progress::UNWATCHED).expect("opens"));
        if !earlier {
            assert_ne!(cleared(dir.path()), cleared(killed.path()));
        }
        check(dir.path(), value);
        assert!(listed(dir.path(), KEPT_PREFIX).expect("listed").is_empty());
        assert!(!dir.path().join("blobs").join(STOP).exists());
    }
}

/// Why all this is done.
#[test]
fn without_the_index_of_its_opening_a_database_is_lost() {
    let dir = written(1500);
    drop(open_db(dir.path(), &Progress::UNWATCHED).expect("opens"));
    std::fs::remove_file(dir.path().join(only_index(dir.path()))).expect("removed");
    let db = open_db(dir.path(), &Progress::UNWATCHED).expect("opens");
    assert_eq!(db.get(b"k").expect("read"), None);
}
