//! Frameworks and their leader: subscriptions, events, calls.

use std::collections::BTreeSet;

use bytes::Bytes;
use regency_leader_core::subscription;
use regency_resources::{Milli, Resources};
use regency_state::model::MasterStatus;
use regency_state::{
    AcceptOffers, AcknowledgeUpdate, Command, DeclineOffers, ExecutorSpec, FrameworkDisconnected,
    KillTask, LaunchSpec, Operation, Outcome, Refusal, ReviveOffers, ShutdownExecutor,
    SubscribeFramework, SuppressOffers, TaskSpec, TeardownFramework, Verdict,
};
use regency_types::{
    AgentId, DurationMs, ExecutorId, FrameworkId, OfferId, StreamId, TaskId, TaskKey, Term,
};

use super::coverage::Fault;
use super::framework::{Event, KnownTask};
use super::leader::OpenStream;
use super::log::{Caller, InFlight, short};
use super::op::Kind;
use super::world::{World, note};
use crate::invariants::Checked;

/// Calls of unknown fate that a framework remembers.
const UNKNOWN_MAX: usize = 4;
/// Past offers that a framework remembers.
const PAST_MAX: usize = 8;

/// Subscriptions and events.
impl World {
    /// A framework asks to subscribe. One that is subscribed already has another scheduler do so.
    pub(super) fn subscribe(&mut self, at: usize, b: u32) -> Checked {
        let Some(leader) = &self.leader else {
            return Ok(());
        };
        let term = leader.term;
        let framework = &mut self.frameworks[at];
        if framework.asked.is_some() && !b.is_multiple_of(8) && !self.healing {
            return Ok(());
        }
        if framework.is_over {
            framework.begin_anew();
        }
        let is_stranger = framework.id.is_none();
        if is_stranger {
            // Its first connection ends with its first try.
            self.stream_breaks(at)?;
        }
        let framework = &mut self.frameworks[at];
        framework.hang_up();
        let (id, spec) = (framework.id.clone(), framework.spec.clone());
        let stream = StreamId(self.mint());
        self.frameworks[at].asked = Some((stream, term));
        note!(self, "         framework {at} subscribes at {term}");
        let command = Command::SubscribeFramework(SubscribeFramework {
            framework: id,
            spec,
            suppressed: Vec::new(),
            stream,
            kept: None,
        });
        let caller = Caller::Subscribe {
            framework: at,
            stream,
        };
        self.propose(term, command, caller)
    }

    pub(super) fn subscribed(
        &mut self,
        term: Term,
        at: usize,
        stream: StreamId,
        verdict: Option<Verdict>,
    ) -> Checked {
        let waits = self.frameworks[at].asked == Some((stream, term));
        let id = match verdict {
            Some(Ok(Outcome::Subscribed { framework })) => framework,
            Some(Err(Refusal::FrameworkRemoved)) if waits => {
                self.frameworks[at].is_over = true;
                self.frameworks[at].hang_up();
                return Ok(());
            }
            _ => {
                if waits {
                    self.frameworks[at].hang_up();
                }
                return Ok(());
            }
        };
        let Some(leader) = self.leader_of_mut(term) else {
            return Ok(());
        };
        let current = leader.state.framework(&id).and_then(|f| f.stream());
        if current != Some(stream) {
            if waits {
                self.frameworks[at].hang_up();
            }
            return Ok(());
        }
        leader.streams.insert(
            id.clone(),
            OpenStream {
                framework: at,
                stream,
                offers: BTreeSet::new(),
            },
        );
        let state = leader.state.clone();
        if !waits {
            // Nobody reads this stream any more.
            return self.departed(term, &id, stream);
        }
        self.frameworks[at].is_open = true;
        self.tell(at, stream, Event::Subscribed(id.clone()));
        let Some(framework) = state.framework(&id) else {
            return Ok(());
        };
        let offers: Vec<OfferId> = framework.offers.iter().copied().collect();
        self.send_offers(term, &id, &offers)?;
        for task in state.tasks_of(framework) {
            if task.unacked.is_some() {
                self.send_update(term, &task.key)?;
            }
        }
        for status in subscription::statuses(&state, framework) {
            self.send_status(term, &id, status);
        }
        Ok(())
    }

    /// The stream of a framework ended for it; its leader notices.
    fn departed(&mut self, term: Term, id: &FrameworkId, stream: StreamId) -> Checked {
        let Some(leader) = self.leader_of_mut(term) else {
            return Ok(());
        };
        if leader
            .streams
            .get(id)
            .is_none_or(|open| open.stream != stream)
        {
            return Ok(());
        }
        leader.streams.remove(id);
        let command = Command::FrameworkDisconnected(FrameworkDisconnected {
            framework: id.clone(),
            stream,
        });
        self.propose(term, command, Caller::Duty)
    }

    pub(super) fn stream_breaks(&mut self, at: usize) -> Checked {
        let Some((stream, term)) = self.frameworks[at].asked else {
            return Ok(());
        };
        let was_open = self.frameworks[at].is_open;
        self.forget_calls(at);
        self.frameworks[at].hang_up();
        if !was_open {
            return Ok(());
        }
        self.struck(Fault::StreamBroke);
        note!(self, "         the stream of framework {at} breaks");
        let leader = self.leader_of(term);
        let id = leader.and_then(|l| {
            let mut open = l.streams.iter();
            open.find(|(_, open)| open.stream == stream)
                .map(|(id, _)| id.clone())
        });
        match id {
            Some(id) => self.departed(term, &id, stream),
            None => Ok(()),
        }
    }

    /// A leader is gone, and with it the stream of a framework that was there.
    pub(super) fn stream_is_lost(&mut self, at: usize, term: Term) {
        if self.frameworks[at]
            .asked
            .is_some_and(|(_, its)| its == term)
        {
            self.forget_calls(at);
            self.frameworks[at].hang_up();
        }
    }

    /// A newer subscription took over, or the framework was removed.
    pub(super) fn close_stream(&mut self, term: Term, id: &FrameworkId, stream: StreamId) {
        let Some(leader) = self.leader_of_mut(term) else {
            return;
        };
        if leader
            .streams
            .get(id)
            .is_none_or(|open| open.stream != stream)
        {
            return;
        }
        let at = leader.streams.remove(id).map(|open| open.framework);
        if let Some(at) = at {
            self.tell(at, stream, Event::Error("the stream ends".to_owned()));
        }
    }

    /// Sends an event, when the framework still reads that stream.
    fn tell(&mut self, at: usize, stream: StreamId, event: Event) {
        let framework = &mut self.frameworks[at];
        if framework.asked.is_some_and(|(its, _)| its == stream) && framework.is_open {
            framework.events.push_back(event);
        }
    }

    pub(super) fn send_offers(
        &mut self,
        term: Term,
        id: &FrameworkId,
        offers: &[OfferId],
    ) -> Checked {
        let Some(leader) = self.leader_of_mut(term) else {
            return Ok(());
        };
        let state = leader.state.clone();
        let Some(open) = leader.streams.get_mut(id) else {
            return Ok(());
        };
        let mut fresh = Vec::new();
        for offer in offers {
            if let Some(offer) = state.offer(*offer).filter(|o| o.framework == *id)
                && open.offers.insert(offer.id)
            {
                fresh.push((offer.id, offer.agent.clone(), offer.resources.clone()));
            }
        }
        let (at, stream) = (open.framework, open.stream);
        if !fresh.is_empty() {
            self.invariants.offers_sent(&self.log.state, &fresh)?;
            self.tell(at, stream, Event::Offers(fresh));
        }
        Ok(())
    }

    pub(super) fn send_rescind(&mut self, term: Term, id: &FrameworkId, offer: OfferId) {
        let Some(leader) = self.leader_of_mut(term) else {
            return;
        };
        if let Some(open) = leader.streams.get_mut(id)
            && open.offers.remove(&offer)
        {
            let (at, stream) = (open.framework, open.stream);
            self.tell(at, stream, Event::Rescind(offer));
        }
    }

    pub(super) fn send_update(&mut self, term: Term, key: &TaskKey) -> Checked {
        let Some(leader) = self.leader_of(term) else {
            return Ok(());
        };
        let Some(open) = leader.streams.get(&key.framework) else {
            return Ok(());
        };
        let Some(task) = leader.state.task(key) else {
            return Ok(());
        };
        let Some(update) = &task.unacked else {
            return Ok(());
        };
        let event = Event::Update {
            task: key.task.clone(),
            agent: Some(task.agent.clone()),
            state: update.state,
            uuid: Some(update.uuid),
            generation: Some(task.generation),
        };
        let (at, stream) = (open.framework, open.stream);
        self.invariants.update_sent(key, update.uuid)?;
        self.tell(at, stream, event);
        Ok(())
    }

    pub(super) fn send_status(&mut self, term: Term, id: &FrameworkId, status: &MasterStatus) {
        let Some(leader) = self.leader_of(term) else {
            return;
        };
        let Some(open) = leader.streams.get(id) else {
            return;
        };
        let Ok(task) = TaskId::new(&status.task_id) else {
            return;
        };
        let event = Event::Update {
            generation: self.invariants.launch_told(id, &task, status.reason),
            task,
            agent: status.agent.clone(),
            state: status.state,
            uuid: None,
        };
        let (at, stream) = (open.framework, open.stream);
        self.tell(at, stream, event);
    }

    /// A framework reads everything it was sent.
    pub(super) fn hear(&mut self, at: usize) -> Checked {
        while let Some(event) = self.frameworks[at].events.pop_front() {
            note!(self, "         framework {at} hears {}", heard(&event));
            let framework = &mut self.frameworks[at];
            match event {
                Event::Subscribed(id) => framework.id = Some(id),
                Event::Offers(offers) => {
                    for (offer, agent, resources) in offers {
                        self.invariants
                            .offer_heard(&mut framework.on_stream, offer)?;
                        framework.offers.insert(offer, (agent, resources));
                    }
                }
                Event::Rescind(offer) => {
                    framework.offers.remove(&offer);
                    framework.past_offers.push(offer);
                }
                Event::Update {
                    task,
                    agent,
                    state,
                    uuid,
                    generation,
                } => {
                    let key = framework.id.clone().map(|framework| TaskKey {
                        framework,
                        task: task.clone(),
                    });
                    if let (Some(key), Some(generation)) = (key, generation)
                        && state.is_terminal()
                    {
                        let ends = framework.ends.entry((key, generation)).or_default();
                        ends.insert(state);
                    }
                    if let Some(known) = framework.tasks.get_mut(&task)
                        && !known.is_over
                    {
                        known.state = Some(state);
                        // Nothing to acknowledge: that was its end.
                        known.is_over |= state.is_terminal() && uuid.is_none();
                    }
                    if let (Some(uuid), Some(agent)) = (uuid, agent) {
                        framework.updates.insert(uuid);
                        framework.unacknowledged.push_back((task, agent, uuid));
                    }
                }
                Event::Error(_) => {
                    self.forget_calls(at);
                    self.frameworks[at].hang_up();
                }
            }
        }
        Ok(())
    }
}

/// Calls.
impl World {
    /// Makes a call, when the stream is open and its leader knows it.
    fn call(&mut self, at: usize, command: Command) -> Checked {
        let Some((stream, term)) = self.frameworks[at].open_stream() else {
            return Ok(());
        };
        let known = self.leader_of(term).is_some_and(|leader| {
            let mut open = leader.streams.values();
            open.any(|open| open.stream == stream)
        });
        if !known {
            return Ok(());
        }
        let framework = &mut self.frameworks[at];
        framework.n_calls += 1;
        let call = framework.n_calls;
        framework.calls.insert(call, command.clone());
        self.propose(
            term,
            command,
            Caller::Call {
                framework: at,
                call,
            },
        )
    }

    /// The answer to a call; `None`: it certainly was not proposed.
    pub(super) fn called(&mut self, at: usize, call: u64, verdict: Option<Verdict>) {
        let framework = &mut self.frameworks[at];
        let Some(command) = framework.calls.remove(&call) else {
            return;
        };
        match (&command, verdict) {
            (Command::AcceptOffers(_), None) => {
                // Not done: it may be tried again.
                framework.unknown.push(command);
            }
            (Command::TeardownFramework(_), Some(Ok(_))) => {
                framework.is_over = true;
                framework.hang_up();
            }
            (Command::AcknowledgeUpdate(c), Some(Ok(_))) => acknowledged(framework, c),
            _ => {}
        }
        let n = framework.unknown.len();
        if n > UNKNOWN_MAX {
            framework.unknown.drain(..n - UNKNOWN_MAX);
        }
    }

    /// The answer to a proposal of a framework is lost.
    pub(super) fn call_is_unknown(&mut self, entry: &InFlight) {
        match &entry.caller {
            Caller::Call { framework, call } => {
                let framework = &mut self.frameworks[*framework];
                if let Some(command) = framework.calls.remove(call) {
                    framework.unknown.push(command);
                }
            }
            Caller::Subscribe { framework, stream } => {
                let framework = &mut self.frameworks[*framework];
                if framework.asked.is_some_and(|(its, _)| its == *stream) {
                    framework.hang_up();
                }
            }
            _ => {}
        }
    }

    fn forget_calls(&mut self, at: usize) {
        let framework = &mut self.frameworks[at];
        let calls = std::mem::take(&mut framework.calls);
        framework.unknown.extend(calls.into_values());
        let n = framework.unknown.len();
        if n > UNKNOWN_MAX {
            framework.unknown.drain(..n - UNKNOWN_MAX);
        }
    }

    pub(super) fn framework_calls(&mut self, at: usize, kind: Kind, b: u32) -> Checked {
        let framework = &self.frameworks[at];
        if framework.open_stream().is_none() {
            return Ok(());
        }
        let Some(id) = framework.id.clone() else {
            return Ok(());
        };
        match kind {
            Kind::Accept => self.accept(at, id, b),
            Kind::Repeat => {
                let framework = &mut self.frameworks[at];
                let n = framework.unknown.len();
                if n == 0 {
                    return Ok(());
                }
                let command = framework.unknown.remove(b as usize % n);
                // A subscription or an end is asked for anew, not repeated.
                match command {
                    Command::TeardownFramework(_) => Ok(()),
                    command => self.call(at, command),
                }
            }
            Kind::Decline => {
                let offers: Vec<OfferId> = framework.offers.keys().copied().collect();
                let Some(offer) = choose(&offers, b) else {
                    return Ok(());
                };
                self.give_back(at, vec![offer], u64::from(b >> 8 & 3) * 10_000)
            }
            Kind::Kill => {
                let living: Vec<TaskId> = framework
                    .tasks
                    .iter()
                    .filter(|(_, t)| !t.is_over && !t.state.is_some_and(|s| s.is_terminal()))
                    .map(|(task, _)| task.clone())
                    .collect();
                let Some(task) = choose(&living, b) else {
                    return Ok(());
                };
                self.call(
                    at,
                    Command::KillTask(KillTask {
                        task: TaskKey {
                            framework: id,
                            task,
                        },
                        agent: None,
                        grace: b.is_multiple_of(3).then_some(DurationMs(1_000)),
                    }),
                )
            }
            Kind::Acknowledge => self.acknowledge_some(at, 1 + b % 4),
            Kind::Revive => self.call(
                at,
                Command::ReviveOffers(ReviveOffers {
                    framework: id,
                    roles: Vec::new(),
                }),
            ),
            Kind::Suppress => self.call(
                at,
                Command::SuppressOffers(SuppressOffers {
                    framework: id,
                    roles: Vec::new(),
                }),
            ),
            Kind::ShutdownExecutor => {
                let there: Vec<_> = self
                    .log
                    .state
                    .executors_of(&id)
                    .map(|(agent, e)| (agent.clone(), e.key.clone()))
                    .collect();
                let Some((agent, executor)) = choose(&there, b) else {
                    return Ok(());
                };
                self.call(
                    at,
                    Command::ShutdownExecutor(ShutdownExecutor { executor, agent }),
                )
            }
            _ => self.call(
                at,
                Command::TeardownFramework(TeardownFramework { framework: id }),
            ),
        }
    }

    /// Acknowledges the oldest updates.
    pub(super) fn acknowledge_some(&mut self, at: usize, n_max: u32) -> Checked {
        for _ in 0..n_max {
            let framework = &mut self.frameworks[at];
            let Some(id) = framework.id.clone() else {
                return Ok(());
            };
            let Some((task, agent, uuid)) = framework.unacknowledged.pop_front() else {
                return Ok(());
            };
            let task = TaskKey {
                framework: id,
                task,
            };
            let command = AcknowledgeUpdate { task, agent, uuid };
            self.call(at, Command::AcknowledgeUpdate(command))?;
        }
        Ok(())
    }

    /// Gives offers back.
    pub(super) fn give_back(&mut self, at: usize, offers: Vec<OfferId>, refuse_ms: u64) -> Checked {
        let framework = &mut self.frameworks[at];
        let Some(id) = framework.id.clone() else {
            return Ok(());
        };
        let stream = framework.open_stream();
        for offer in &offers {
            framework.offers.remove(offer);
            framework.past_offers.push(*offer);
        }
        self.used(stream, &id, &offers);
        self.call(
            at,
            Command::DeclineOffers(DeclineOffers {
                framework: id,
                offers,
                refuse: DurationMs(refuse_ms),
            }),
        )
    }

    /// The edge forgets offers that the framework itself used.
    fn used(&mut self, stream: Option<(StreamId, Term)>, id: &FrameworkId, offers: &[OfferId]) {
        if let Some((_, term)) = stream
            && let Some(leader) = self.leader_of_mut(term)
            && let Some(open) = leader.streams.get_mut(id)
        {
            for offer in offers {
                open.offers.remove(offer);
            }
        }
    }

    fn accept(&mut self, at: usize, id: FrameworkId, b: u32) -> Checked {
        let framework = &mut self.frameworks[at];
        let known: Vec<OfferId> = framework.offers.keys().copied().collect();
        let Some(first) = choose(&known, b) else {
            return Ok(());
        };
        let Some((agent, mut resources)) = framework.offers.remove(&first) else {
            return Ok(());
        };
        let mut offers = vec![first];
        let others: Vec<OfferId> = framework
            .offers
            .iter()
            .filter(|(_, (its, _))| *its == agent)
            .map(|(offer, _)| *offer)
            .collect();
        for other in others {
            if let Some((_, more)) = framework.offers.remove(&other) {
                resources += &more;
                offers.push(other);
            }
        }
        // Now and then one that is not valid any more, or another's.
        let mut named: Vec<Option<OfferId>> = offers.iter().copied().map(Some).collect();
        match b >> 4 & 63 {
            0 => named.extend(framework.past_offers.last().copied().map(Some)),
            1 => {
                let others = self.log.state.offers();
                let mut strange = others.filter(|o| o.framework != id && o.agent == agent);
                named.extend(strange.next().map(|o| Some(o.id)));
            }
            _ => {}
        }
        let framework = &mut self.frameworks[at];
        framework.past_offers.extend(&offers);
        let n = framework.past_offers.len();
        if n > PAST_MAX {
            framework.past_offers.drain(..n - PAST_MAX);
        }
        let n_tasks = 1 + (b >> 10) % 3;
        let mut tasks = Vec::new();
        for k in 0..n_tasks {
            let over = framework.tasks.iter().filter(|(_, t)| t.is_over);
            let over: Vec<TaskId> = over.map(|(task, _)| task.clone()).collect();
            let reused = choose(&over, b >> 12).filter(|_| (b >> (13 + k)) & 1 == 1);
            let is_reused = reused.is_some();
            let task = reused.unwrap_or_else(|| {
                framework.n_tasks += 1;
                TaskId::new(format!("t{}", framework.n_tasks)).expect("a valid id")
            });
            if is_reused {
                self.coverage.struck(Fault::TaskIdReused);
            }
            framework.tasks.insert(
                task.clone(),
                KnownTask {
                    agent: agent.clone(),
                    state: None,
                    is_over: false,
                },
            );
            // Half of all there is, or one.
            let cpus = if (b >> 17) & 1 == 1 {
                Milli(resources.scalar("cpus").0 / 2)
            } else {
                Milli::from_units(1)
            };
            let with_executor = (b >> (18 + k)) & 3 == 0;
            tasks.push(LaunchSpec::Valid(TaskSpec {
                name: task.to_string(),
                task,
                agent: agent.clone(),
                resources: Resources::of_scalar("cpus", cpus)
                    + Resources::of_scalar("mem", Milli::from_units(32)),
                info: Bytes::from_static(b"task"),
                executor: with_executor.then(|| ExecutorSpec {
                    executor: ExecutorId::new(format!("e{}", (b >> 22) & 1)).expect("a valid id"),
                    resources: Resources::of_scalar("cpus", Milli(250)),
                    info: Bytes::new(),
                }),
            }));
        }
        framework.n_calls += 1;
        let content = (at as u64) << 32 | framework.n_calls;
        let stream = framework.open_stream();
        self.used(stream, &id, &offers);
        self.call(
            at,
            Command::AcceptOffers(AcceptOffers {
                framework: id,
                offers: named,
                operations: vec![Operation::Launch(tasks)],
                refuse: DurationMs(u64::from((b >> 24) & 3) * 5_000),
                content,
            }),
        )
    }
}

fn acknowledged(framework: &mut super::framework::SimFramework, ack: &AcknowledgeUpdate) {
    if let Some(known) = framework.tasks.get_mut(&ack.task.task) {
        known.is_over |= known.state.is_some_and(|s| s.is_terminal());
    }
}

fn choose<T: Clone>(from: &[T], b: u32) -> Option<T> {
    let n = from.len();
    (n > 0).then(|| from[b as usize % n].clone())
}

fn heard(event: &Event) -> String {
    match event {
        Event::Subscribed(id) => format!("that it is {}", short(id)),
        Event::Offers(offers) => {
            let list: Vec<_> = offers
                .iter()
                .map(|(id, agent, resources): &(OfferId, AgentId, Resources)| {
                    format!("{} of {} on {}", id.0, resources, short(agent))
                })
                .collect();
            format!("offers {}", list.join("; "))
        }
        Event::Rescind(offer) => format!("that offer {} is over", offer.0),
        Event::Update {
            task, state, uuid, ..
        } => format!("{task} {} {:?}", state.name(), uuid.map(|uuid| uuid.0)),
        Event::Error(message) => message.clone(),
    }
}
