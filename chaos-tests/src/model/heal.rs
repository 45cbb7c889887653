//! Faults end, and everything must heal.
//!
//! First nothing ends but what was killed, so that a kill that was forgotten shows. Then everything
//! ends, every end is told and acknowledged, and what is free is offered again.

use regency_agent_core::Exit;
use regency_testkit::agent::Process;
use regency_types::{OfferId, TaskState};

use super::World;
use super::op::Kind;
use super::world::note;
use crate::invariants::{Broken, Checked};

/// Simulated milliseconds between two rounds.
const ROUND_MS: u64 = 1_000;
/// The longest a filter lasts that frameworks of the model ask for.
const FILTERS_MAX_MS: u64 = 31_000;
/// Rounds after which nothing may be left to do.
const ROUNDS_MAX: usize = 60;

/// What is left to do when a subscription was committed that no scheduler ever heard of.
const GHOST: &str = "a framework without a scheduler is there";

impl World {
    /// Ends all faults and checks that everything heals.
    ///
    /// # Errors
    /// What does not heal.
    pub fn heal(&mut self) -> Checked {
        note!(self, "---- faults end");
        self.healing = true;
        self.old_leader_notices()?;
        self.elect()?;
        // Timers run out: kills become SIGKILL, executors that do not come back are given up.
        for what in ["kills are carried out", "everything ends"] {
            let everything_ends = what == "everything ends";
            let mut rounds = 0;
            loop {
                let busy = self.round(everything_ends)?;
                if busy.is_none() {
                    break;
                }
                rounds += 1;
                if busy.as_deref() == Some(GHOST) {
                    // Its failover timeout has to run out.
                    self.pass(20_000, false)?;
                }
                if rounds > ROUNDS_MAX {
                    let busy = busy.unwrap_or_default();
                    return Err(Broken::new("I16", format!("{what}, but never: {busy}")));
                }
            }
            note!(self, "---- {what}, in {rounds} rounds");
            if !everything_ends {
                self.check_kills()?;
            }
        }
        self.check_offers()?;
        self.check_healed()
    }

    /// A second in which everybody does what is to be done. Gives what was left to do.
    fn round(&mut self, everything_ends: bool) -> Checked<Option<String>> {
        self.now_ms += ROUND_MS;
        let Some(term) = self.leader.as_ref().map(|leader| leader.term) else {
            return Ok(Some("nobody leads".to_owned()));
        };
        self.commit_all(0)?;
        self.tick_agents()?;
        for at in 0..self.agents.len() {
            let stands = self.agents[at]
                .stream
                .and_then(|no| self.sessions.get(&no))
                .is_some_and(|s| s.is_open() && s.term == term);
            if !stands {
                self.break_connection(at, true)?;
                self.connect(at, term)?;
            }
            self.processes_go_on(at, everything_ends)?;
            self.exchange(at)?;
        }
        self.hang_up_the_lost()?;
        self.ping_all()?;
        for at in 0..self.frameworks.len() {
            if self.frameworks[at]
                .open_stream()
                .is_none_or(|(_, its)| its != term)
            {
                if self.frameworks[at].is_over {
                    continue;
                }
                self.subscribe(at, 0)?;
                self.commit_all(0)?;
            }
            self.hear(at)?;
            self.acknowledge_some(at, u32::MAX)?;
            self.commit_all(0)?;
        }
        self.look_at_agents()?;
        self.look_at_drains()?;
        self.commit_all(0)?;
        self.give_back_agents()?;
        self.expire()?;
        self.look_for_frameworks()?;
        self.retry_updates()?;
        self.commit_all(0)?;
        self.check_step()?;
        Ok(self.left_to_do(everything_ends))
    }

    /// Connections that only one side knows of.
    fn hang_up_the_lost(&mut self) -> Checked {
        let lost: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| !s.is_open())
            .map(|(no, _)| *no)
            .collect();
        for no in lost {
            self.leader_closes(no);
            self.deliver_to_agent(no)?;
        }
        Ok(())
    }

    /// Processes get on; those that were told to end do.
    pub(super) fn processes_go_on(&mut self, at: usize, everything_ends: bool) -> Checked {
        while let Some(id) = self.first(at, Process::Preparing) {
            self.with_machine(at, |m| m.prepared(id))?;
        }
        let running = self.agents[at].machine.processes_that(Process::Running);
        for id in running {
            let machine = &self.agents[at].machine;
            if machine.process(&id) != Some(Process::Running) {
                continue;
            }
            if !machine.is_executor(&id) {
                // Some commands do not heed SIGTERM.
                let heeds = !id.generation.0.is_multiple_of(3);
                if everything_ends || heeds && machine.is_asked_to_end(&id) {
                    self.with_machine(at, |m| m.end(id, Exit::Exited(0)))?;
                } else {
                    self.agent_input(at, regency_agent_core::Input::Running(id))?;
                }
                continue;
            }
            self.with_machine(at, |m| m.executor_subscribes(&id))?;
            let memory = self.agents[at].machine.memory(&id);
            let killed = memory.map(|m| m.killed()).unwrap_or_default();
            for task in killed {
                self.with_machine(at, |m| m.executor_tells(&id, task, TaskState::Killed))?;
            }
            if everything_ends {
                self.with_machine(at, |m| m.executor_finishes(&id))?;
                if self.agents[at].machine.process(&id) == Some(Process::Running) {
                    self.with_machine(at, |m| m.end(id, Exit::Exited(0)))?;
                }
            }
        }
        Ok(())
    }

    fn first(&self, at: usize, wanted: Process) -> Option<regency_agent_core::LaunchId> {
        if self.agents[at].stopped {
            return None;
        }
        self.agents[at]
            .machine
            .processes_that(wanted)
            .into_iter()
            .next()
    }

    /// What somebody still has to do.
    fn left_to_do(&self, everything_ends: bool) -> Option<String> {
        if let Some(entry) = self.log.in_flight.first() {
            return Some(format!("{} is in flight", entry.proposal.command.name()));
        }
        for (at, agent) in self.agents.iter().enumerate() {
            if agent.stopped {
                continue;
            }
            let session = agent.stream.and_then(|no| self.sessions.get(&no));
            if !session.is_some_and(|s| s.is_open() && s.is_attached() && s.is_quiet()) {
                return Some(format!("agent {at} is not attached, or not done"));
            }
            if agent.is_former {
                return Some(format!("agent {at} was removed and goes on"));
            }
            let durable = agent.machine.core().durable();
            let Some(record) = durable
                .agent_id
                .as_ref()
                .and_then(|id| self.log.state.agent(id))
            else {
                return Some(format!("agent {at} is not known"));
            };
            if !record.is_registered() {
                return Some(format!("agent {at} is not registered"));
            }
            if record.deactivated {
                return Some(format!("agent {at} is out of use"));
            }
            if record.confirmed_seq != record.command_seq {
                return Some(format!(
                    "agent {at} noted {} of {} commands",
                    record.confirmed_seq, record.command_seq
                ));
            }
            let executors = durable.executors.values();
            if everything_ends && executors.count() > 0 {
                return Some(format!("agent {at} has executors"));
            }
            if everything_ends && let Some(id) = durable.tasks.keys().next() {
                return Some(format!("agent {at} has {id}"));
            }
            let silent = durable.tasks.values().any(|task| task.silent);
            if silent {
                return Some(format!("agent {at} has tasks of a framework that is gone"));
            }
        }
        for (at, framework) in self.frameworks.iter().enumerate() {
            if !framework.is_over && framework.open_stream().is_none() {
                return Some(format!("framework {at} is not subscribed"));
            }
        }
        let unacked = self.log.state.tasks().find(|t| t.unacked.is_some());
        if let Some(task) = unacked
            && self.is_heard(&task.key.framework)
        {
            return Some(format!("an update of {} waits", task.key.task));
        }
        if self.log.state.frameworks().any(|f| !self.is_heard(&f.id)) {
            return Some(GHOST.to_owned());
        }
        let mut living = self.log.state.tasks();
        if let Some(task) = living.find(|t| self.must_end(t, everything_ends)) {
            return Some(format!("{} is {}", task.key.task, task.state.name()));
        }
        None
    }

    /// Whether somebody of the model still is this framework.
    fn is_heard(&self, id: &regency_types::FrameworkId) -> bool {
        let mut frameworks = self.frameworks.iter();
        frameworks.any(|f| f.id.as_ref() == Some(id) && !f.is_over)
    }

    fn must_end(&self, task: &regency_state::model::Task, everything_ends: bool) -> bool {
        !task.is_terminal() && (everything_ends || task.kill.is_some())
    }

    /// Every kill that was committed has had its effect.
    fn check_kills(&self) -> Checked {
        let mut tasks = self.log.state.tasks();
        match tasks.find(|t| t.kill.is_some() && !t.is_terminal()) {
            Some(task) => Err(Broken::new(
                "I16",
                format!("{} was to be killed and is {}", task.key, task.state.name()),
            )),
            None => Ok(()),
        }
    }

    /// Everything that is free is offered to who wants it within two rounds of allocation.
    fn check_offers(&mut self) -> Checked {
        for at in 0..self.frameworks.len() {
            let framework = &self.frameworks[at];
            if framework.is_over || framework.id.is_none() {
                continue;
            }
            for other in 0..self.frameworks.len() {
                let wanted = if other == at {
                    Kind::Revive
                } else {
                    Kind::Suppress
                };
                if self.frameworks[other].is_over {
                    continue;
                }
                let suppressed = self.frameworks[other].id.as_ref().and_then(|id| {
                    let framework = self.log.state.framework(id);
                    framework.map(|f| !f.suppressed.is_empty())
                });
                // Filters end by themselves; REVIVE would clear them.
                if other != at || suppressed == Some(true) {
                    self.framework_calls(other, wanted, 0)?;
                    self.commit_all(0)?;
                }
                self.hear(other)?;
                let offers: Vec<OfferId> = self.frameworks[other].offers.keys().copied().collect();
                self.give_back(other, offers, 0)?;
                self.commit_all(0)?;
                // What it does not know to have, the state does.
                let stale: Vec<OfferId> = self.stale_offers(other);
                self.give_back(other, stale, 0)?;
                self.commit_all(0)?;
            }
            self.now_ms += FILTERS_MAX_MS;
            for _ in 0..2 {
                self.now_ms += ROUND_MS;
                self.allocate(false, None)?;
                self.commit_all(0)?;
            }
            self.hear(at)?;
            for agent in self.log.state.agents() {
                let offered = self.frameworks[at].offers.values();
                let offered = offered.filter(|(its, _)| *its == agent.id);
                let offered: regency_resources::Resources =
                    offered.map(|(_, resources)| resources).sum();
                // Agents that never came back hold what they hold.
                if agent.is_registered()
                    && self
                        .leader
                        .as_ref()
                        .is_some_and(|l| l.attached.contains_key(&agent.id))
                    && offered != agent.total
                {
                    return Err(Broken::new(
                        "I16",
                        format!("framework {at} is offered {offered} of {}", agent.total),
                    ));
                }
            }
        }
        Ok(())
    }

    fn stale_offers(&self, at: usize) -> Vec<OfferId> {
        let Some(id) = &self.frameworks[at].id else {
            return Vec::new();
        };
        let framework = self.log.state.framework(id);
        framework
            .map(|f| f.offers.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Nothing runs, everything was told, and all pictures agree.
    fn check_healed(&mut self) -> Checked {
        for (at, agent) in self.agents.iter().enumerate() {
            if let Some(id) = agent.machine.processes_that(Process::Running).first() {
                let rule = if agent.is_former { "I8" } else { "I16" };
                return Err(Broken::new(rule, format!("{id} still runs on agent {at}")));
            }
            let durable = agent.machine.core().durable();
            if !agent.is_former
                && let Some(record) = durable
                    .agent_id
                    .as_ref()
                    .and_then(|id| self.log.state.agent(id))
                && regency_leader_core::attachment::digest(&self.log.state, record)
                    != durable.digest()
            {
                let what = format!("agent {at} and the masters see different tasks");
                return Err(Broken::new("I13", what));
            }
        }
        let machines: Vec<_> = self.agents.iter().map(|agent| &agent.machine).collect();
        self.invariants
            .healed(&self.log.state, &machines, &self.frameworks)
    }

    fn check_step(&mut self) -> Checked {
        for agent in &mut self.agents {
            if std::mem::take(&mut agent.touched) {
                agent
                    .machine
                    .check()
                    .map_err(|what| Broken::new("I1", what))?;
            }
        }
        Ok(())
    }
}
