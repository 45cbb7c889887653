//! The world of one history, and what a step does to it.

use std::collections::BTreeMap;

use regency_leader_core::attachment::{self, Answer, Attach};
use regency_mutants::{Mutant, on};
use regency_resources::{Milli, Resources};
use regency_state::{
    BeginTerm, Command, Effect, MasterInfo, Outcome, Proposal, Refusal, State, Verdict,
};
use regency_testkit::Rng;
use regency_testkit::agent::Crash;
use regency_types::{
    AgentEpoch, AgentId, ClusterId, DurationMs, Incarnation, NodeId, Term, WallTime,
};

use super::agents::SimAgent;
use super::coverage::{Coverage, Fault};
use super::framework::SimFramework;
use super::leader::Leader;
use super::log::{Caller, InFlight, Log, brief, short};
use super::op::{Kind, Op};
use super::session::Session;
use crate::invariants::{Broken, Checked, Entry, Evidence, Invariants};

const CLUSTER: ClusterId = ClusterId(7);
/// Between two looks while time passes: half of what a leader takes for a stall of its own.
const SLICE_MS: u64 = 1_500;
/// Ids that one agent can give out.
const IDS: u128 = 1_000_000;
/// Most agents, with those that lost their directories and may come back.
const AGENTS_MAX: usize = 5;

/// Writes a line of the trace, when one is kept.
macro_rules! note {
    ($world:expr, $($what:tt)+) => {
        if let Some(trace) = &mut $world.trace {
            trace.push(format!($($what)+));
        }
    };
}
pub(super) use note;

/// Everything there is in one history.
#[derive(Debug)]
pub struct World {
    /// Monotonic milliseconds, the same for all.
    pub(super) now_ms: u64,
    pub(super) log: Log,
    /// Who leads.
    pub(super) leader: Option<Leader>,
    /// Who was deposed and does not know.
    pub(super) old: Option<Leader>,
    pub(super) term: Term,
    pub(super) sessions: BTreeMap<u64, Session>,
    pub(super) agents: Vec<SimAgent>,
    pub(super) frameworks: Vec<SimFramework>,
    pub(super) invariants: Invariants,
    pub(super) coverage: Coverage,
    pub(super) trace: Option<Vec<String>>,
    pub(super) n_minted: u128,
    pub(super) n_streams: u64,
    pub(super) healing: bool,
    agents_stand_still: bool,
    /// Whether who attaches is asked for its picture.
    pub(super) asks_pictures: bool,
    /// Milliseconds in which nobody served, up to the beginning of the present leader.
    unserved_ms: u64,
    /// When the last leader ended.
    leaderless_since_ms: u64,
}

impl World {
    /// The world of a seed, in which nothing happened yet.
    #[must_use]
    pub fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut world = Self {
            now_ms: 1_000,
            log: Log::default(),
            leader: None,
            old: None,
            term: Term(0),
            sessions: BTreeMap::new(),
            agents: Vec::new(),
            frameworks: Vec::new(),
            invariants: Invariants::default(),
            coverage: Coverage::default(),
            trace: traced.then(Vec::new),
            n_minted: 0,
            n_streams: 0,
            healing: false,
            agents_stand_still: false,
            asks_pictures: false,
            unserved_ms: 0,
            leaderless_since_ms: 0,
        };
        for n in 0..1 + rng.index(2) {
            let epoch = AgentEpoch(world.mint());
            let first_id = world.mint() * IDS;
            let units = 2 + rng.below(4) as i64;
            world.agents.push(SimAgent::new(n, epoch, units, first_id));
        }
        for n in 0..1 + rng.index(2) {
            let timeout = DurationMs::from_secs(rng.below(3) * 60);
            let partition_aware = rng.chance(70);
            let role = if rng.chance(50) { "*" } else { "eng" };
            world
                .frameworks
                .push(SimFramework::new(n, role, timeout, partition_aware));
        }
        world
    }

    /// How often each fault struck.
    #[must_use]
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// What happened, when that was kept.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Committed entries.
    #[must_use]
    pub fn n_entries(&self) -> usize {
        self.log.entries.len()
    }

    /// Committed entries with what they gave.
    #[must_use]
    pub fn entries(&self) -> &[(Proposal, regency_state::Applied)] {
        &self.log.entries
    }

    /// The state they lead to.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.log.state
    }

    pub(super) fn mint(&mut self) -> u128 {
        self.n_minted += 1;
        self.n_minted
    }

    pub(super) fn struck(&mut self, fault: Fault) {
        self.coverage.struck(fault);
    }

    /// The leader of a term, also when it was deposed and does not know.
    pub(super) fn leader_of(&self, term: Term) -> Option<&Leader> {
        let leaders = self.leader.iter().chain(&self.old);
        let mut those = leaders.filter(|leader| leader.term == term);
        those.next()
    }

    pub(super) fn leader_of_mut(&mut self, term: Term) -> Option<&mut Leader> {
        let leaders = self.leader.iter_mut().chain(&mut self.old);
        let mut those = leaders.filter(|leader| leader.term == term);
        those.next()
    }

    /// For how long leaders have served.
    pub(super) fn served_ms(&self) -> u64 {
        self.now_ms - self.unserved_ms
    }

    pub(super) fn cluster(&self) -> ClusterId {
        CLUSTER
    }

    // ---- The log

    /// A leader proposes.
    pub(super) fn propose(&mut self, term: Term, command: Command, caller: Caller) -> Checked {
        let now_ms = self.now_ms;
        let Some(leader) = self.leader_of(term) else {
            return Ok(());
        };
        let deposed = leader.deposed;
        let evidence = match &command {
            Command::MarkAgentUnreachable(c) => {
                let served_ms = self.served_ms();
                Some(Evidence {
                    agent: c.agent.clone(),
                    silent_ms: leader.silent_ms(&c.agent, now_ms),
                    unheard_ms: self.invariants.unheard_ms(&c.agent, served_ms),
                })
            }
            _ => None,
        };
        let proposal = Proposal {
            proposed_at: leader.cluster_time(now_ms),
            wall: WallTime(now_ms),
            command,
        };
        note!(
            self,
            "         {term}: proposes {}{}",
            brief(&proposal.command),
            if deposed { " (deposed)" } else { "" }
        );
        if deposed {
            self.struck(Fault::OldLeaderProposed);
            if !on(Mutant::CommitAfterDeposition) {
                return Ok(());
            }
        }
        if on(Mutant::TellBeforeCommit)
            && let Some(leader) = self.leader_of_mut(term)
        {
            let applied = leader.state.apply(&proposal);
            self.carry_out(term, &applied.effects)?;
        }
        let number = self.log.number();
        self.log.in_flight.push(InFlight {
            number,
            term,
            proposal,
            caller,
            evidence,
        });
        Ok(())
    }

    /// A proposal is committed. Nobody is told, when `told` is not set.
    fn append(&mut self, entry: &InFlight) -> Checked<Verdict> {
        if self.log.entries.len().is_multiple_of(3) {
            self.log.earlier = self.log.state.clone();
        }
        let before = self.log.state.clone();
        let applied = self.log.state.apply(&entry.proposal);
        note!(
            self,
            "         committed: {} => {}",
            brief(&entry.proposal.command),
            verdict_text(&applied.verdict)
        );
        self.cover(entry, &before, &applied);
        let step = Entry {
            step: regency_testkit::rules::Step {
                before: &before,
                proposal: &entry.proposal,
                applied: &applied,
                after: &self.log.state,
            },
            term: entry.term,
            newest_term: self.log.term,
            evidence: entry.evidence.as_ref(),
        };
        self.invariants.entry(&step)?;
        self.log.term = self.log.term.max(entry.term);
        let verdict = applied.verdict.clone();
        self.log.entries.push((entry.proposal.clone(), applied));
        Ok(verdict)
    }

    /// A proposal in flight is committed, and its leader carries out what follows.
    pub(super) fn commit(&mut self, at: usize, answered: bool) -> Checked {
        let entry = self.log.in_flight.remove(at);
        if at > 0 {
            self.struck(Fault::ProposalOvertaken);
        }
        let verdict = self.append(&entry)?;
        let serves = self
            .leader
            .as_ref()
            .is_some_and(|leader| leader.term == entry.term);
        if !serves {
            return Ok(());
        }
        let state = self.log.state.clone();
        if let Some(leader) = &mut self.leader {
            leader.state = state;
        }
        let told = on(Mutant::TellBeforeCommit);
        if !told && let Some((_, applied)) = self.log.entries.last() {
            let effects = applied.effects.clone();
            self.carry_out(entry.term, &effects)?;
        }
        let may_be_lost = matches!(entry.caller, Caller::Call { .. } | Caller::Subscribe { .. });
        if answered || !may_be_lost {
            self.answer(entry.term, entry.caller, Some(verdict))
        } else {
            self.struck(Fault::AnswerLost);
            self.call_is_unknown(&entry);
            Ok(())
        }
    }

    /// Commits everything in flight, and what follows from it at once.
    pub(super) fn commit_all(&mut self, order: u32) -> Checked {
        let n = self.log.in_flight.len();
        for k in 0..n {
            let left = self.log.in_flight.len();
            if left == 0 {
                break;
            }
            let at = if order == 0 {
                0
            } else {
                (order >> (k % 16)) as usize % left
            };
            self.commit(at, true)?;
        }
        Ok(())
    }

    /// Tells a caller what became of its proposal; `None`: it certainly was not proposed.
    fn answer(&mut self, term: Term, caller: Caller, verdict: Option<Verdict>) -> Checked {
        match caller {
            Caller::Duty | Caller::Operator => Ok(()),
            Caller::Admit(no) => self.admitted(no, verdict),
            Caller::Reports(no) => self.reports_committed(no, verdict),
            Caller::Executors(no) => self.executors_committed(no, verdict),
            Caller::Picture(no) => self.picture_committed(no, verdict),
            Caller::Subscribe { framework, stream } => {
                self.subscribed(term, framework, stream, verdict)
            }
            Caller::Call { framework, call } => {
                self.called(framework, call, verdict);
                Ok(())
            }
        }
    }

    /// Everybody does what is to be done, but for what `b` leaves out.
    fn settle_down(&mut self, b: u32) -> Checked {
        let Some(term) = self.leader.as_ref().map(|leader| leader.term) else {
            return Ok(());
        };
        self.commit_all(0)?;
        for at in 0..self.agents.len() {
            self.connect(at, term)?;
            self.exchange(at)?;
            if b & 1 == 0 {
                self.processes_go_on(at, false)?;
                self.exchange(at)?;
            }
        }
        for at in 0..self.frameworks.len() {
            if self.frameworks[at].asked.is_none() {
                self.subscribe(at, 0)?;
                self.commit_all(0)?;
            }
        }
        if b & 6 != 6 {
            self.allocate(false, None)?;
            self.commit_all(0)?;
        }
        for at in 0..self.frameworks.len() {
            self.hear(at)?;
            if b & 8 == 0 {
                self.acknowledge_some(at, u32::MAX)?;
                self.commit_all(0)?;
            }
        }
        Ok(())
    }

    /// Each proposal of a leader that leads no more is committed before its successor begins, or
    /// lost. Its callers learn neither.
    fn settle(&mut self, choice: u32) -> Checked {
        let open = std::mem::take(&mut self.log.in_flight);
        for (k, entry) in open.into_iter().enumerate() {
            if choice >> (k % 32) & 1 == 1 {
                self.struck(Fault::ProposalInherited);
                let _verdict = self.append(&entry)?;
            } else {
                self.struck(Fault::ProposalLost);
                note!(self, "         lost: {}", brief(&entry.proposal.command));
            }
            self.call_is_unknown(&entry);
        }
        Ok(())
    }

    fn leader_dies(&mut self, choice: u32) -> Checked {
        let Some(leader) = self.leader.take() else {
            return Ok(());
        };
        self.leaderless_since_ms = self.now_ms;
        self.struck(Fault::LeaderDied);
        note!(self, "         the leader of {} dies", leader.term);
        self.settle(choice)?;
        self.hang_up(&leader)
    }

    fn leader_is_deposed(&mut self, choice: u32) -> Checked {
        self.old_leader_notices()?;
        let Some(mut leader) = self.leader.take() else {
            return Ok(());
        };
        self.leaderless_since_ms = self.now_ms;
        self.struck(Fault::LeaderDeposed);
        note!(
            self,
            "         the leader of {} is deposed, which it does not know",
            leader.term
        );
        self.settle(choice)?;
        leader.deposed = true;
        self.old = Some(leader);
        Ok(())
    }

    pub(super) fn old_leader_notices(&mut self) -> Checked {
        let Some(leader) = self.old.take() else {
            return Ok(());
        };
        note!(self, "         the old leader of {} notices", leader.term);
        self.hang_up(&leader)
    }

    /// All streams and attachments of a leader end.
    fn hang_up(&mut self, leader: &Leader) -> Checked {
        for framework in 0..self.frameworks.len() {
            self.stream_is_lost(framework, leader.term);
        }
        let own: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.term == leader.term)
            .map(|(no, _)| *no)
            .collect();
        for no in own {
            self.leader_closes(no);
        }
        Ok(())
    }

    pub(super) fn elect(&mut self) -> Checked {
        if self.leader.is_some() {
            return Ok(());
        }
        self.unserved_ms += self.now_ms - self.leaderless_since_ms;
        self.term = Term(self.term.0 + 1);
        let term = self.term;
        if on(Mutant::LoseCommitted) {
            self.log.state = self.log.earlier.clone();
        }
        let command = Command::BeginTerm(BeginTerm {
            cluster: CLUSTER,
            term,
            master: MasterInfo {
                node: NodeId(1 + term.0 % 3),
                incarnation: Incarnation(u128::from(term.0 % 3)),
                process: u128::from(term.0),
                hostname: "m".to_owned(),
                http: "m:5050".to_owned(),
                agent: "m:5061".to_owned(),
                version: "1".to_owned(),
            },
        });
        let carried = self.log.state.tasks().any(|t| t.unacked.is_some());
        if carried {
            self.struck(Fault::UpdateCarriedOver);
        }
        let number = self.log.number();
        let entry = InFlight {
            number,
            term,
            // Time stood still since the last entry: nobody served.
            proposal: Proposal {
                proposed_at: self.log.state.now(),
                wall: WallTime(self.now_ms),
                command,
            },
            caller: Caller::Duty,
            evidence: None,
        };
        let _verdict = self.append(&entry)?;
        self.struck(Fault::Failover);
        let state = self.log.state.clone();
        self.leader = Some(Leader::new(term, state, self.now_ms));
        Ok(())
    }

    // ---- What a leader does because of an entry

    fn carry_out(&mut self, term: Term, effects: &[Effect]) -> Checked {
        for effect in effects {
            match effect {
                Effect::SendOffers { framework, offers } => {
                    self.send_offers(term, framework, offers)?;
                }
                Effect::SendRescind { framework, offer } => {
                    self.send_rescind(term, framework, *offer);
                }
                Effect::SendUpdate { task } => self.send_update(term, task)?,
                Effect::SendStatus { framework, status } => {
                    self.send_status(term, framework, status);
                }
                Effect::SyncAgent { agent } => {
                    let no = self.leader_of(term).and_then(|l| l.attached.get(agent));
                    if let Some(no) = no.copied() {
                        self.send_commands(no)?;
                    }
                }
                Effect::DetachAgent { agent } => self.remove_agent(term, agent),
                Effect::CloseStream {
                    framework, stream, ..
                } => self.close_stream(term, framework, *stream),
                // Nothing that the model looks at.
                _ => {}
            }
        }
        Ok(())
    }

    // ---- Steps

    /// Does one step.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn step(&mut self, n: usize, op: Op) -> Checked {
        note!(self, "{n:>4} {:>8} {:?}", self.now_ms, op.kind);
        self.now_ms += 1 + u64::from(op.b % 50);
        let Op { kind, a, b } = op;
        let pick = |n: usize| if n == 0 { None } else { Some(a as usize % n) };
        match kind {
            Kind::Settle => self.settle_down(b)?,
            Kind::Commit => {
                if let Some(at) = pick(self.log.in_flight.len()) {
                    self.commit(at, !b.is_multiple_of(6))?;
                }
            }
            Kind::CommitAll => self.commit_all(if b.is_multiple_of(3) { a } else { 0 })?,
            Kind::Refuse => {
                if let Some(at) = pick(self.log.in_flight.len()) {
                    let entry = self.log.in_flight.remove(at);
                    self.struck(Fault::ProposalRefused);
                    self.answer(entry.term, entry.caller, None)?;
                }
            }
            Kind::LeaderDies => self.leader_dies(b)?,
            Kind::LeaderDiesUntold => {
                if let Some(at) = pick(self.log.in_flight.len())
                    && self.leader.is_some()
                {
                    let entry = self.log.in_flight.remove(at);
                    self.struck(Fault::CommittedUntold);
                    let _verdict = self.append(&entry)?;
                    self.call_is_unknown(&entry);
                    self.leader_dies(b)?;
                }
            }
            Kind::LeaderDeposed => self.leader_is_deposed(b)?,
            Kind::OldLeaderNotices => self.old_leader_notices()?,
            Kind::Elect => self.elect()?,

            Kind::ToAgent => {
                let open: Vec<u64> = self.sessions.keys().copied().collect();
                if let Some(at) = pick(open.len()) {
                    self.deliver_to_agent(open[at])?;
                }
            }
            Kind::ToLeader => {
                let open: Vec<u64> = self.sessions.keys().copied().collect();
                if let Some(at) = pick(open.len()) {
                    self.deliver_to_leader(open[at])?;
                }
            }
            Kind::Exchange => {
                if let Some(at) = pick(self.agents.len()) {
                    self.exchange(at)?;
                }
            }
            Kind::Connect => {
                if let (Some(at), Some(leader)) = (pick(self.agents.len()), &self.leader) {
                    let term = leader.term;
                    self.connect(at, term)?;
                }
            }
            Kind::ConnectOld => {
                if let (Some(at), Some(leader)) = (pick(self.agents.len()), &self.old) {
                    let term = leader.term;
                    self.connect(at, term)?;
                }
            }
            Kind::OldLeaderPresses => {
                if let (Some(at), Some(leader)) = (pick(self.agents.len()), &self.old) {
                    let term = leader.term;
                    // One that knows of no other has no reason not to believe it.
                    if self.agents[at].highest_term <= term {
                        return self.check();
                    }
                    self.break_connection(at, true)?;
                    self.connect(at, term)?;
                    self.press(at)?;
                }
            }
            Kind::AskPicture => {
                if let Some(at) = pick(self.agents.len()) {
                    self.ask_picture(at);
                }
            }
            Kind::AskAtAttach => {
                if let (Some(at), Some(leader)) = (pick(self.agents.len()), &self.leader) {
                    let term = leader.term;
                    self.break_connection(at, true)?;
                    self.asks_pictures = true;
                    let answered = self.attach_and_answer(at, term);
                    self.asks_pictures = false;
                    answered?;
                }
            }
            Kind::SaidAgain => {
                if let (Some(at), Some(leader)) = (pick(self.agents.len()), &self.leader) {
                    let term = leader.term;
                    self.process_event(at, Kind::Running, b)?;
                    if let Some(no) = self.agents[at].stream {
                        self.deliver_to_leader(no)?;
                    }
                    self.break_connection(at, true)?;
                    self.process_event(at, Kind::Running, b >> 4)?;
                    self.connect(at, term)?;
                    self.exchange(at)?;
                }
            }
            Kind::Break => {
                if let Some(at) = pick(self.agents.len()) {
                    self.break_connection(at, true)?;
                }
            }
            Kind::BreakUnnoticed => {
                if let Some(at) = pick(self.agents.len()) {
                    self.break_connection(at, false)?;
                }
            }

            Kind::Prepared
            | Kind::PrepareFails
            | Kind::Running
            | Kind::Exit
            | Kind::WatcherDies
            | Kind::ExecutorSubscribes
            | Kind::ExecutorBreaks
            | Kind::ExecutorTells
            | Kind::LateNews => {
                if let Some(at) = pick(self.agents.len()) {
                    self.process_event(at, kind, b)?;
                }
            }
            Kind::CrashBeforeSync | Kind::CrashAfterSync => {
                if let Some(at) = pick(self.agents.len()) {
                    let crash = if kind == Kind::CrashBeforeSync {
                        Crash::BeforeSync
                    } else {
                        Crash::AfterSync
                    };
                    self.agents[at].machine.crash_next(crash);
                }
            }
            Kind::Crash => {
                if let Some(at) = pick(self.agents.len()) {
                    self.agent_dies(at)?;
                }
            }
            Kind::Reboot => {
                if let Some(at) = pick(self.agents.len()) {
                    self.agent_reboots(at)?;
                }
            }
            Kind::Wipe => {
                if let Some(at) = pick(self.agents.len()) {
                    self.wipe(at, b)?;
                }
            }
            Kind::Change => {
                if let Some(at) = pick(self.agents.len()) {
                    self.agents[at].units = 2 + i64::from(b % 6);
                    self.agent_dies(at)?;
                }
            }
            Kind::Impostor => {
                if let Some(at) = pick(self.agents.len()) {
                    self.impostor(at)?;
                }
            }

            Kind::Subscribe => {
                if let Some(at) = pick(self.frameworks.len()) {
                    self.subscribe(at, b)?;
                }
            }
            Kind::Hear => {
                if let Some(at) = pick(self.frameworks.len()) {
                    self.hear(at)?;
                }
            }
            Kind::Accept
            | Kind::Repeat
            | Kind::Decline
            | Kind::Kill
            | Kind::Acknowledge
            | Kind::Revive
            | Kind::Suppress
            | Kind::ShutdownExecutor
            | Kind::Teardown => {
                if let Some(at) = pick(self.frameworks.len()) {
                    self.framework_calls(at, kind, b)?;
                }
            }
            Kind::StreamBreaks => {
                if let Some(at) = pick(self.frameworks.len()) {
                    self.stream_breaks(at)?;
                }
            }

            Kind::Allocate => {
                // Sometimes by the leader that was deposed.
                let timeout = b
                    .is_multiple_of(4)
                    .then(|| DurationMs(u64::from(b >> 8) % 40_000));
                self.allocate(b.is_multiple_of(7), timeout)?;
            }
            Kind::Drain | Kind::Deactivate | Kind::Reactivate | Kind::MarkGone => {
                self.operator_acts(kind, a, b)?;
            }
            Kind::Expire => {
                self.expire()?;
                self.look_at_drains()?;
            }
            Kind::Await => self.look_for_frameworks()?,
            Kind::Retry => self.retry_updates()?,

            Kind::Moment => self.now_ms += u64::from(b % 500),
            Kind::Seconds => self.pass(u64::from(b % 10_000), false)?,
            Kind::Minute => self.pass(30_000 + u64::from(b % 60_000), false)?,
            Kind::SilentMinute => {
                // Sometimes because the agents' machines stand still.
                self.agents_stand_still = b & 1 == 0;
                let passed = self.pass(30_000 + u64::from((b >> 1) % 90_000), true);
                self.agents_stand_still = false;
                passed?;
            }
        }
        self.check()
    }

    /// What must hold after every step, beside what every entry was checked for.
    fn check(&mut self) -> Checked {
        for at in 0..self.agents.len() {
            if std::mem::take(&mut self.agents[at].touched) {
                let checked = self.agents[at].machine.check();
                checked.map_err(|what| Broken::new("I1", what))?;
            }
        }
        Ok(())
    }

    // ---- Duties

    pub(super) fn duty(&mut self, term: Term, commands: Vec<Command>) -> Checked {
        for command in commands {
            self.propose(term, command, Caller::Duty)?;
        }
        Ok(())
    }

    fn has_duty_in_flight(&self) -> bool {
        let mut open = self.log.in_flight.iter();
        open.any(|entry| entry.caller == Caller::Duty)
    }

    pub(super) fn allocate(&mut self, by_old: bool, timeout: Option<DurationMs>) -> Checked {
        let now_ms = self.now_ms;
        if by_old && let Some(old) = &mut self.old {
            let (term, commands) = (old.term, old.allocate(now_ms, timeout));
            return self.duty(term, commands);
        }
        let Some(leader) = &mut self.leader else {
            return Ok(());
        };
        let (term, commands) = (leader.term, leader.allocate(now_ms, timeout));
        let attached: Vec<AgentId> = leader.attached.keys().cloned().collect();
        let now = leader.cluster_time(now_ms);
        self.invariants
            .planned(&leader.state, &attached, &commands, now)?;
        self.duty(term, commands)
    }

    pub(super) fn expire(&mut self) -> Checked {
        let now_ms = self.now_ms;
        let Some(leader) = &self.leader else {
            return Ok(());
        };
        let (term, commands) = (leader.term, leader.look_at_deadlines(now_ms));
        self.duty(term, commands)
    }

    pub(super) fn look_for_frameworks(&mut self) -> Checked {
        let now_ms = self.now_ms;
        let Some(leader) = &mut self.leader else {
            return Ok(());
        };
        let (term, commands) = (leader.term, leader.look_for_frameworks(now_ms));
        self.duty(term, commands)
    }

    pub(super) fn look_at_agents(&mut self) -> Checked {
        // The duty waits for what it proposed before it looks again.
        if self.has_duty_in_flight() {
            return Ok(());
        }
        let now_ms = self.now_ms;
        let Some(leader) = &mut self.leader else {
            return Ok(());
        };
        let (term, commands) = (leader.term, leader.look_at_agents(now_ms));
        self.duty(term, commands)
    }

    pub(super) fn retry_updates(&mut self) -> Checked {
        let now_ms = self.now_ms;
        let Some(leader) = &mut self.leader else {
            return Ok(());
        };
        let (term, due) = (leader.term, leader.look_at_updates(now_ms));
        for task in due {
            self.struck(Fault::UpdateSentAgain);
            self.send_update(term, &task)?;
        }
        Ok(())
    }

    /// Time passes. Leaders, agents and what waits between them go on, but for what is cut.
    pub(super) fn pass(&mut self, ms: u64, silent: bool) -> Checked {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            let slice = SLICE_MS.min(until - self.now_ms);
            self.now_ms += slice;
            // A leader that works does not take seconds to commit.
            self.commit_all(0)?;
            if !self.agents_stand_still {
                self.tick_agents()?;
            }
            if !silent {
                self.ping_all()?;
            }
            self.look_at_agents()?;
        }
        self.expire()?;
        self.look_at_drains()?;
        self.look_for_frameworks()?;
        self.retry_updates()
    }

    // ---- Strangers

    /// A machine that was given a copy of an agent's work directory, but for its epoch.
    fn impostor(&mut self, at: usize) -> Checked {
        let Some(leader) = &self.leader else {
            return Ok(());
        };
        let agent = &self.agents[at];
        let durable = agent.machine.core().durable();
        let Some(id) = durable.agent_id.clone() else {
            return Ok(());
        };
        let attach = Attach {
            epoch: AgentEpoch(u128::MAX),
            ..agent.attach()
        };
        let host = attachment::Host {
            cluster: CLUSTER,
            term: leader.term,
            has_domain: false,
        };
        let admission = attachment::admit(&leader.state, host, &attach);
        match admission.answer {
            Answer::Refuse(..) => self.struck(Fault::ImpostorRefused),
            Answer::Known(known) => {
                return Err(Broken::new(
                    "I6",
                    format!("two machines are taken for {known}"),
                ));
            }
            Answer::Propose(command) => {
                let entry = InFlight {
                    number: 0,
                    term: leader.term,
                    proposal: Proposal {
                        proposed_at: leader.cluster_time(self.now_ms),
                        wall: WallTime(self.now_ms),
                        command,
                    },
                    caller: Caller::Duty,
                    evidence: None,
                };
                let verdict = self.append(&entry)?;
                if matches!(&verdict, Ok(Outcome::AgentRegistered { agent }) if *agent == id) {
                    return Err(Broken::new(
                        "I6",
                        format!("two machines are registered as {id}"),
                    ));
                }
                let state = self.log.state.clone();
                if let Some(leader) = &mut self.leader {
                    leader.state = state;
                }
            }
        }
        Ok(())
    }

    /// An agent's machine is wiped and comes up with an empty directory. Sometimes the old directory
    /// is not lost and comes back, too.
    fn wipe(&mut self, at: usize, b: u32) -> Checked {
        if self.agents[at].machine.core().durable().agent_id.is_none() {
            return Ok(());
        }
        self.break_connection(at, true)?;
        let epoch = AgentEpoch(self.mint());
        let first_id = self.mint() * IDS;
        let (n, units) = (self.agents[at].n, self.agents[at].units);
        let fresh = SimAgent::new(n, epoch, units, first_id);
        let mut old = std::mem::replace(&mut self.agents[at], fresh);
        if b.is_multiple_of(2) && self.agents.len() < AGENTS_MAX {
            old.is_former = true;
            self.agents.push(old);
        } else {
            self.invariants.machine_is_gone(&old.machine);
        }
        Ok(())
    }

    // ---- Coverage

    fn cover(&mut self, entry: &InFlight, before: &State, applied: &regency_state::Applied) {
        use regency_types::TaskState;
        let refused = |refusal: &Refusal| matches!(refusal, Refusal::OffersInvalid(_));
        match (&entry.proposal.command, &applied.verdict) {
            (Command::AcceptOffers(c), Ok(Outcome::Accepted { n_refused, .. })) => {
                let mut named = c.offers.iter().flatten();
                if named.clone().any(|id| before.consumed(*id).is_some()) {
                    self.struck(Fault::CallRepeated);
                    return;
                }
                if *n_refused > 0 {
                    self.struck(Fault::LaunchRefused);
                }
                let began = before.term().map_or(0, |t| t.wall.0);
                let old = |id: &regency_types::OfferId| {
                    before.offer(*id).is_some_and(|o| o.made.0 < began)
                };
                if named.any(old) {
                    self.struck(Fault::OffersCarriedOver);
                }
            }
            (Command::AcceptOffers(_), Err(refusal)) if refused(refusal) => {
                self.struck(Fault::InvalidOffersUsed);
            }
            (Command::DeclineOffers(_), Ok(Outcome::Removed { n: 1.. })) => {
                self.struck(Fault::OfferDeclined);
            }
            (Command::RescindOffers(_), Ok(Outcome::Removed { n: 1.. })) => {
                self.struck(Fault::OfferRescinded);
            }
            (Command::ExpireOffers(_), Ok(Outcome::Removed { n: 1.. })) => {
                self.struck(Fault::OfferExpired);
            }
            (Command::SuspectAgents(_), Ok(_)) => self.struck(Fault::AgentSuspected),
            (Command::MarkAgentUnreachable(c), Ok(_)) => {
                self.struck(Fault::AgentUnreachable);
                let outbox = before.agent(&c.agent).map(|a| a.outbox.clone());
                let launch = |c: &regency_state::model::AgentCommand| c.launches().next().is_some();
                if outbox.is_some_and(|o| o.values().any(launch)) {
                    self.struck(Fault::LaunchWithdrawn);
                }
            }
            (Command::ReregisterAgent(c), Ok(_)) => {
                let known = before.agent(&c.agent);
                if known.is_some_and(|a| !a.is_registered()) {
                    self.struck(Fault::AgentReturned);
                }
                if known.is_some_and(|a| a.spec != c.spec) {
                    self.struck(Fault::ResourcesChanged);
                }
            }
            (Command::KillTask(c), Ok(Outcome::Done)) => {
                let task = before.task(&c.task);
                let away = task
                    .and_then(|t| before.agent(&t.agent))
                    .is_some_and(|a| !a.is_registered());
                if away {
                    self.struck(Fault::KillWaited);
                }
                match task.map(|t| t.state) {
                    Some(TaskState::Running) => self.struck(Fault::KilledWhileRunning),
                    Some(TaskState::Staging) => self.struck(Fault::KilledBeforeStart),
                    _ => {}
                }
            }
            (Command::FrameworkDisconnected(_), Ok(_)) => self.struck(Fault::FrameworkDisconnected),
            (Command::ExpireFramework(_), Ok(_)) => self.struck(Fault::FrameworkExpired),
            (Command::TeardownFramework(_), Ok(_)) => self.struck(Fault::FrameworkTornDown),
            (Command::SubscribeFramework(_), Ok(_)) => {
                let again = |e: &Effect| matches!(e, Effect::CloseStream { .. });
                if applied.effects.iter().any(again) {
                    self.struck(Fault::FrameworkFailedOver);
                }
            }
            (Command::EndExecutors(_), Ok(_)) => self.struck(Fault::ExecutorEnded),
            (Command::DrainAgent(c), Ok(_)) => {
                let busy = before.agent(&c.agent).filter(|a| !a.tasks.is_empty());
                if busy.is_some_and(|a| !a.is_registered()) {
                    self.struck(Fault::DrainWaited);
                }
            }
            (Command::AgentDrained(_), Ok(_)) => self.struck(Fault::AgentDrained),
            (Command::ReactivateAgent(_), Ok(_)) => self.struck(Fault::AgentReactivated),
            (Command::MarkAgentGone(_), Ok(_)) => self.struck(Fault::AgentGone),
            _ => {}
        }
        let detaches = |e: &Effect| matches!(e, Effect::DetachAgent { .. });
        if matches!(entry.proposal.command, Command::RegisterAgent(_))
            && applied.effects.iter().any(detaches)
        {
            self.struck(Fault::AgentSuperseded);
        }
        for effect in &applied.effects {
            if let Effect::SendStatus { status, .. } = effect
                && status.state == TaskState::Gone
            {
                self.coverage.struck(Fault::TaskGone);
            }
        }
        if let Command::ApplyReports(c) = &entry.proposal.command {
            let dropped = |r: &regency_state::TaskReport| r.latest_state == TaskState::Dropped;
            if c.reports.iter().any(dropped) {
                self.struck(Fault::TaskDropped);
            }
        }
        if let Command::RegisterAgent(_) = &entry.proposal.command
            && let Ok(Outcome::AgentRegistered { agent }) = &applied.verdict
        {
            note!(self, "         an agent is {}", short(agent));
        }
    }

    pub(super) fn agent_resources(units: i64) -> Resources {
        Resources::of_scalar("cpus", Milli::from_units(units))
            + Resources::of_scalar("mem", Milli::from_units(units * 64))
    }
}

fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Ok(outcome) => format!("{outcome:?}"),
        Err(refusal) => format!("refused: {refusal}"),
    }
}
