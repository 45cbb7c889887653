//! The canonical digest by which a leader and an agent compare what runs there.
//!
//! Both sides feed the same records in the same order; equal digests mean that a re-attachment
//! needs no log entry. The digest is an audit, not a proof against an adversary, so a fast
//! non-cryptographic hash with 128 bits is used. `VERSION` is mixed in: a change of what is fed
//! must raise it.

use xxhash_rust::xxh3::Xxh3Default;

use crate::{ExecutorId, FrameworkId, Generation, TaskKey, TaskState, UpdateUuid};

/// Version of the digest's content.
pub const VERSION: u32 = 1;

/// A 128-bit digest over the tasks of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

/// Builds a [`Digest`]; feed tasks in ascending order of their key.
pub struct DigestBuilder {
    hasher: Xxh3Default,
}

impl Default for DigestBuilder {
    fn default() -> Self {
        let mut hasher = Xxh3Default::new();
        hasher.update(&VERSION.to_le_bytes());
        Self { hasher }
    }
}

impl DigestBuilder {
    /// Adds one task: its key, launch generation, newest state, and the uuid of the update at the
    /// head of its stream when one is unacknowledged.
    pub fn task(
        &mut self,
        key: &TaskKey,
        generation: Generation,
        latest_state: TaskState,
        head: Option<UpdateUuid>,
    ) {
        self.text(key.framework.as_str());
        self.text(key.task.as_str());
        self.hasher.update(&generation.0.to_le_bytes());
        self.hasher.update(&latest_state.number().to_le_bytes());
        match head {
            None => self.hasher.update(&[0]),
            Some(uuid) => {
                self.hasher.update(&[1]);
                self.hasher.update(&uuid.0.to_be_bytes());
            }
        }
    }

    /// Adds one executor that has not ended, after all tasks, in ascending order of framework, id and
    /// instance.
    pub fn executor(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        instance: Generation,
    ) {
        // No task begins like this: it would have a framework id of that length.
        self.hasher.update(&u64::MAX.to_le_bytes());
        self.text(framework.as_str());
        self.text(executor.as_str());
        self.hasher.update(&instance.0.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        // The length keeps ("ab","c") apart from ("a","bc").
        self.hasher.update(&(text.len() as u64).to_le_bytes());
        self.hasher.update(text.as_bytes());
    }

    /// The digest of everything fed.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.hasher.digest128())
    }
}
