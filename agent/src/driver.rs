//! The loop that feeds the machine and carries out what it asks for.
//!
//! Everything that waits is handled together as one step: its records are one write and one sync,
//! and only then its actions are carried out. While a sync is under way the next inputs gather,
//! so that a busy agent syncs once for many of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use regency_agent_core::{
    Action, Core, Cx, Durable, Fence, Input, Launch, LaunchId, Mint, ProcessFact, Record, Step,
    StopReason, StreamNo,
};
use regency_agent_core::{ContainerId, MasterMessage};
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_runtime::{Clock, IdMint, RandomIds, SystemClock};
use regency_types::{AgentId, UpdateUuid};
use tokio::sync::{mpsc, oneshot};

use crate::attach::{Event, Leave};
use crate::checkpoint::Log;
use crate::checks::Checks;
use crate::convert::{self, Constants};
use crate::metrics;
use crate::tasks::{TaskEvent, Tasks};

/// Most inputs handled in one step; it bounds what one write can hold.
const INPUTS_PER_STEP_MAX: usize = 512;

/// What the agent looks like from outside.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) durable: Durable,
    pub(crate) attached_to: Option<Fence>,
}

/// Asks for a [`View`].
pub(crate) type Look = oneshot::Sender<View>;

/// Where everything that happens comes in.
pub(crate) struct Inbox {
    pub(crate) streams: mpsc::Receiver<Event>,
    pub(crate) tasks: mpsc::Receiver<TaskEvent>,
    pub(crate) looks: mpsc::Receiver<Look>,
}

/// The machine with its hands.
pub(crate) struct Driver {
    core: Core,
    /// Away only while it is being written.
    log: Option<Log>,
    tasks: Tasks,
    checks: Checks,
    constants: Constants,
    clock: SystemClock,
    mint: Random,
    /// The newest stream, and where to send on it.
    stream: Option<(StreamNo, mpsc::Sender<rpc::AgentMessage>)>,
    leaves: mpsc::Sender<Leave>,
    was_attached: bool,
}

struct Random;

impl Mint for Random {
    fn update_uuid(&mut self) -> UpdateUuid {
        RandomIds.update_uuid()
    }

    fn container_id(&mut self) -> ContainerId {
        ContainerId(RandomIds.uuid())
    }
}

impl Driver {
    pub(crate) fn new(
        core: Core,
        log: Log,
        tasks: Tasks,
        checks: Checks,
        constants: Constants,
        leaves: mpsc::Sender<Leave>,
    ) -> Self {
        Self {
            core,
            log: Some(log),
            tasks,
            checks,
            constants,
            clock: SystemClock::default(),
            mint: Random,
            stream: None,
            leaves,
            was_attached: false,
        }
    }

    /// Tells the machine what was found at the start, and carries out what follows from it.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub(crate) async fn recover(
        &mut self,
        facts: BTreeMap<LaunchId, ProcessFact>,
    ) -> anyhow::Result<()> {
        let boot = self.constants.boot;
        let step = self.step(|core, cx| core.recover(boot, &facts, cx));
        self.carry_out(step).await
    }

    /// Follows everything that happens until the agent must end.
    ///
    /// # Errors
    /// Why it must end.
    pub(crate) async fn run(mut self, mut inbox: Inbox) -> anyhow::Result<()> {
        loop {
            let tick = self.until_tick();
            let mut batch = Batch::default();
            tokio::select! {
                Some(event) = inbox.streams.recv() => self.take_stream_event(event, &mut batch),
                Some(event) = inbox.tasks.recv() => self.take_task_event(event, &mut batch),
                Some(look) = inbox.looks.recv() => self.answer(look),
                () = tokio::time::sleep(tick) => {}
            }
            while batch.inputs.len() < INPUTS_PER_STEP_MAX
                && let Ok(event) = inbox.tasks.try_recv()
            {
                self.take_task_event(event, &mut batch);
            }
            while batch.inputs.len() < INPUTS_PER_STEP_MAX
                && let Ok(event) = inbox.streams.try_recv()
            {
                self.take_stream_event(event, &mut batch);
            }
            batch.inputs.push(Input::Tick);
            let step = self.step(|core, cx| {
                for input in batch.inputs {
                    core.handle(input, cx);
                }
                core.flush(cx);
            });
            self.carry_out(step).await?;
        }
    }

    fn until_tick(&self) -> Duration {
        /// A tick comes at least this often, so that nothing can hang on a forgotten deadline.
        const IDLE: Duration = Duration::from_secs(1);
        let now_ms = self.clock.monotonic_ms();
        let due = self.core.next_tick_ms();
        due.map_or(IDLE, |at_ms| {
            Duration::from_millis(at_ms.saturating_sub(now_ms)).min(IDLE)
        })
    }

    fn step(&mut self, decide: impl FnOnce(&mut Core, &mut Cx<'_>)) -> Step {
        let mut step = Step::default();
        let mut cx = Cx {
            now_ms: self.clock.monotonic_ms(),
            wall: self.clock.wall(),
            mint: &mut self.mint,
            step: &mut step,
        };
        decide(&mut self.core, &mut cx);
        step
    }

    fn take_stream_event(&mut self, event: Event, batch: &mut Batch) {
        match event {
            Event::Opened(stream, outbound) => {
                self.stream = Some((stream, outbound));
                batch.inputs.push(Input::StreamOpened(stream));
            }
            Event::Said(stream, message) => match convert::from_master(message) {
                Ok((fence, message)) => {
                    count_launches(&message);
                    batch.inputs.push(Input::Received(stream, fence, message));
                }
                Err(error) => {
                    tracing::warn!(%error, "a master said something without sense");
                    self.leave(stream, None);
                }
            },
            Event::Closed(stream) => {
                self.stream.take_if(|(open, _)| *open == stream);
                batch.inputs.push(Input::StreamClosed(stream));
            }
        }
    }

    fn take_task_event(&mut self, event: TaskEvent, batch: &mut Batch) {
        match event {
            TaskEvent::Prepared(id, shim, process) => {
                self.tasks.keep(id.clone(), shim);
                batch.inputs.push(Input::Prepared(id, process));
            }
            TaskEvent::Input(input) => {
                if let Input::Ended(id, _) | Input::LaunchFailed(id, _) = &input {
                    self.tasks.ended(id);
                    self.checks.end(id);
                }
                batch.inputs.push(input);
            }
        }
    }

    fn answer(&self, look: Look) {
        let view = View {
            durable: self.core.durable().clone(),
            attached_to: self.core.attached_to(),
        };
        // Whoever asked may have gone.
        let _ = look.send(view);
    }

    async fn carry_out(&mut self, mut step: Step) -> anyhow::Result<()> {
        for volume in step.take_destroyed_volumes() {
            self.tasks.destroy_volume(&volume, RandomIds.uuid())?;
        }
        let records = step.take_records();
        if !records.is_empty() {
            count_updates(&records);
            self.make_durable(records).await?;
            self.gauge_tasks();
        }
        for action in step.take_actions() {
            self.act(action)?;
        }
        let attached = self.core.attached_to().is_some();
        if attached != self.was_attached {
            self.was_attached = attached;
            ::metrics::gauge!(metrics::ATTACHED).set(if attached { 1.0 } else { 0.0 });
            if attached {
                ::metrics::counter!(metrics::ATTACHMENTS_TOTAL).increment(1);
            }
        }
        Ok(())
    }

    async fn make_durable(&mut self, records: Vec<Record>) -> anyhow::Result<()> {
        let mut log = self.log.take().context("an earlier checkpoint failed")?;
        let begun = Instant::now();
        // Of this very step: nothing is decided while it is being written.
        let picture = log.wants_rewrite().then(|| self.core.durable().clone());
        let written = tokio::task::spawn_blocking(move || {
            match picture {
                Some(picture) => log.rewrite(picture)?,
                None => log.append(&records)?,
            }
            Ok::<_, crate::checkpoint::WriteError>(log)
        });
        let log = written.await.context("a checkpoint was interrupted")??;
        ::metrics::histogram!(metrics::CHECKPOINT_SYNC_SECONDS).record(begun.elapsed());
        ::metrics::gauge!(metrics::CHECKPOINT_BYTES).set(log.len_bytes() as f64);
        self.log = Some(log);
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), StopReason> {
        match action {
            Action::Send(stream, message) => self.send(stream, message),
            Action::Reattach { stream, why, hint } => {
                // While searching, every master that does not lead is left again.
                if self.was_attached {
                    tracing::info!(why, "looking for a leader");
                } else {
                    tracing::debug!(why, "looking for a leader");
                }
                self.leave(stream, hint);
            }
            Action::Prepare(id) => self.prepare(&id),
            Action::Go(id) => self.tasks.go(&id),
            Action::Abort(id) => self.tasks.abort(&id),
            Action::Check(id) => self.check(&id),
            Action::Terminate(id) => {
                self.checks.end(&id);
                self.tasks.terminate(&id);
            }
            Action::Destroy(id) => self.tasks.destroy(&id),
            Action::Forget(id, container) => self.tasks.forget(&id, container),
            Action::Stop(reason) => return Err(reason),
        }
        Ok(())
    }

    fn send(&mut self, stream: StreamNo, message: regency_agent_core::AgentMessage) {
        let Some((open, outbound)) = &self.stream else {
            return;
        };
        if *open != stream {
            return;
        }
        let agent_id = self.core.durable().agent_id.as_ref();
        let message = convert::to_master(message, &self.constants, agent_id);
        // What the master misses, the cursors of the next attachment find again.
        match outbound.try_send(message) {
            Ok(()) => {}
            // The stream ended; that is about to be told.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!("the master does not read what this agent says");
                self.leave(stream, None);
            }
        }
    }

    fn leave(&mut self, stream: StreamNo, hint: Option<String>) {
        self.stream.take_if(|(open, _)| *open == stream);
        // Full only when streams end faster than anybody can leave them; then this one is ending.
        let _ = self.leaves.try_send(Leave { stream, hint });
    }

    fn prepare(&mut self, id: &LaunchId) {
        if let Some((agent_id, launch, info)) = self.launch(id) {
            self.tasks.prepare(agent_id, launch, info);
        }
    }

    fn check(&mut self, id: &LaunchId) {
        let Some((agent_id, launch, info)) = self.launch(id) else {
            return;
        };
        let started = self.core.durable().tasks.get(id).and_then(|t| t.started);
        let now = self.clock.wall();
        let age_ms = started.map_or(0, |started| now.0.saturating_sub(started.0));
        let age = Duration::from_millis(age_ms);
        self.checks.begin(agent_id, launch, info, age);
    }

    /// A launch in the table, with the agent's id and the framework's description.
    fn launch(&self, id: &LaunchId) -> Option<(AgentId, Launch, Bytes)> {
        let durable = self.core.durable();
        let task = durable.tasks.get(id)?;
        let info = durable.frameworks.get(&id.key.framework).cloned();
        let info = info.unwrap_or_default();
        Some((durable.agent_id.clone()?, task.launch.clone(), info))
    }

    fn gauge_tasks(&self) {
        let tasks = &self.core.durable().tasks;
        let n_updates: usize = tasks.values().map(|task| task.updates.len()).sum();
        ::metrics::gauge!(metrics::TASKS).set(tasks.len() as f64);
        ::metrics::gauge!(metrics::UPDATES_PENDING).set(n_updates as f64);
    }
}

/// Inputs that are handled in one step.
#[derive(Default)]
struct Batch {
    inputs: Vec<Input>,
}

fn count_launches(message: &MasterMessage) {
    use regency_agent_core::Command;
    if let MasterMessage::Commands(commands) = message {
        let launches = commands
            .iter()
            .filter(|c| matches!(c.command, Command::Launch { .. }));
        ::metrics::counter!(metrics::LAUNCHES_TOTAL).increment(launches.count() as u64);
    }
}

fn count_updates(records: &[Record]) {
    for record in records {
        if let Record::Adopted {
            cluster, agent_id, ..
        } = record
        {
            tracing::warn!(
                cluster_id = %cluster,
                %agent_id,
                "this agent now belongs to the cluster that goes on with the state of its former one"
            );
        }
        if let Record::Updated { update, .. } = record {
            ::metrics::counter!(metrics::UPDATES_TOTAL, metrics::STATE => update.state.name())
                .increment(1);
        }
    }
}
