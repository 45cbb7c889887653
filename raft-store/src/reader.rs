//! The applied state, for readers.

use std::sync::Arc;
use std::time::Duration;

use regency_state::State;
use regency_types::Term;
use tokio::sync::watch;

use crate::members::former::Former;

/// A state and the entry that made it.
#[derive(Debug, Clone)]
pub struct AppliedState {
    /// Index of the last entry in it; 0 also before the first.
    pub index: u64,
    /// Term of that entry.
    pub term: Term,
    /// The state. Cloning it is cheap.
    pub state: State,
    /// Who left the cluster up to that entry.
    pub(crate) former: Former,
}

/// Why a wait for an entry ended without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// It was not applied in time.
    #[error("entry {index} is not applied here yet, the last one is {applied}")]
    Timeout {
        /// What was waited for.
        index: u64,
        /// What is applied.
        applied: u64,
    },
    /// This master applies nothing any more.
    #[error("this master has stopped")]
    Stopped,
}

/// Reads the applied state. Neither disturbs apply nor is disturbed by it.
#[derive(Debug, Clone)]
pub struct StateReader {
    states: watch::Receiver<Arc<AppliedState>>,
}

impl StateReader {
    pub(crate) fn new(states: watch::Receiver<Arc<AppliedState>>) -> Self {
        Self { states }
    }

    /// The newest applied state.
    #[must_use]
    pub fn get(&self) -> Arc<AppliedState> {
        Arc::clone(&self.states.borrow())
    }

    /// The newest applied state once it contains entry `index`.
    ///
    /// # Errors
    /// When that takes longer than `timeout`, or never happens.
    pub async fn wait_for(
        &self,
        index: u64,
        timeout: Duration,
    ) -> Result<Arc<AppliedState>, WaitError> {
        let mut states = self.states.clone();
        let waiting = states.wait_for(|applied| applied.index >= index);
        match tokio::time::timeout(timeout, waiting).await {
            Ok(Ok(applied)) => Ok(Arc::clone(&applied)),
            Ok(Err(_)) => Err(WaitError::Stopped),
            Err(_) => Err(WaitError::Timeout {
                index,
                applied: self.states.borrow().index,
            }),
        }
    }

    /// Waits until a state was applied that this reader has not seen by this function. Many
    /// entries may lie between two answers.
    ///
    /// # Errors
    /// When this master applies nothing any more.
    pub async fn changed(&mut self) -> Result<Arc<AppliedState>, WaitError> {
        self.states
            .changed()
            .await
            .map_err(|_| WaitError::Stopped)?;
        Ok(Arc::clone(&self.states.borrow_and_update()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Arc<AppliedState> {
        Arc::new(AppliedState {
            index,
            term: Term(1),
            state: State::default(),
            former: Former::default(),
        })
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_entry_or_says_how_far_it_got() {
        let (tx, rx) = watch::channel(at(4));
        let reader = StateReader::new(rx);
        let soon = Duration::from_millis(10);
        assert_eq!(reader.wait_for(4, soon).await.expect("applied").index, 4);
        assert_eq!(
            reader.wait_for(6, soon).await.expect_err("not applied"),
            WaitError::Timeout {
                index: 6,
                applied: 4
            }
        );
        let waiting = {
            let reader = reader.clone();
            tokio::spawn(async move { reader.wait_for(6, Duration::from_secs(10)).await })
        };
        tx.send_replace(at(5));
        tx.send_replace(at(7));
        assert_eq!(waiting.await.expect("no panic").expect("applied").index, 7);
        drop(tx);
        assert_eq!(
            reader.wait_for(8, soon).await.expect_err("stopped"),
            WaitError::Stopped
        );
    }
}
