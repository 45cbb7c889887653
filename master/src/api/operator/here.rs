//! What the handlers reach in a running master.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regency_raft_store::ProposeError;
use regency_state::{ApplyOperation, Command, TeardownFramework, Verdict};
use regency_types::FrameworkId;

use super::{EventHub, LeaderAt, OperatorCx, OwnedView, ShownFiles, Unavailable};
use crate::api::ApiCx;
use crate::api::cx::Where;
use crate::counters;

/// A running master.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    api: ApiCx,
    /// Whether this master caught up once since its process started. Afterwards it may be behind,
    /// but never goes back.
    caught_up: Arc<AtomicBool>,
    events: Arc<EventHub>,
}

impl Here {
    pub(crate) fn new(api: ApiCx, events: Arc<EventHub>) -> Self {
        Self {
            api,
            events,
            caught_up: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Notes the moment in which this master has caught up, also when nobody asks for it just then.
    pub(crate) async fn catch_up(self) {
        let mut states = self.api.consensus.state();
        let mut leadership = self.api.consensus.leadership();
        while self.ready().is_err() {
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                changed = leadership.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl OperatorCx for Here {
    fn view(&self) -> OwnedView {
        let applied = self.api.consensus.state().get();
        OwnedView {
            state: applied.state.clone(),
            index: applied.index,
            live: self.api.live(),
            identity: Arc::clone(&self.api.identity),
        }
    }

    fn ready(&self) -> Result<(), Unavailable> {
        if self.caught_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        let status = self.api.consensus.status();
        if let Some(why) = status.halted {
            return Err(Unavailable(format!("this master halted: {why}")));
        }
        if status.leader.is_none() {
            return Err(Unavailable(
                "no leader was heard since the start".to_owned(),
            ));
        }
        if status.applied_index < status.committed_index {
            return Err(Unavailable(format!(
                "entries up to {} are committed, applied are those up to {}",
                status.committed_index.unwrap_or(0),
                status.applied_index.unwrap_or(0)
            )));
        }
        self.caught_up.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn leader(&self) -> LeaderAt {
        match self.api.leader() {
            Where::Here(_) => LeaderAt::Here,
            Where::There(master) => LeaderAt::There(master.http),
            Where::Nowhere => LeaderAt::Nowhere,
        }
    }

    async fn barrier(&self) -> Result<u64, Unavailable> {
        let barrier = self.api.consensus.read_barrier().await;
        barrier.map_err(|error| Unavailable(error.to_string()))
    }

    async fn applied(&self, index: u64, within: Duration) -> Result<(), Unavailable> {
        let states = self.api.consensus.state();
        match states.wait_for(index, within).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Unavailable(error.to_string())),
        }
    }

    async fn teardown(&self, framework: FrameworkId) -> Result<Verdict, ProposeError> {
        let command = Command::TeardownFramework(TeardownFramework { framework });
        self.api.consensus.propose(command).await
    }

    async fn apply_operation(&self, command: ApplyOperation) -> Result<Verdict, ProposeError> {
        let command = Command::ApplyOperation(command);
        self.api.consensus.propose(command).await
    }

    async fn propose(&self, command: Command) -> Result<Verdict, ProposeError> {
        self.api.consensus.propose(command).await
    }

    fn events(&self) -> &Arc<EventHub> {
        &self.events
    }

    fn files(&self) -> Arc<ShownFiles> {
        Arc::clone(&self.api.files)
    }

    fn counted(&self) -> BTreeMap<String, f64> {
        counters::keys(&self.api.consensus.state().get().state)
    }

    fn metrics_text(&self) -> String {
        self.api.recorder.render()
    }
}
