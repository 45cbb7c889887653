//! What tasks say about themselves: a file to which each appends its id when it runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regency_client::TaskBuilder;

/// The file, and tasks that sign in it.
#[derive(Debug, Clone)]
pub struct Ledger {
    dir: PathBuf,
}

impl Ledger {
    /// A ledger in a directory that exists.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// A task that signs and ends.
    pub fn short_task(&self, id: &str) -> TaskBuilder {
        self.task(id, "true")
    }

    /// A task that signs, and ends when [`Self::release`] says so.
    pub fn waiting_task(&self, id: &str) -> TaskBuilder {
        self.task(
            id,
            "while ! [ -e \"$DIR/release-$TASK\" ]; do sleep 0.05; done",
        )
    }

    fn task(&self, id: &str, then: &str) -> TaskBuilder {
        TaskBuilder::shell(id, format!("echo \"$TASK\" >> \"$DIR/ledger\"; {then}"))
            .env("TASK", id)
            .env("DIR", self.dir.to_string_lossy())
            .cpus(0.1)
            .mem_mb(32.0)
    }

    /// Lets a waiting task end.
    ///
    /// # Panics
    /// When the directory cannot be written.
    pub fn release(&self, id: &str) {
        std::fs::write(self.dir.join(format!("release-{id}")), "").expect("a writable directory");
    }

    /// How often each task ran.
    #[must_use]
    pub fn runs(&self) -> BTreeMap<String, u64> {
        let mut runs = BTreeMap::new();
        let text = std::fs::read_to_string(self.dir.join("ledger")).unwrap_or_default();
        for id in text.lines() {
            *runs.entry(id.to_owned()).or_default() += 1;
        }
        runs
    }

    /// Asserts that exactly these tasks ran, each once.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_ran_once<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let expected: BTreeMap<String, u64> =
            ids.into_iter().map(|id| (id.to_owned(), 1)).collect();
        assert_eq!(self.runs(), expected, "how often each task ran");
    }
}
