//! Agents as the masters see them: two numbered streams and a table of launches.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use regency_resources::{Milli, Resources};
use regency_state::model::{AgentCommand, AgentSpec, ExecutorKey};
use regency_state::{
    Applied, ApplyReports, Command, EndExecutors, ExecutorExit, ExecutorSpec, InventoryTask,
    Outcome, RegisterAgent, ReportedExecutor, ReportedUpdate, ReregisterAgent, ResyncAgent,
    ResyncExecutors, State, TakeInventory, TaskReport, TaskSpec,
};
use regency_types::{AgentEpoch, AgentId, BootId, Generation, TaskKey, TaskState};

use super::Workload;

type LaunchKey = (TaskKey, Generation);

/// An agent with its checkpoints.
#[derive(Debug)]
pub(super) struct ImaginedAgent {
    n: u64,
    pub(super) epoch: AgentEpoch,
    id: Option<AgentId>,
    units: i64,
    noted_seq: u64,
    report_seq: u64,
    launches: BTreeMap<LaunchKey, ImaginedLaunch>,
    /// Executors, with the number of the report of their end.
    executors: BTreeMap<(ExecutorKey, Generation), Option<u64>>,
    /// Whether its picture differs from the masters' for all it knows.
    wants_resync: bool,
    /// A picture that was proposed, or will be, later than it was true.
    old_picture: Option<Command>,
}

#[derive(Debug, Default)]
struct ImaginedLaunch {
    updates: VecDeque<(u64, ReportedUpdate)>,
    n_updates: u64,
    latest: Option<TaskState>,
    runs: bool,
    report_seq: u64,
    /// All tasks of its group.
    group: Vec<LaunchKey>,
}

impl ImaginedAgent {
    pub(super) fn new(n: u64, epoch: u128) -> Self {
        Self {
            n,
            epoch: AgentEpoch(epoch),
            id: None,
            units: 8,
            noted_seq: 0,
            report_seq: 0,
            launches: BTreeMap::new(),
            executors: BTreeMap::new(),
            wants_resync: false,
            old_picture: None,
        }
    }

    pub(super) fn is_running(&self, key: &TaskKey, generation: Generation) -> bool {
        self.launches
            .get(&(key.clone(), generation))
            .is_some_and(|l| l.runs)
    }

    fn spec(&self) -> AgentSpec {
        AgentSpec {
            info: Bytes::from(format!("{} units", self.units)),
            hostname: format!("host{}", self.n),
            address: format!("10.0.0.{}:5051", self.n),
            total: Resources::of_scalar("cpus", Milli::from_units(self.units))
                + Resources::of_scalar("mem", Milli::from_units(self.units * 64))
                + Resources::of_scalar("disk", Milli::from_units(self.units * 100)),
            version: "1".to_owned(),
        }
    }

    fn register(&self) -> Command {
        Command::RegisterAgent(RegisterAgent {
            epoch: self.epoch,
            boot: BootId(1),
            spec: self.spec(),
        })
    }

    fn report_of(&self, key: &LaunchKey, report_seq: u64) -> Option<TaskReport> {
        let launch = self.launches.get(key)?;
        let head = launch.updates.front();
        Some(TaskReport {
            report_seq,
            task: key.0.clone(),
            generation: key.1,
            task_seq: head.map_or(0, |(seq, _)| *seq),
            head: head.map(|(_, update)| update.clone()),
            latest_state: launch.latest.unwrap_or(TaskState::Staging),
        })
    }

    /// The first end of an executor above `applied`.
    fn next_exit(&self, applied: u64) -> Option<ExecutorExit> {
        let exits = self
            .executors
            .iter()
            .filter_map(|(key, end)| Some((key, (*end)?)));
        exits
            .filter(|(_, report_seq)| *report_seq > applied)
            .min_by_key(|(_, report_seq)| *report_seq)
            .map(|((executor, instance), report_seq)| ExecutorExit {
                report_seq,
                executor: executor.clone(),
                instance: *instance,
                status: Some(0),
            })
    }

    /// The first end of an executor above `applied`, when nothing comes before it.
    fn end_executor(&self, id: &AgentId, applied: u64) -> Option<Command> {
        let exit = self.next_exit(applied)?;
        self.reports(applied).is_empty().then(|| {
            Command::EndExecutors(EndExecutors {
                agent: id.clone(),
                epoch: self.epoch,
                command_seq: self.noted_seq,
                exits: vec![exit],
            })
        })
    }

    fn resync_executors(&self, id: AgentId) -> Command {
        let living = self.executors.iter().filter(|(_, end)| end.is_none());
        Command::ResyncExecutors(ResyncExecutors {
            agent: id,
            epoch: self.epoch,
            command_seq: self.noted_seq,
            executors: living
                .map(|((key, instance), _)| ReportedExecutor {
                    key: key.clone(),
                    instance: *instance,
                    spec: Some(ExecutorSpec {
                        executor: key.executor.clone(),
                        resources: Resources::of_scalar("cpus", Milli(250)),
                        info: Bytes::new(),
                    }),
                    role: None,
                })
                .collect(),
        })
    }

    fn executor_ends(&mut self, key: &(ExecutorKey, Generation)) {
        if let Some(end @ None) = self.executors.get_mut(key) {
            self.report_seq += 1;
            *end = Some(self.report_seq);
        }
    }

    /// Everything above `applied` and before the next end of an executor, in the order of the numbers.
    fn reports(&self, applied: u64) -> Vec<TaskReport> {
        let end = self
            .next_exit(applied)
            .map_or(u64::MAX, |exit| exit.report_seq);
        let mut reports: Vec<TaskReport> = self
            .launches
            .iter()
            .filter(|(_, l)| l.report_seq > applied && l.report_seq < end && !l.updates.is_empty())
            .filter_map(|(key, l)| self.report_of(key, l.report_seq))
            .collect();
        reports.sort_by_key(|r| r.report_seq);
        reports
    }

    fn resync(&self, id: AgentId) -> Command {
        Command::ResyncAgent(ResyncAgent {
            agent: id,
            epoch: self.epoch,
            command_seq: self.noted_seq,
            report_seq: self.report_seq,
            tasks: self
                .launches
                .keys()
                .filter_map(|key| self.report_of(key, 0))
                .collect(),
        })
    }
}

impl Workload {
    pub(super) fn agent_acts(&mut self, state: &State) -> Option<Command> {
        let at = self.rng.index(self.agents.len());
        let Some(id) = self.agents[at].id.clone() else {
            return Some(self.agents[at].register());
        };
        let Some(known) = state.agent(&id).cloned() else {
            // It was removed, told to end everything, and is set up anew.
            return Some(self.lose_checkpoints(at));
        };
        match self.rng.below(100) {
            0..=1 => return Some(self.lose_checkpoints(at)),
            2..=3 => return Some(self.agents[at].register()),
            4..=9 => return Some(self.change(at, id)),
            10..=14 => self.agents[at].wants_resync = true,
            15 => self.forget_one(at),
            16..=18 => self.agents[at].old_picture = Some(self.agents[at].resync(id.clone())),
            19..=21 => {
                if let Some(picture) = self.agents[at].old_picture.take() {
                    return Some(picture);
                }
            }
            _ => {}
        }
        if known.inventory_due && known.is_registered() {
            if self.rng.chance(50) {
                return Some(self.agents[at].resync_executors(id));
            }
            return Some(self.adopt(at, id, known.confirmed_seq));
        }
        if !known.is_registered() {
            // Cut off: it runs on and is heard when it can attach again.
            self.progress(at);
            return self.rng.chance(30).then(|| self.reregister(at, id));
        }
        let n_commands = self.rng.below(4);
        self.follow(
            at,
            known.outbox.iter().map(|(s, c)| (*s, c.clone())),
            n_commands,
        );
        if self.rng.chance(60) {
            self.progress(at);
        }
        if self.rng.chance(10) {
            let executors: Vec<_> = self.agents[at].executors.keys().cloned().collect();
            if let Some(key) = self.rng.pick(&executors) {
                self.agents[at].executor_ends(key);
            }
        }
        if self.rng.chance(4) {
            return Some(self.agents[at].resync_executors(id));
        }
        if self.agents[at].wants_resync {
            self.agents[at].wants_resync = false;
            return Some(self.agents[at].resync(id));
        }
        let end = self.agents[at].end_executor(&id, known.report_seq);
        end.or_else(|| self.report(at, id, known.report_seq))
    }

    /// Its reports, often not all of them, so that others come in between.
    fn report(&mut self, at: usize, id: AgentId, applied: u64) -> Option<Command> {
        let agent = &self.agents[at];
        let mut reports = agent.reports(applied);
        let noted = agent.noted_seq;
        if self.rng.chance(30) {
            reports.truncate(1);
        }
        if self.rng.chance(3) && reports.len() > 1 {
            // A message got lost: what it told is found missing by a comparison of pictures.
            reports.remove(0);
            self.agents[at].wants_resync = true;
        }
        if reports.is_empty() && !self.rng.chance(20) {
            return None;
        }
        Some(Command::ApplyReports(ApplyReports {
            agent: id,
            epoch: self.agents[at].epoch,
            command_seq: noted,
            reports,
        }))
    }

    fn reregister(&mut self, at: usize, id: AgentId) -> Command {
        let mut epoch = self.agents[at].epoch;
        if self.rng.chance(2) {
            // Another machine that was given a copy of the id.
            epoch.0 = u128::MAX;
        }
        Command::ReregisterAgent(ReregisterAgent {
            agent: id,
            epoch,
            boot: BootId(1 + u128::from(self.rng.below(2))),
            spec: self.agents[at].spec(),
        })
    }

    fn change(&mut self, at: usize, id: AgentId) -> Command {
        self.agents[at].units = 2 + self.rng.below(10) as i64;
        self.reregister(at, id)
    }

    /// The machine is wiped: everything on it ends and it is a new agent at the old address.
    fn lose_checkpoints(&mut self, at: usize) -> Command {
        let (n, epoch) = (self.agents[at].n, self.mint());
        self.agents[at] = ImaginedAgent::new(n, epoch);
        self.agents[at].register()
    }

    /// A checkpoint of one launch is unreadable: what ran ended with its agent's restart.
    fn forget_one(&mut self, at: usize) {
        let known: Vec<LaunchKey> = self.agents[at].launches.keys().cloned().collect();
        if let Some(key) = self.rng.pick(&known) {
            self.agents[at].launches.remove(key);
            self.agents[at].wants_resync = true;
        }
    }

    /// Notes and follows up to `n_max` commands.
    fn follow(
        &mut self,
        at: usize,
        commands: impl Iterator<Item = (u64, AgentCommand)>,
        n_max: u64,
    ) {
        let noted = self.agents[at].noted_seq;
        let new = commands.filter(|(seq, _)| *seq > noted);
        for (seq, command) in new.take(n_max as usize) {
            self.agents[at].noted_seq = seq;
            self.follow_one(at, command);
        }
    }

    fn follow_one(&mut self, at: usize, command: AgentCommand) {
        match command {
            AgentCommand::Launch { task, generation } => {
                self.launch(at, (task, generation), Vec::new());
            }
            AgentCommand::LaunchGroup { tasks } => {
                for key in &tasks {
                    self.launch(at, key.clone(), tasks.clone());
                }
            }
            AgentCommand::DropGroup { tasks } => {
                for key in tasks {
                    self.bury(at, key, TaskState::Dropped);
                }
            }
            AgentCommand::DropLaunch { task, generation } => {
                self.bury(at, (task, generation), TaskState::Dropped);
            }
            AgentCommand::Kill {
                task, generation, ..
            } => {
                self.follow_kill(at, (task, generation), TaskState::Killed);
            }
            AgentCommand::DrainTask {
                task,
                generation,
                gone,
                ..
            } => {
                let end = if gone {
                    TaskState::GoneByOperator
                } else {
                    TaskState::Killed
                };
                self.follow_kill(at, (task, generation), end);
            }
            AgentCommand::Acknowledge {
                task,
                generation,
                uuid,
            } => {
                let key = (task, generation);
                let agent = &mut self.agents[at];
                let Some(launch) = agent.launches.get_mut(&key) else {
                    return;
                };
                if launch.updates.front().is_none_or(|(_, u)| u.uuid != uuid) {
                    return;
                }
                let ended = launch
                    .updates
                    .pop_front()
                    .is_some_and(|(_, u)| u.state.is_terminal());
                if ended {
                    agent.launches.remove(&key);
                } else if !launch.updates.is_empty() {
                    agent.report_seq += 1;
                    launch.report_seq = agent.report_seq;
                }
            }
            // Its data; the masters hear nothing of that.
            AgentCommand::DestroyVolume { .. } => {}
            AgentCommand::ShutdownFramework { framework } => {
                let agent = &mut self.agents[at];
                agent.launches.retain(|key, _| key.0.framework != framework);
                agent
                    .executors
                    .retain(|key, _| key.0.framework != framework);
            }
            AgentCommand::LaunchExecutor { executor, instance } => {
                let known = self.agents[at].executors.insert((executor, instance), None);
                assert_eq!(known, None, "an executor is launched once");
            }
            AgentCommand::ShutdownExecutor { executor, instance } => {
                self.agents[at].executor_ends(&(executor, instance));
            }
        }
    }

    fn launch(&mut self, at: usize, key: LaunchKey, group: Vec<LaunchKey>) {
        if self.agents[at].launches.contains_key(&key) {
            return;
        }
        *self.started.entry(key.clone()).or_default() += 1;
        let launch = ImaginedLaunch {
            runs: true,
            group,
            ..ImaginedLaunch::default()
        };
        self.agents[at].launches.insert(key.clone(), launch);
        self.tell(at, &key, TaskState::Starting);
    }

    fn follow_kill(&mut self, at: usize, key: LaunchKey, end: TaskState) {
        let runs = self.agents[at].launches.get(&key).map(|l| l.runs);
        match runs {
            None => self.bury(at, key, end),
            Some(true) if self.rng.chance(50) => self.tell(at, &key, TaskState::Killing),
            Some(true) => self.tell(at, &key, end),
            Some(false) => {}
        }
    }

    /// Leaves a tombstone for a launch that never came.
    fn bury(&mut self, at: usize, key: LaunchKey, state: TaskState) {
        let newer = |known: &LaunchKey| known.0 == key.0 && known.1 >= key.1;
        if self.agents[at].launches.keys().any(newer) {
            return;
        }
        let launch = ImaginedLaunch::default();
        self.agents[at].launches.insert(key.clone(), launch);
        self.tell(at, &key, state);
    }

    fn tell(&mut self, at: usize, key: &LaunchKey, state: TaskState) {
        let uuid = self.mint_uuid();
        let agent = &mut self.agents[at];
        let Some(launch) = agent.launches.get_mut(key) else {
            return;
        };
        launch.n_updates += 1;
        launch.latest = Some(state);
        launch.runs &= !state.is_terminal();
        let update = ReportedUpdate {
            uuid,
            state,
            status: Bytes::from(format!("{} {uuid}", state.name())),
        };
        launch.updates.push_back((launch.n_updates, update));
        agent.report_seq += 1;
        launch.report_seq = agent.report_seq;
        if !state.is_terminal() || state == TaskState::Finished {
            return;
        }
        // The rest of its group ends with it.
        for other in launch.group.clone() {
            if self.agents[at].is_running(&other.0, other.1) {
                self.tell(at, &other, TaskState::Killed);
            }
        }
    }

    /// A task on the agent gets on.
    fn progress(&mut self, at: usize) {
        let running: Vec<LaunchKey> = self.agents[at]
            .launches
            .iter()
            .filter(|(_, l)| l.runs)
            .map(|(key, _)| key.clone())
            .collect();
        let Some(key) = self.rng.pick(&running).cloned() else {
            return;
        };
        let state = match self.rng.below(10) {
            0..=4 => TaskState::Running,
            5..=6 => TaskState::Finished,
            7 => TaskState::Failed,
            8 => TaskState::Killing,
            // As after a restart of the machine.
            _ => TaskState::Gone,
        };
        self.tell(at, &key, state);
    }

    pub(super) fn agents_learn(&mut self, command: &Command, applied: &Applied) {
        if let (Command::RegisterAgent(register), Ok(Outcome::AgentRegistered { agent })) =
            (command, &applied.verdict)
        {
            for imagined in &mut self.agents {
                if imagined.epoch == register.epoch {
                    imagined.id = Some(agent.clone());
                }
            }
        }
    }

    /// Takes part in the cluster that its own became: counts commands as that does, and tells all
    /// it runs.
    fn adopt(&mut self, at: usize, id: AgentId, confirmed: u64) -> Command {
        let agent = &mut self.agents[at];
        agent.noted_seq = confirmed;
        agent.wants_resync = false;
        let agent = &self.agents[at];
        Command::TakeInventory(TakeInventory {
            agent: id.clone(),
            epoch: agent.epoch,
            report_seq: agent.report_seq,
            tasks: agent
                .launches
                .keys()
                .filter_map(|key| agent.report_of(key, 0))
                .map(|report| InventoryTask {
                    spec: Some(TaskSpec {
                        task: report.task.task.clone(),
                        agent: id.clone(),
                        name: "taken over".to_owned(),
                        resources: Resources::of_scalar("cpus", Milli::from_units(1)),
                        info: Bytes::new(),
                        executor: None,
                    }),
                    report,
                    role: None,
                })
                .collect(),
        })
    }

    pub(super) fn agents_lose_pictures(&mut self) {
        for agent in &mut self.agents {
            agent.old_picture = None;
        }
    }

    /// What agents still have to say, once they followed everything they were told.
    pub(super) fn heal_agents(&mut self, state: &State) -> Option<Command> {
        for at in 0..self.agents.len() {
            let known = self.agents[at].id.as_ref().and_then(|id| state.agent(id));
            let Some(known) = known.cloned() else {
                if self.agents[at].id.is_some() {
                    return Some(self.lose_checkpoints(at));
                }
                return Some(self.agents[at].register());
            };
            if !known.is_registered() {
                // What was in use when the agent was given up still fits what it had then.
                self.agents[at].units = 1_000;
                return Some(self.reregister(at, known.id.clone()));
            }
            if known.inventory_due {
                return Some(self.adopt(at, known.id.clone(), known.confirmed_seq));
            }
            let waiting = known.outbox.iter().map(|(s, c)| (*s, c.clone()));
            self.follow(at, waiting, u64::MAX);
            let killed: Vec<LaunchKey> = self.agents[at]
                .launches
                .iter()
                .filter(|(key, l)| l.runs && state.task(&key.0).is_some_and(|t| t.kill.is_some()))
                .map(|(key, _)| key.clone())
                .collect();
            for key in killed {
                self.tell(at, &key, TaskState::Killed);
            }
            if self.agents[at].wants_resync {
                self.agents[at].wants_resync = false;
                return Some(self.agents[at].resync(known.id.clone()));
            }
            let agent = &self.agents[at];
            let reports = agent.reports(known.report_seq);
            if let Some(end) = agent.end_executor(&known.id, known.report_seq) {
                return Some(end);
            }
            if !reports.is_empty() || agent.noted_seq > known.confirmed_seq {
                return Some(Command::ApplyReports(ApplyReports {
                    agent: known.id.clone(),
                    epoch: agent.epoch,
                    command_seq: agent.noted_seq,
                    reports,
                }));
            }
        }
        None
    }

    /// Every agent shows its whole picture at the next [`Workload::heal`].
    pub fn compare_pictures(&mut self) {
        for agent in &mut self.agents {
            agent.wants_resync = true;
        }
    }
}
