//! The loop that feeds the machine and carries out what it asks for.
//!
//! Everything that waits is handled together as one step: its records are one write and one sync,
//! and only then its actions are carried out. While a sync is under way the next inputs gather,
//! so that a busy agent syncs once for many of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use regency_agent_core::{
    Action, Core, Cx, Drain, Durable, ExecutorEvent, ExecutorPhase, Fence, Input, InstanceId,
    Launch, LaunchId, Mint, ProcessFact, Record, Step, StopReason, StreamNo, Subscription,
};
use regency_agent_core::{ContainerId, MasterMessage};
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_runtime::{Clock, IdMint, RandomIds, SystemClock};
use regency_types::{AgentId, TaskId, TaskState, UpdateUuid};
use regency_wire::v1;
use tokio::sync::{mpsc, oneshot};

use crate::attach::{Event, Leave};
use crate::checkpoint::Log;
use crate::checks::Checks;
use crate::convert::{self, Constants};
use crate::executors::{self, Ask, Stranger, Streams, UPDATES_WAITING_MAX, What};
use crate::metrics;
use crate::operator::History;
use crate::tasks::{TaskEvent, Tasks};

/// Most inputs handled in one step; it bounds what one write can hold.
const INPUTS_PER_STEP_MAX: usize = 512;

/// What the agent looks like from outside.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) durable: Durable,
    /// What ended lately.
    pub(crate) history: Arc<History>,
    pub(crate) constants: Arc<Constants>,
    pub(crate) attached_to: Option<Fence>,
    pub(crate) drain: Option<Drain>,
}

/// Asks for a [`View`].
pub(crate) type Look = oneshot::Sender<View>;

/// Where everything that happens comes in.
pub(crate) struct Inbox {
    pub(crate) streams: mpsc::Receiver<Event>,
    pub(crate) tasks: mpsc::Receiver<TaskEvent>,
    pub(crate) looks: mpsc::Receiver<Look>,
    pub(crate) asks: mpsc::Receiver<Ask>,
}

/// The machine with its hands.
pub(crate) struct Driver {
    core: Core,
    /// Away only while it is being written.
    log: Option<Log>,
    tasks: Tasks,
    checks: Checks,
    executors: Streams,
    /// A subscription that must not share a step with what came before it: the executor is told
    /// first that it is subscribed.
    subscription: Option<Ask>,
    constants: Arc<Constants>,
    history: Arc<History>,
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
        history: History,
        leaves: mpsc::Sender<Leave>,
    ) -> Self {
        Self {
            core,
            log: Some(log),
            tasks,
            checks,
            executors: Streams::default(),
            subscription: None,
            constants: Arc::new(constants),
            history: Arc::new(history),
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
            if let Some(ask) = self.subscription.take() {
                self.take_ask(ask, &mut batch);
            } else {
                tokio::select! {
                    Some(event) = inbox.streams.recv() => self.take_stream_event(event, &mut batch),
                    Some(event) = inbox.tasks.recv() => self.take_task_event(event, &mut batch),
                    Some(look) = inbox.looks.recv() => self.answer(look),
                    Some(ask) = inbox.asks.recv() => self.take_ask(ask, &mut batch),
                    () = tokio::time::sleep(tick) => {}
                }
            }
            while batch.inputs.len() < INPUTS_PER_STEP_MAX
                && self.subscription.is_none()
                && let Ok(ask) = inbox.asks.try_recv()
            {
                if matches!(ask.what, What::Subscribe { .. }) {
                    self.subscription = Some(ask);
                } else {
                    self.take_ask(ask, &mut batch);
                }
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
            for answer in batch.answers {
                answer();
            }
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
                    self.executors.close(id);
                    self.checks.end(id);
                }
                batch.inputs.push(input);
            }
        }
    }

    fn answer(&self, look: Look) {
        let view = View {
            durable: self.core.durable().clone(),
            history: Arc::clone(&self.history),
            constants: Arc::clone(&self.constants),
            attached_to: self.core.attached_to(),
            drain: self.core.drain(),
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
            if History::concerns(&records) {
                let durable = self.core.durable();
                Arc::make_mut(&mut self.history).follow(&records, durable);
            }
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
            Action::Tell(id, event) => self.tell(&id, event),
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
            return self.tasks.prepare(agent_id, launch, info);
        }
        let durable = self.core.durable();
        if let Some(executor) = durable.executors.get(id).cloned()
            && let Some(agent_id) = durable.agent_id.clone()
        {
            let info = durable.frameworks.get(&id.key.framework).cloned();
            let info = info.unwrap_or_default();
            if executor.built_in {
                self.tasks
                    .prepare_built_in(agent_id, id.clone(), executor, info);
            } else {
                self.tasks
                    .prepare_executor(agent_id, id.clone(), executor, info);
            }
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

    /// Sends an event to an executor; without a stream it is told when it subscribes again.
    fn tell(&mut self, id: &InstanceId, event: ExecutorEvent) {
        let durable = self.core.durable();
        match executors::event::wire(event, id, durable, &self.constants.info) {
            Some(event) => {
                self.executors.send(id, event);
            }
            None => tracing::error!(executor = %id, "an event speaks of what is not there"),
        }
    }

    /// The instance that a call comes from: the newest that has not ended.
    fn caller(&self, ask: &Ask) -> Result<InstanceId, Stranger> {
        let durable = self.core.durable();
        let known = durable.frameworks.keys();
        let mut known = known.chain(durable.executors.keys().map(|id| &id.key.framework));
        if !known.any(|framework| framework.as_str() == ask.framework) {
            return Err(Stranger::Framework);
        }
        let own = durable.executors.iter().filter(|(id, executor)| {
            id.key.framework.as_str() == ask.framework
                && id.key.task.as_str() == ask.executor
                && executor.is_started()
        });
        own.map(|(id, _)| id)
            .max_by_key(|id| id.generation)
            .cloned()
            .ok_or(Stranger::Executor)
    }

    fn take_ask(&mut self, ask: Ask, batch: &mut Batch) {
        let caller = self.caller(&ask);
        let speaker = caller
            .clone()
            .and_then(|id| match self.executors.is_open(&id) {
                true => Ok(id),
                false => Err(Stranger::NotSubscribed),
            });
        match ask.what {
            What::Subscribe {
                tasks,
                updates,
                answer,
            } => {
                let opened = caller.map(|id| {
                    let updates = updates.into_iter();
                    let updates = updates.filter_map(|status| self.complete(&id, status).ok());
                    let subscription = Subscription {
                        tasks: tasks.into_iter().collect(),
                        updates: updates.collect(),
                    };
                    let events = self.executors.open(id.clone());
                    tracing::info!(executor = %id, "an executor subscribed");
                    batch
                        .inputs
                        .push(Input::ExecutorSubscribed(id, subscription));
                    events
                });
                batch.answer(answer, opened);
            }
            What::Update { status, answer } => {
                let room = speaker.and_then(|id| self.has_room(&id, &status).map(|()| id));
                let passed = room.map(|id| {
                    if let Ok(update) = self.complete(&id, *status) {
                        batch.inputs.push(Input::ExecutorUpdated(id, update));
                    }
                });
                batch.answer(answer, passed);
            }
            What::Message { data, answer } => {
                let passed = speaker.map(|id| batch.inputs.push(Input::ExecutorSpoke(id, data)));
                batch.answer(answer, passed);
            }
        }
    }

    /// Whether one more update of the task may wait here.
    fn has_room(&self, id: &InstanceId, status: &v1::TaskStatus) -> Result<(), Stranger> {
        let ends = TaskState::from_number(status.state).is_some_and(TaskState::is_terminal);
        let task = TaskId::new(&status.task_id.value).ok();
        let durable = self.core.durable();
        let known = task.and_then(|task| durable.task_in(id, &task));
        let full = known.is_some_and(|(_, task)| task.updates.len() >= UPDATES_WAITING_MAX);
        match full && !ends {
            true => Err(Stranger::TooManyUpdates),
            false => Ok(()),
        }
    }

    /// A status with what only the agent knows. It was checked when it came in.
    fn complete(&self, id: &InstanceId, status: v1::TaskStatus) -> executors::Completed {
        let durable = self.core.durable();
        let executor = durable.executors.get(id);
        let agent_id = durable.agent_id.as_ref().map(ToString::to_string);
        let stamp = executors::status::Stamp {
            agent_id: agent_id.unwrap_or_default(),
            executor_id: id.key.task.to_string(),
            container: executor.map_or(ContainerId(0), |executor| executor.container),
            executor_pid: executor.and_then(|executor| match executor.phase {
                ExecutorPhase::Started(process) => Some(process.pid),
                ExecutorPhase::Intended | ExecutorPhase::Ready | ExecutorPhase::Ended(_) => None,
            }),
            address: self.constants.address,
            now: self.clock.wall(),
        };
        executors::status::complete(status, &stamp)
    }

    fn gauge_tasks(&self) {
        let tasks = &self.core.durable().tasks;
        let n_updates: usize = tasks.values().map(|task| task.updates.len()).sum();
        ::metrics::gauge!(metrics::TASKS).set(tasks.len() as f64);
        ::metrics::gauge!(metrics::UPDATES_PENDING).set(n_updates as f64);
        let n_executors = self.core.durable().executors.len();
        ::metrics::gauge!(metrics::EXECUTORS).set(n_executors as f64);
    }
}

/// Inputs that are handled in one step.
#[derive(Default)]
struct Batch {
    inputs: Vec<Input>,
    /// Given once the step is carried out.
    answers: Vec<Box<dyn FnOnce() + Send>>,
}

impl Batch {
    fn answer<T: Send + 'static>(&mut self, to: oneshot::Sender<T>, answer: T) {
        self.answers.push(Box::new(move || {
            // Whoever asked may have gone.
            let _ = to.send(answer);
        }));
    }
}

fn count_launches(message: &MasterMessage) {
    use regency_agent_core::Command;
    if let MasterMessage::Commands(commands) = message {
        let launches = commands.iter().map(|numbered| match &numbered.command {
            Command::Launch { .. } => 1,
            Command::LaunchGroup { members, .. } => members.len() as u64,
            _ => 0,
        });
        ::metrics::counter!(metrics::LAUNCHES_TOTAL).increment(launches.sum());
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
