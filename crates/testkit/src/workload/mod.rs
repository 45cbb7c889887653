//! An imagined cluster: agents, schedulers and a leader that propose what real ones would, in an
//! order that chance decides, including what comes late, twice, or from a view that is old.
//!
//! The agents follow the rules of the real ones (numbered streams, one head per task, tombstones),
//! so what they started is known, and a test can compare what was told with what was true.

mod agents;
mod leader;
mod maintenance;
mod nonsense;
mod operations;
mod roles;
mod schedulers;

use std::collections::BTreeMap;

use regency_state::{Applied, Command, Proposal, State};
use regency_types::{ClusterTime, DurationMs, Generation, StreamId, TaskKey, UpdateUuid, WallTime};

use crate::Rng;
use agents::ImaginedAgent;
use schedulers::ImaginedScheduler;

/// Longest pause between two entries.
const PAUSE_MAX: DurationMs = DurationMs(2_000);
/// How many entries are kept to be proposed again.
const PAST_MAX: usize = 32;

/// The imagined cluster of one seed.
#[derive(Debug)]
pub struct Workload {
    rng: Rng,
    now: ClusterTime,
    term: u64,
    n_minted: u128,
    agents: Vec<ImaginedAgent>,
    schedulers: Vec<ImaginedScheduler>,
    started: BTreeMap<(TaskKey, Generation), u32>,
    past: Vec<Command>,
    old_view: State,
}

impl Workload {
    /// The cluster of this seed, in which nothing happened yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let n_agents = 1 + rng.below(4);
        let n_schedulers = 1 + rng.below(3);
        let mut workload = Self {
            rng,
            now: ClusterTime(0),
            term: 0,
            n_minted: 0,
            agents: Vec::new(),
            schedulers: Vec::new(),
            started: BTreeMap::new(),
            past: Vec::new(),
            old_view: State::default(),
        };
        for n in 0..n_agents {
            let epoch = workload.mint();
            workload.agents.push(ImaginedAgent::new(n, epoch));
        }
        for n in 0..n_schedulers {
            let scheduler = ImaginedScheduler::new(n, &mut workload.rng);
            workload.schedulers.push(scheduler);
        }
        workload
    }

    /// What is proposed next, given the newest state.
    pub fn next(&mut self, state: &State) -> Proposal {
        let command = if state.term().is_none() {
            self.begin_term(state)
        } else {
            loop {
                if let Some(command) = self.try_next(state) {
                    break command;
                }
            }
        };
        self.remember(&command, state);
        self.propose(command)
    }

    fn propose(&mut self, command: Command) -> Proposal {
        self.now += DurationMs(self.rng.below(PAUSE_MAX.0));
        // A leader whose clock is behind, as one that led for a shorter time.
        let behind = if self.rng.chance(5) {
            self.rng.below(PAUSE_MAX.0 * 4)
        } else {
            0
        };
        Proposal {
            proposed_at: ClusterTime(self.now.0.saturating_sub(behind)),
            wall: WallTime(1_000_000 + self.rng.below(1_000_000)),
            command,
        }
    }

    /// One thing that somebody does; `None` when it needs no entry.
    fn try_next(&mut self, state: &State) -> Option<Command> {
        match self.rng.below(100) {
            0 if self.rng.chance(20) => self.change_cluster(state),
            0..=1 => Some(self.begin_term(state)),
            2..=29 => self.agent_acts(state),
            30..=47 => self.leader_offers(state),
            48 => self.operator_acts(state),
            49 if self.rng.chance(50) => self.operator_acts(state),
            49..=51 => self.operator_takes_out(state),
            52..=59 => self.leader_tidies(state),
            60..=93 => self.scheduler_acts(state),
            94 if self.rng.chance(10) => Some(self.raise_feature_level()),
            94..=96 => self.repeat(state),
            97 if self.rng.chance(30) => Some(self.report_state_hash()),
            97 => Some(self.operator_decides(state)),
            _ => {
                // Time passes, so that deadlines come.
                self.now += DurationMs(self.rng.below(20_000));
                None
            }
        }
    }

    fn repeat(&mut self, state: &State) -> Option<Command> {
        let command = self.rng.pick(&self.past)?.clone();
        match &command {
            // A log holds no registration of an agent after that of the one that took its place.
            Command::RegisterAgent(c) if self.agents.iter().all(|a| a.epoch != c.epoch) => None,
            // Nor that of one that has its id, after it was marked gone.
            Command::RegisterAgent(c) if state.agent_of_epoch(c.epoch).is_none() => None,
            _ => Some(command),
        }
    }

    fn remember(&mut self, command: &Command, state: &State) {
        if matches!(command, Command::ChangeCluster(_)) {
            return;
        }
        if self.past.len() < PAST_MAX {
            self.past.push(command.clone());
        } else {
            let at = self.rng.index(PAST_MAX);
            self.past[at] = command.clone();
        }
        if self.rng.chance(20) {
            self.old_view = state.clone();
        }
    }

    /// Lets those who asked know what became of it.
    pub fn applied(&mut self, proposal: &Proposal, applied: &Applied) {
        self.agents_learn(&proposal.command, applied);
        self.schedulers_learn(&proposal.command, applied);
    }

    /// How often each launch was started on an agent.
    #[must_use]
    pub fn started(&self) -> &BTreeMap<(TaskKey, Generation), u32> {
        &self.started
    }

    /// Whether the agent that holds this launch still runs it.
    #[must_use]
    pub fn is_running(&self, key: &TaskKey, generation: Generation) -> bool {
        self.agents.iter().any(|a| a.is_running(key, generation))
    }

    fn mint(&mut self) -> u128 {
        self.n_minted += 1;
        self.n_minted
    }

    fn mint_stream(&mut self) -> StreamId {
        StreamId(self.mint())
    }

    fn mint_uuid(&mut self) -> UpdateUuid {
        UpdateUuid(self.mint())
    }
}

/// Healing: nothing fails any more and everyone does what is waiting.
impl Workload {
    /// What is still to be done until everyone has been told everything; `None` when nothing is.
    /// Each round first lets the agents follow their commands.
    pub fn heal(&mut self, state: &State) -> Option<Proposal> {
        let command = self
            .heal_maintenance(state)
            .or_else(|| self.heal_agents(state))
            .or_else(|| self.acknowledge_any(state))?;
        Some(self.propose(command))
    }
}
