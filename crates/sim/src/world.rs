//! Masters, the network between them, and what happens to both.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use regency_raft_store::simulation::{self, Lies, Pace};
use regency_testkit::Rng;
use turmoil::{Builder, Sim};

use crate::coverage::Event;
use crate::fault::{FAULTY_MS, Fault, MASTERS, Step};
use crate::master::{self, Order, Place, Shared, host};

/// One step of the simulation.
const TICK: Duration = Duration::from_millis(1);
/// Latency of messages when nothing is wrong.
const LATENCY: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(4));
/// How long the first election may take, in milliseconds.
const BEGIN_MS: u64 = 20_000;
/// How long healing may take, in milliseconds.
const HEAL_MS: u64 = 20_000;
/// Writes that must be answered when everything is well again.
const WRITES_AFTER: usize = 10;
/// Delay of a disk whose master is to be killed while it writes.
const WRITING: Duration = Duration::from_millis(15);
/// How long is waited for something to write then.
const WRITING_WAIT_MS: u64 = 100;

/// What differs from run to run besides the seed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// What disks say is durable and make not so.
    pub(crate) lies: Lies,
}

/// The end of a fault.
#[derive(Debug, Clone, Copy)]
enum Undo {
    Start(usize),
    Link(usize, usize),
    Speed(usize, usize),
    Disk(usize),
}

/// A master that is killed as soon as its log writer waits for the disk.
#[derive(Debug, Clone, Copy)]
struct Armed {
    who: usize,
    waits: u64,
    until_ms: u64,
    down_ms: u64,
}

/// The simulation.
pub(crate) struct World {
    sim: Sim<'static>,
    pub(crate) shared: Rc<Shared>,
    dirs: Vec<PathBuf>,
    rng: Rng,
    options: Options,
    set_now: fn(Duration),
    undo: Vec<(u64, Undo)>,
    armed: Vec<Armed>,
    _root: tempfile::TempDir,
}

impl World {
    /// A world with masters that were never started before.
    pub(crate) fn new(seed: u64, options: Options, set_now: fn(Duration)) -> anyhow::Result<Self> {
        regency_runtime::simulation::simulate();
        let memory = PathBuf::from("/dev/shm");
        let root = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }
        .context("cannot make a directory for disks")?;
        let mut sim = Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .min_message_latency(LATENCY.0)
            .max_message_latency(LATENCY.1)
            .simulation_duration(Duration::from_secs(3_600))
            .tcp_capacity(4_096)
            .enable_random_order()
            .build();
        let shared = Rc::new(Shared::default());
        let mut dirs = Vec::new();
        for who in 0..MASTERS {
            let dir = root.path().join(host(who));
            std::fs::create_dir(&dir)?;
            simulation::add_disk(&dir)?;
            simulation::set_pace(&dir, pace(options, Duration::ZERO));
            let place = Place {
                who,
                dir: dir.clone(),
                seed: seed.wrapping_mul(31).wrapping_add(who as u64),
            };
            dirs.push(dir);
            let shared = Rc::clone(&shared);
            sim.host(host(who), move || {
                let (place, shared) = (place.clone(), Rc::clone(&shared));
                async move {
                    master::run(place, shared).await;
                    std::future::pending().await
                }
            });
        }
        Ok(Self {
            sim,
            shared,
            dirs,
            rng: Rng::new(seed ^ 0xd15c),
            options,
            set_now,
            undo: Vec::new(),
            armed: Vec::new(),
            _root: root,
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A step, and a look at everything after it. `false` when a rule is broken.
    fn step(&mut self) -> bool {
        (self.set_now)(self.sim.elapsed() + TICK);
        let stepped = self.sim.step();
        let now_ms = self.now_ms();
        let mut record = self.shared.record.borrow_mut();
        record.now_ms = now_ms;
        if let Err(error) = stepped {
            record.violated("no panic", error.to_string());
        }
        for (who, running) in self.shared.masters.borrow().iter().enumerate() {
            if let Some(running) = running {
                record.look(who, running.consensus.core());
            }
        }
        record.violation.is_none()
    }

    /// Steps until something holds. `false` when a rule is broken or it takes too long.
    fn step_until(&mut self, what: &str, for_ms: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let until_ms = self.now_ms() + for_ms;
        while !holds(self) {
            if self.now_ms() >= until_ms {
                let what = format!("not within {for_ms} ms: {what}");
                self.shared.record.borrow_mut().violated("I16", what);
            }
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// The whole run: a beginning, faults, and healing.
    pub(crate) fn run(&mut self, steps: &[Step]) {
        let answers = |n: usize| move |world: &Self| world.n_answered() >= n;
        let began = self.step_until("the first writes", BEGIN_MS, answers(1));
        if !(began && self.go_wrong(steps) && self.heal()) {
            return;
        }
        let enough = self.n_answered() + WRITES_AFTER;
        if self.step_until("writes after all faults ended", HEAL_MS, answers(enough)) {
            self.settle();
        }
    }

    fn n_answered(&self) -> usize {
        self.shared.record.borrow().answered.len()
    }

    fn go_wrong(&mut self, steps: &[Step]) -> bool {
        let from_ms = self.now_ms();
        let mut steps = steps.iter().peekable();
        while self.now_ms() < from_ms + FAULTY_MS {
            let now_ms = self.now_ms();
            while let Some(step) = steps.next_if(|step| from_ms + step.at_ms <= now_ms) {
                self.strike(step.fault);
            }
            self.kill_who_writes();
            let (due, later): (Vec<_>, Vec<_>) =
                self.undo.drain(..).partition(|(at_ms, _)| *at_ms <= now_ms);
            self.undo = later;
            due.into_iter().for_each(|(_, undo)| self.undo(undo));
            if !self.step() {
                return false;
            }
        }
        true
    }

    fn later(&mut self, in_ms: u64, undo: Undo) {
        self.undo.push((self.now_ms() + in_ms, undo));
    }

    fn struck(&self, event: Event) {
        self.shared.record.borrow_mut().coverage.struck(event);
    }

    fn leader(&self) -> Option<usize> {
        self.shared.record.borrow().leader()
    }

    fn strike(&mut self, fault: Fault) {
        self.shared.record.borrow_mut().say(format!("{fault:?}"));
        match fault {
            Fault::Kill { who, down_ms } => {
                if self.end(who) {
                    self.struck(Event::Killed);
                    self.later(down_ms, Undo::Start(who));
                }
            }
            Fault::KillWhileWriting { who, down_ms } => {
                simulation::set_pace(&self.dirs[who], pace(self.options, WRITING));
                self.armed.push(Armed {
                    who,
                    waits: simulation::disk_counts(&self.dirs[who]).waits,
                    until_ms: self.now_ms() + WRITING_WAIT_MS,
                    down_ms,
                });
            }
            Fault::PowerCut { who, down_ms } => {
                if self.end(who) {
                    self.struck(Event::PowerCut);
                    self.cut_power(who);
                    self.later(down_ms, Undo::Start(who));
                }
            }
            Fault::Blackout { down_ms } => {
                self.struck(Event::Blackout);
                for who in 0..MASTERS {
                    // One that is down already comes back when it was going to.
                    if self.end(who) {
                        let in_ms = down_ms + self.rng.below(200);
                        self.later(in_ms, Undo::Start(who));
                    }
                    self.cut_power(who);
                }
            }
            Fault::Cut { a, b, for_ms } => {
                self.struck(Event::Cut);
                self.sim.partition(host(a), host(b));
                self.later(for_ms, Undo::Link(a, b));
            }
            Fault::Isolate { who, for_ms } => self.isolate(who, for_ms),
            Fault::IsolateLeader { for_ms } => {
                if let Some(leader) = self.leader() {
                    self.struck(Event::LeaderIsolated);
                    self.isolate(leader, for_ms);
                }
            }
            Fault::CutOneWay { from, to, for_ms } => {
                self.struck(Event::CutOneWay);
                self.sim.partition_oneway(host(from), host(to));
                self.later(for_ms, Undo::Link(from, to));
            }
            Fault::Hold { a, b, for_ms } => {
                self.struck(Event::Held);
                self.sim.hold(host(a), host(b));
                self.later(for_ms, Undo::Link(a, b));
            }
            Fault::Slow { a, b, ms, for_ms } => {
                self.struck(Event::Slow);
                let latency = Duration::from_millis(ms);
                self.sim
                    .set_link_max_message_latency(host(a), host(b), latency);
                self.later(for_ms, Undo::Speed(a, b));
            }
            Fault::SlowDisk { who, ms, for_ms } => {
                let delay = Duration::from_millis(ms);
                simulation::set_pace(&self.dirs[who], pace(self.options, delay));
                self.later(for_ms, Undo::Disk(who));
            }
            Fault::Elect { who } => {
                if self.order(who, Order::Elect)
                    && self.leader().is_some_and(|leader| leader != who)
                {
                    self.struck(Event::Elected);
                }
            }
            Fault::Transfer { to } => {
                if let Some(leader) = self.leader() {
                    self.order(leader, Order::Transfer(to));
                }
            }
            Fault::Snapshot { who } => {
                self.order(who, Order::Snapshot);
            }
        }
    }

    fn isolate(&mut self, who: usize, for_ms: u64) {
        self.struck(Event::Isolated);
        for other in (0..MASTERS).filter(|other| *other != who) {
            self.sim.partition(host(who), host(other));
            self.later(for_ms, Undo::Link(who, other));
        }
    }

    /// Kills a master. `false` when it does not run.
    fn end(&mut self, who: usize) -> bool {
        if !self.sim.is_host_running(host(who)) {
            return false;
        }
        if self.leader() == Some(who) {
            self.struck(Event::LeaderDied);
        }
        let handle = self.shared.masters.borrow_mut()[who].take();
        self.sim.crash(host(who));
        drop(handle);
        self.shared.record.borrow_mut().ended(who);
        true
    }

    fn cut_power(&mut self, who: usize) {
        let rng = &mut self.rng;
        if let Err(error) = simulation::cut_power(&self.dirs[who], &mut || rng.number()) {
            let what = format!("the disk of {} cannot be put back: {error}", host(who));
            self.shared.record.borrow_mut().violated("harness", what);
        }
    }

    fn kill_who_writes(&mut self) {
        for armed in std::mem::take(&mut self.armed) {
            let writes = simulation::disk_counts(&self.dirs[armed.who]).waits > armed.waits;
            if !writes && self.now_ms() < armed.until_ms {
                self.armed.push(armed);
                continue;
            }
            if self.end(armed.who) {
                self.struck(Event::Killed);
                if writes {
                    self.struck(Event::QueueLost);
                }
                self.later(armed.down_ms, Undo::Start(armed.who));
            }
            self.undo(Undo::Disk(armed.who));
        }
    }

    /// `false` when that master does not run.
    fn order(&self, who: usize, order: Order) -> bool {
        let running = self.shared.running(who);
        running.is_some_and(|running| running.orders.send(order).is_ok())
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Start(who) => {
                if !self.sim.is_host_running(host(who)) {
                    self.sim.bounce(host(who));
                }
            }
            Undo::Link(a, b) => {
                self.sim.release(host(a), host(b));
                self.sim.repair(host(a), host(b));
            }
            Undo::Speed(a, b) => {
                self.sim
                    .set_link_max_message_latency(host(a), host(b), LATENCY.1);
            }
            Undo::Disk(who) => {
                simulation::set_pace(&self.dirs[who], pace(self.options, Duration::ZERO));
            }
        }
    }

    /// Ends all faults.
    fn heal(&mut self) -> bool {
        self.shared.record.borrow_mut().say("---- faults end");
        self.armed.clear();
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.undo(undo);
        }
        for who in 0..MASTERS {
            self.undo(Undo::Disk(who));
            self.undo(Undo::Start(who));
        }
        true
    }

    /// When nobody writes any more all masters must come to the same state, with everything in it that was
    /// answered.
    fn settle(&mut self) {
        *self.shared.quiet.borrow_mut() = true;
        let same = |world: &Self| {
            let masters = world.shared.masters.borrow();
            let mut applied = masters.iter().map(|running| {
                let core = running.as_ref()?.consensus.core();
                (core.applied?.1 == core.last_log?).then_some(core.applied)
            });
            let first = applied.next().flatten();
            first.is_some() && applied.all(|at| at == first)
        };
        if !self.step_until("all masters have the same log", HEAL_MS, same) {
            return;
        }
        let n = self.n_answered();
        for who in 0..MASTERS {
            let Some(running) = self.shared.running(who) else {
                continue;
            };
            let state = running.consensus.state().get();
            let digest = regency_stored::state_digest(&state.state);
            let mut record = self.shared.record.borrow_mut();
            record.state_after(who, state.index, digest);
            record.must_have("what was answered stays", who, &state.state, n);
            record.must_not_have(who, &state.state);
        }
        let counts: Vec<_> = self
            .dirs
            .iter()
            .map(|dir| simulation::disk_counts(dir))
            .collect();
        let mut record = self.shared.record.borrow_mut();
        for counts in counts {
            record.coverage.add(Event::DiskWaited, counts.waits);
            record
                .coverage
                .add(Event::UnsyncedLost, counts.reverted + counts.names);
        }
        record.say(format!("healed: {n} writes were answered"));
    }
}

fn pace(options: Options, delay: Duration) -> Pace {
    Pace {
        delay,
        lies: options.lies,
    }
}
