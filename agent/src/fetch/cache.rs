//! Files that were fetched with `cache`, kept for the next task that wants them.
//!
//! The directory is emptied at each start of the agent and never holds more than its limit; what
//! was not used for the longest time goes first. A file that is being read may go: whoever has
//! it open reads it to its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::metrics;

/// What a file is known by: two users do not share what one of them may read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) owner: Option<(u32, u32)>,
    pub(super) uri: String,
}

/// All cached files.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: BTreeMap<Key, Slot>,
    used: u64,
    /// Grows with every use; the smallest is the one longest ago.
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    /// Held while the file is brought: others who want it wait, and then have it.
    filling: Arc<tokio::sync::Mutex<()>>,
    /// There, of this size, under this name.
    file: Option<(PathBuf, u64)>,
    last_use: u64,
}

impl Cache {
    /// Empties the directory, making it when it is not there.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) fn open(folder: PathBuf, bytes_max: u64) -> io::Result<Self> {
        match std::fs::remove_dir_all(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        std::fs::create_dir_all(&folder)?;
        // Files of all users lie here.
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&folder, only_ours)?;
        ::metrics::gauge!(metrics::FETCH_CACHE_LIMIT_BYTES).set(bytes_max as f64);
        Ok(Self {
            folder,
            bytes_max,
            inner: Mutex::default(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Whatever panicked, the counts are whole after each statement.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What to hold while looking for a file or bringing it.
    pub(super) fn turn(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut inner = self.inner();
        let slot = inner.slots.entry(key.clone()).or_insert_with(|| Slot {
            filling: Arc::default(),
            file: None,
            last_use: 0,
        });
        Arc::clone(&slot.filling)
    }

    /// The file, when it is there. To be called while its turn is held.
    pub(super) fn find(&self, key: &Key) -> Option<File> {
        let mut inner = self.inner();
        inner.clock += 1;
        let now = inner.clock;
        let slot = inner.slots.get_mut(key)?;
        slot.last_use = now;
        let (path, _) = slot.file.as_ref()?;
        File::open(path).ok()
    }

    /// A new file to bring it into. To be called while its turn is held.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) fn fill(self: &Arc<Self>, key: Key) -> io::Result<(Filling, File)> {
        let name = uuid::Uuid::new_v4().to_string();
        let path = self.folder.join(name);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        let filling = Filling {
            cache: Arc::clone(self),
            key,
            path,
            bytes: 0,
            is_kept: false,
        };
        Ok((filling, file))
    }

    /// Makes room for `bytes` more, if that is possible at all.
    fn reserve(&self, bytes: u64) -> bool {
        let mut inner = self.inner();
        while inner.used.saturating_add(bytes) > self.bytes_max {
            let oldest = inner
                .slots
                .iter()
                .filter(|(_, slot)| slot.file.is_some())
                .min_by_key(|(_, slot)| slot.last_use)
                .map(|(key, _)| key.clone());
            let Some((path, freed)) = oldest
                .and_then(|key| inner.slots.remove(&key))
                .and_then(|slot| slot.file)
            else {
                return false;
            };
            remove(&path);
            inner.used -= freed;
        }
        inner.used += bytes;
        ::metrics::gauge!(metrics::FETCH_CACHE_BYTES).set(inner.used as f64);
        true
    }
}

fn remove(path: &std::path::Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a cached file stays behind");
    }
}

/// A file on its way into the cache. Dropped before [`Self::keep`], it leaves nothing.
#[derive(Debug)]
pub(super) struct Filling {
    cache: Arc<Cache>,
    key: Key,
    path: PathBuf,
    bytes: u64,
    is_kept: bool,
}

impl Filling {
    /// Makes room for so many bytes more; `false` when there cannot be any.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let there_is = self.cache.reserve(bytes);
        if there_is {
            self.bytes += bytes;
        }
        there_is
    }

    /// The file is whole.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
        let mut inner = self.cache.inner();
        inner.clock += 1;
        let last_use = inner.clock;
        let slot = inner.slots.entry(self.key.clone()).or_insert_with(|| Slot {
            filling: Arc::default(),
            file: None,
            last_use,
        });
        slot.last_use = last_use;
        let former = slot.file.replace((self.path.clone(), self.bytes));
        // Two brought it, because the first one's slot was given up meanwhile.
        if let Some((path, bytes)) = former {
            remove(&path);
            inner.used = inner.used.saturating_sub(bytes);
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        remove(&self.path);
        let mut inner = self.cache.inner();
        inner.used = inner.used.saturating_sub(self.bytes);
        ::metrics::gauge!(metrics::FETCH_CACHE_BYTES).set(inner.used as f64);
        // Nobody may ever ask for it again.
        inner.slots.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn key(uri: &str) -> Key {
        Key {
            owner: None,
            uri: uri.to_owned(),
        }
    }

    fn put(cache: &Arc<Cache>, uri: &str, content: &str) -> bool {
        let (mut filling, mut file) = cache.fill(key(uri)).expect("a file");
        if !filling.grow(content.len() as u64) {
            return false;
        }
        file.write_all(content.as_bytes()).expect("a writable disk");
        filling.keep();
        true
    }

    fn get(cache: &Cache, uri: &str) -> Option<String> {
        let mut content = String::new();
        cache
            .find(&key(uri))?
            .read_to_string(&mut content)
            .expect("a file");
        Some(content)
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cache");
        let cache = Arc::new(Cache::open(path.clone(), 10).expect("a folder"));
        assert!(put(&cache, "a", "aaaa"));
        assert!(put(&cache, "b", "bbbb"));
        let open = cache.find(&key("b"));
        assert_eq!(get(&cache, "a").as_deref(), Some("aaaa"));
        assert!(put(&cache, "c", "cccc"));
        assert_eq!(get(&cache, "b"), None);
        assert_eq!(get(&cache, "a").as_deref(), Some("aaaa"));
        let mut content = String::new();
        open.expect("a file")
            .read_to_string(&mut content)
            .expect("a file");
        assert_eq!(content, "bbbb", "an open file is read to its end");
        assert!(!put(&cache, "d", "more than ten"));
        let n_files = || std::fs::read_dir(&path).expect("a folder").count();
        assert!(n_files() <= 2);
        // A start empties it.
        let cache = Arc::new(Cache::open(path.clone(), 10).expect("a folder"));
        assert_eq!((get(&cache, "a"), n_files()), (None, 0));
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Arc::new(Cache::open(folder.path().join("c"), 10).expect("a folder"));
        let (mut filling, _) = cache.fill(key("a")).expect("a file");
        assert!(filling.grow(10));
        assert!(!filling.grow(1));
        drop(filling);
        assert!(put(&cache, "b", "0123456789"));
    }
}
