//! The members of a cluster as processes, what they said, and what may never be heard of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regency_raft_store::offline::DataDir;

use crate::member::Arm;

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Writes that are under way at once.
const IN_FLIGHT_MAX: usize = 8;
/// Ports of masters are looked for among these.
const FIRST_PORT: u32 = 10_000;
const PORTS: u32 = 20_000;
/// Pause between two looks of whoever sends writes.
const PACE: Duration = Duration::from_millis(3);

/// Term, whether it is that of an elected leader, and whose it is. Ordered as votes are.
type Vote = (u64, bool, u64);

/// What is known of one member.
#[derive(Debug, Default)]
pub(crate) struct Node {
    stdin: Option<ChildStdin>,
    pid: Option<Pid>,
    /// How often it was started.
    pub(crate) runs: u64,
    /// Whether it opened its directory, in this run.
    pub(crate) started: bool,
    /// The last vote that was durable before this run.
    vote_before: Option<Vote>,
    /// The term of the vote it found in its log.
    term_at_start: Option<u64>,
    /// Whether it leads and serves.
    pub(crate) leads: bool,
    /// The last vote that was durable.
    vote: Option<Vote>,
    /// What it answered to the last question for its state.
    state: Option<(u64, String, BTreeSet<u128>)>,
    /// Whether it may refuse to start, or end in order.
    may_end: bool,
    /// Why it refused to start.
    pub(crate) refused: Option<String>,
    /// Whether it is no member any more.
    retired: bool,
    writing: BTreeSet<u128>,
}

impl Node {
    pub(crate) fn runs_now(&self) -> bool {
        self.pid.is_some()
    }

    /// Whether it is a member and was started.
    pub(crate) fn takes_part(&self) -> bool {
        self.runs > 0 && !self.retired
    }

    fn order(&mut self, order: &str) -> bool {
        let Some(stdin) = &mut self.stdin else {
            return false;
        };
        stdin.write_all(format!("{order}\n").as_bytes()).is_ok()
    }
}

/// A master that was started again as soon as it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restart {
    /// From its end to its start.
    pub(crate) took: Duration,
    /// Whether it led when it ended.
    pub(crate) led: bool,
}

/// Everything that was heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) nodes: Vec<Node>,
    /// Who was elected in each term.
    elected: BTreeMap<u64, u64>,
    /// Who served in each term, in which run.
    served: BTreeMap<u64, (usize, u64)>,
    pub(crate) acknowledged: BTreeSet<u128>,
    again: VecDeque<u128>,
    next: u128,
    wanted: bool,
    /// Masters that were started again as soon as they ended.
    pub(crate) restarts: Vec<Restart>,
    /// Why a replacement did not succeed.
    not_replaced: Option<String>,
    /// What must never be.
    wrong: Vec<String>,
}

impl Heard {
    fn hear(&mut self, i: usize, line: &str) {
        let mut words = line.split(' ');
        let word = words.next().unwrap_or_default();
        let mut number = || -> u64 { words.next().and_then(|n| n.parse().ok()).unwrap_or(0) };
        match word {
            "start" => {
                let node = &mut self.nodes[i];
                node.started = true;
                if let (None, Some(vote)) = (node.term_at_start, node.vote_before) {
                    let text = format!("master {} forgot its vote {vote:?}", i + 1);
                    self.wrong.push(text);
                }
            }
            // What it found when it opened its log, and what it made durable later.
            "found" | "vote" => {
                let (term, whose, committed) = (number(), number(), number() == 1);
                let vote = (term, committed, whose);
                let before = self.nodes[i].vote.replace(vote);
                if word == "found" {
                    self.nodes[i].term_at_start = Some(term);
                }
                let bad = before.is_some_and(|(t, c, n)| {
                    (t, c) > (term, committed) || ((t, c) == (term, committed) && n != whose)
                });
                if bad {
                    let text = format!("master {} votes {vote:?} after {before:?}", i + 1);
                    self.wrong.push(text);
                }
                if committed {
                    let elected = *self.elected.entry(term).or_insert(whose);
                    if elected != whose {
                        let text = format!("term {term} has the leaders {elected} and {whose}");
                        self.wrong.push(text);
                    }
                }
            }
            "leads" => {
                let term = number();
                let run = self.nodes[i].runs;
                self.nodes[i].leads = true;
                let served = *self.served.entry(term).or_insert((i, run));
                if served != (i, run) {
                    self.wrong.push(format!(
                        "master {} serves term {term} in its run {run}, after master {} did in its \
                         run {}",
                        i + 1,
                        served.0 + 1,
                        served.1
                    ));
                }
                if Some(term) <= self.nodes[i].term_at_start {
                    let text = format!("master {} leads again in term {term}", i + 1);
                    self.wrong.push(text);
                }
            }
            "follows" => self.nodes[i].leads = false,
            "ok" | "unknown" | "refused" => {
                let epoch = u128::from(number());
                self.nodes[i].writing.remove(&epoch);
                if word == "ok" {
                    self.acknowledged.insert(epoch);
                } else {
                    self.again.push_back(epoch);
                }
            }
            "state" => {
                let index = number();
                let digest = words.next().unwrap_or_default().to_owned();
                let absent = words.next().unwrap_or_default().split(',');
                let absent = absent.filter_map(|epoch| epoch.parse().ok()).collect();
                self.nodes[i].state = Some((index, digest, absent));
            }
            "fatal" if self.nodes[i].may_end => {
                self.nodes[i].refused = Some(line.to_owned());
            }
            "replaced" => {
                let old = number() as usize;
                self.nodes[old - 1].retired = true;
            }
            "not-replaced" => self.not_replaced = Some(line.to_owned()),
            "fatal" => self.wrong.push(format!("master {}: {line}", i + 1)),
            _ => self.wrong.push(format!("master {} says '{line}'", i + 1)),
        }
    }

    fn end(&mut self, i: usize, status: ExitStatus) {
        let node = &mut self.nodes[i];
        node.stdin = None;
        node.pid = None;
        node.leads = false;
        self.again.extend(std::mem::take(&mut node.writing));
        let may = std::mem::take(&mut node.may_end);
        if status.signal() != Some(Signal::SIGKILL as i32) && !may {
            let text = format!("master {} ended by itself: {status}", i + 1);
            self.wrong.push(text);
        }
    }

    /// Sends one more write to who leads, if there may be one.
    fn write(&mut self) {
        let Some(leader) = self.nodes.iter().position(|node| node.leads) else {
            return;
        };
        let in_flight: usize = self.nodes.iter().map(|node| node.writing.len()).sum();
        if in_flight >= IN_FLIGHT_MAX {
            return;
        }
        let epoch = match self.again.pop_front() {
            Some(epoch) => epoch,
            None if self.wanted => {
                self.next += 1;
                self.next
            }
            None => return,
        };
        self.nodes[leader].writing.insert(epoch);
        // If it cannot be told any more, its end brings the write back.
        self.nodes[leader].order(&format!("write {epoch}"));
    }
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    news: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn tell(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.lock());
        self.news.notify_all();
    }
}

/// A cluster of processes. Dropping it kills them.
pub(crate) struct Masters {
    dir: PathBuf,
    engine: String,
    n: usize,
    ports: Vec<u16>,
    shared: Arc<Shared>,
    writer: Option<std::thread::JoinHandle<()>>,
    over: Arc<AtomicBool>,
}

/// Listeners on free ports below those that the system gives to outgoing connections: one of these
/// could have the port of a master that is about to come back.
fn hold_ports(n: usize) -> anyhow::Result<Vec<TcpListener>> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(37);
    let mut held = Vec::new();
    for _ in 0..PORTS {
        if held.len() == n {
            return Ok(held);
        }
        let nth = first.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(FIRST_PORT + nth)?;
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    bail!("no {n} free ports from {FIRST_PORT} on")
}

impl Masters {
    /// Directories and ports for `n` masters, none of which runs, and someone who sends writes to
    /// whoever leads.
    pub(crate) fn new(dir: &Path, n: usize, engine: &str) -> anyhow::Result<Self> {
        // One more for a master that takes the place of another one.
        let held = hold_ports(n + 1)?;
        let mut ports = Vec::new();
        for listener in &held {
            ports.push(listener.local_addr()?.port());
        }
        let shared = Arc::new(Shared::default());
        shared.tell(|heard| {
            heard.wanted = true;
            heard.nodes.resize_with(n + 1, Node::default);
        });
        let over = Arc::new(AtomicBool::new(false));
        let writer = {
            let (shared, over) = (Arc::clone(&shared), Arc::clone(&over));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    shared.lock().write();
                    std::thread::sleep(PACE);
                }
            })
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            engine: engine.to_owned(),
            n,
            ports,
            shared,
            writer: Some(writer),
            over,
        })
    }

    /// Directory of a master.
    pub(crate) fn data_dir(&self, i: usize) -> PathBuf {
        self.dir.join(format!("master{}", i + 1))
    }

    /// Starts a master that ends itself at `arm`. With `again`, it is started once more as soon as
    /// it ended.
    pub(crate) fn start(&self, i: usize, arm: Option<&Arm>, again: bool) -> anyhow::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(i))?;
        let known = self.ports.iter().take(self.n.max(i + 1));
        let ports: Vec<String> = known.map(u16::to_string).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["member", &(i + 1).to_string()])
            .arg(self.data_dir(i))
            .args([&self.engine, &ports.join(",")])
            .args(arm.map(Arm::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().context("cannot start a member")?;
        let output = child.stdout.take().context("no output")?;
        self.shared.tell(|heard| {
            let node = &mut heard.nodes[i];
            node.stdin = child.stdin.take();
            node.pid = i32::try_from(child.id()).ok().map(Pid::from_raw);
            node.runs += 1;
            node.started = false;
            node.term_at_start = None;
            node.vote_before = node.vote;
            node.refused = None;
        });
        if self.over.load(Ordering::Relaxed) {
            child.kill()?;
        }
        let masters = again.then(|| self.clone_for_restarts());
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || attend(&shared, i, child, output, masters));
        Ok(())
    }

    fn clone_for_restarts(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            engine: self.engine.clone(),
            n: self.n,
            ports: self.ports.clone(),
            shared: Arc::clone(&self.shared),
            writer: None,
            over: Arc::clone(&self.over),
        }
    }

    /// Has a running master end itself. `false` when it does not run.
    pub(crate) fn arm(&self, i: usize, arm: &Arm) -> bool {
        self.shared.lock().nodes[i].order(&format!("arm {arm}"))
    }

    /// Takes that back.
    pub(crate) fn disarm(&self, i: usize, point: &str) {
        // It may just have been reached.
        self.shared.lock().nodes[i].order(&format!("disarm {point}"));
    }

    /// kill -9; returns when the process is gone.
    pub(crate) fn kill(&self, i: usize) -> anyhow::Result<()> {
        let pid = self.shared.lock().nodes[i].pid;
        if let Some(pid) = pid {
            // It may just have ended itself.
            let _ = kill(pid, Signal::SIGKILL);
        }
        self.until("a killed master is gone", |heard| {
            !heard.nodes[i].runs_now()
        })
    }

    /// Ends a master in order; returns when the process is gone.
    pub(crate) fn stop(&self, i: usize) -> anyhow::Result<()> {
        self.shared.tell(|heard| {
            heard.nodes[i].may_end = true;
            heard.nodes[i].order("stop");
        });
        self.until("a stopped master is gone", |heard| {
            !heard.nodes[i].runs_now()
        })
    }

    /// Starts a master that may refuse. Gives its reason if it does.
    pub(crate) fn try_start(&self, i: usize) -> anyhow::Result<Option<String>> {
        self.shared.tell(|heard| heard.nodes[i].may_end = true);
        self.start(i, None, false)?;
        self.until("a master starts or refuses", |heard| {
            let node = &heard.nodes[i];
            node.started || (node.refused.is_some() && !node.runs_now())
        })?;
        let mut heard = self.shared.lock();
        heard.nodes[i].may_end = false;
        Ok(heard.nodes[i].refused.clone())
    }

    /// Lets the spare master take the place of `old`, which does not run.
    pub(crate) fn replace(&self, old: usize) -> anyhow::Result<()> {
        let (new, port) = (self.n, self.ports[self.n]);
        self.start(new, None, false)?;
        self.until("the new master starts", |heard| heard.nodes[new].started)?;
        let retired = |heard: &Heard| heard.nodes[old].retired;
        let order = format!("replace {} {} {port}", old + 1, new + 1);
        let begun = Instant::now();
        while !self.look(retired) {
            self.shared.tell(|heard| {
                heard.not_replaced = None;
                let leader = heard.nodes.iter_mut().find(|node| node.leads);
                if let Some(leader) = leader {
                    leader.order(&order);
                }
            });
            // The leader may change, or find the new one too far behind.
            self.within(Duration::from_secs(5), |heard| {
                retired(heard) || heard.not_replaced.is_some()
            })?;
            let why = self.look(|heard| heard.not_replaced.clone());
            ensure!(begun.elapsed() < PATIENCE, "not replaced: {why:?}");
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    /// Asks a master for its state until it has what the leader has now. What it lacks of all that
    /// was acknowledged before is an error.
    pub(crate) fn catches_up(&self, i: usize) -> anyhow::Result<()> {
        let acknowledged = self.look(|heard| heard.acknowledged.clone());
        let leader = |heard: &Heard| heard.nodes.iter().position(|node| node.leads);
        self.until("somebody leads", |heard| leader(heard).is_some())?;
        let index = match self.look(leader) {
            Some(leader) => self.applied(leader)?,
            // Gone again. What it has at last is compared when all is over.
            None => 0,
        };
        let begun = Instant::now();
        loop {
            self.ask_state(i);
            self.until("a master tells its state", |heard| {
                heard.nodes[i].state.is_some()
            })?;
            let state = self.look(|heard| heard.nodes[i].state.clone());
            if let Some((at, _, absent)) = state
                && at >= index
            {
                let lost: Vec<_> = absent.intersection(&acknowledged).collect();
                ensure!(lost.is_empty(), "master {} serves without {lost:?}", i + 1);
                return Ok(());
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "master {} stays behind {index}",
                i + 1
            );
            std::thread::sleep(PACE);
        }
    }

    /// Index of the last entry that a master applied.
    fn applied(&self, i: usize) -> anyhow::Result<u64> {
        self.ask_state(i);
        self.until("a master tells its state", |heard| {
            heard.nodes[i].state.is_some()
        })?;
        Ok(self.look(|heard| heard.nodes[i].state.as_ref().map_or(0, |state| state.0)))
    }

    /// Whatever several logs hold of one index must be the same entry. No master may run.
    pub(crate) fn compare_logs(&self) -> anyhow::Result<()> {
        let members: Vec<usize> = self.look(|heard| {
            let all = heard.nodes.iter().enumerate();
            all.filter(|(_, node)| node.takes_part())
                .map(|(i, _)| i)
                .collect()
        });
        let mut seen: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
        for i in members {
            let dir = self.data_dir(i);
            let opened = DataDir::open(&dir)
                .with_context(|| format!("the directory of master {}", i + 1))?;
            opened.entries(|entry| -> anyhow::Result<()> {
                let own = (entry.term, entry.bytes);
                let known = *seen.entry(entry.index).or_insert(own);
                ensure!(
                    own == known,
                    "entry {} is {own:?} and {known:?}",
                    entry.index
                );
                Ok(())
            })?;
        }
        Ok(())
    }

    /// What a master logged so far, in all its runs.
    pub(crate) fn said(&self, i: usize) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.log(i))?)
    }

    fn log(&self, i: usize) -> PathBuf {
        self.dir.join(format!("master{}.stderr", i + 1))
    }

    fn ask_state(&self, i: usize) {
        self.shared.tell(|heard| {
            let count = heard.next;
            heard.nodes[i].state = None;
            heard.nodes[i].order(&format!("state {count}"));
        });
    }

    /// Looks at what was heard.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.shared.lock())
    }

    /// Waits until something holds, for at most `patience`; says whether it does.
    pub(crate) fn within(
        &self,
        patience: Duration,
        mut holds: impl FnMut(&Heard) -> bool,
    ) -> anyhow::Result<bool> {
        let deadline = Instant::now() + patience;
        let mut heard = self.shared.lock();
        loop {
            if let Some(wrong) = heard.wrong.first() {
                bail!("{wrong}");
            }
            if holds(&heard) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            heard = match self.shared.news.wait_timeout(heard, left) {
                Ok((heard, _)) => heard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Waits until something holds that must.
    pub(crate) fn until(
        &self,
        what: &str,
        holds: impl FnMut(&Heard) -> bool,
    ) -> anyhow::Result<()> {
        ensure!(
            self.within(PATIENCE, holds)?,
            "within {PATIENCE:?} never: {what}"
        );
        Ok(())
    }

    /// Waits for `n` more acknowledged writes.
    pub(crate) fn more_writes(&self, n: usize) -> anyhow::Result<()> {
        let before = self.look(|heard| heard.acknowledged.len());
        self.until("writes are acknowledged", |heard| {
            heard.acknowledged.len() >= before + n
        })
    }

    /// Lets all writes end; then everybody must have the same state, with every write that was ever
    /// acknowledged. All masters must run.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        self.shared.tell(|heard| heard.wanted = false);
        self.until("all writes are acknowledged", |heard| {
            heard.again.is_empty() && heard.nodes.iter().all(|node| node.writing.is_empty())
        })?;
        let begun = Instant::now();
        loop {
            self.shared.tell(|heard| {
                let count = heard.next;
                for node in heard.nodes.iter_mut().filter(|node| node.takes_part()) {
                    node.state = None;
                    node.order(&format!("state {count}"));
                }
            });
            self.until("all masters tell their state", |heard| {
                let mut members = heard.nodes.iter().filter(|node| node.takes_part());
                members.all(|node| node.state.is_some())
            })?;
            let states: Vec<_> = self.look(|heard| {
                let members = heard.nodes.iter().filter(|node| node.takes_part());
                members.filter_map(|node| node.state.clone()).collect()
            });
            let same = states.iter().all(|(index, ..)| *index == states[0].0);
            if same {
                for (i, (index, digest, absent)) in states.iter().enumerate() {
                    ensure!(
                        *digest == states[0].1,
                        "master {} has another state at entry {index}",
                        i + 1
                    );
                    // All writes were acknowledged, those of dead leaders when they were repeated.
                    // But after a restart a master has applied only what it had noted as committed,
                    // and the rest when there is a leader again.
                    ensure!(
                        absent.is_empty() || begun.elapsed() < PATIENCE,
                        "master {} lost {absent:?}",
                        i + 1
                    );
                }
                if states.iter().all(|(.., absent)| absent.is_empty()) {
                    return Ok(());
                }
            }
            ensure!(begun.elapsed() < PATIENCE, "no common index: {states:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Masters {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        self.over.store(true, Ordering::Relaxed);
        let _ = writer.join();
        // Nothing may write into the directory any more.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let running: Vec<Pid> =
                self.look(|heard| heard.nodes.iter().filter_map(|node| node.pid).collect());
            if running.is_empty() || Instant::now() >= deadline {
                return;
            }
            for pid in running {
                // It may just have ended.
                let _ = kill(pid, Signal::SIGKILL);
            }
            std::thread::sleep(PACE);
        }
    }
}

/// Hears a process until it ended.
fn attend(
    shared: &Shared,
    i: usize,
    mut child: Child,
    output: std::process::ChildStdout,
    again: Option<Masters>,
) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        shared.tell(|heard| heard.hear(i, &line));
    }
    let begun = Instant::now();
    let restarted = child
        .wait()
        .map_err(anyhow::Error::from)
        .and_then(|status| {
            let led = shared.lock().nodes[i].leads;
            shared.tell(|heard| heard.end(i, status));
            let wanted = |masters: &Masters| !masters.over.load(Ordering::Relaxed);
            if let Some(masters) = again.filter(wanted) {
                masters.start(i, None, true)?;
                let took = begun.elapsed();
                shared.tell(|heard| heard.restarts.push(Restart { took, led }));
            }
            Ok(())
        });
    if let Err(error) = restarted {
        shared.tell(|heard| heard.wrong.push(format!("{error:#}")));
    }
}
