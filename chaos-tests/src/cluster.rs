//! Masters and agents as processes that a test may kill.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regency_chaos::driver::Process;
use regency_chaos::process::observe;
use regency_client::{Http, MasterStatus};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex as TurnMutex, MutexGuard as TurnGuard};

use crate::binary;
use crate::wait::{PATIENCE, until, until_true};

/// One cluster at a time: test machines are small, and a starved leader loses its lease.
static TURN: TurnMutex<()> = TurnMutex::const_new(());

/// How long a master may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// How much of each log is shown when a test fails.
const LOG_LINES: usize = 40;

/// A member of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// The master of this number.
    Master(u64),
    /// The agent of this number.
    Agent(u64),
}

/// What is known of a member.
#[derive(Debug, Clone, Deserialize)]
pub struct MemberInfo {
    /// Its number.
    pub id: u64,
    /// Its `host:port` for clients.
    pub http: String,
    /// Its process, as started last.
    pub pid: i32,
    /// Its data.
    pub dir: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Program and arguments.
    pub argv: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Ready {
    masters: Vec<MemberInfo>,
    agents: Vec<MemberInfo>,
    dir: PathBuf,
}

/// A running `regency local`. Dropping it ends every process of it.
#[derive(Debug)]
pub struct Cluster {
    local: Child,
    ready: Ready,
    events: Arc<Mutex<Vec<Value>>>,
    /// Members that the test started again.
    restarted: Vec<Child>,
    /// Pids of members that stand still.
    frozen: Vec<i32>,
    http: Http,
    _turn: TurnGuard<'static, ()>,
}

impl Cluster {
    /// Starts masters and agents, three and two unless `flags` say otherwise, and nothing else;
    /// waits until a leader serves and all agents are attached.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn start(flags: &[&str]) -> Self {
        let hands_off = ["--no-demo", "--no-restart"];
        Self::start_local(&[&hands_off, flags].concat()).await
    }

    /// Starts `regency local` with exactly these flags, on free ports.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_local(flags: &[&str]) -> Self {
        let turn = TURN.lock().await;
        let mut command = Command::new(binary::regency());
        command
            .args(["local", "--json", "--port-base", "0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut local = command.spawn().expect("regency local starts");
        let output = local.stdout.take().expect("a pipe");
        let (events, mut first) = read_events(output);
        let line = tokio::time::timeout(PATIENCE * 2, first.recv()).await;
        let ready = line
            .ok()
            .flatten()
            .context("regency local says nothing")
            .and_then(|line| Ok(serde_json::from_value(line)?))
            .expect("a first line that tells who is there");
        Self {
            local,
            ready,
            events,
            restarted: Vec::new(),
            frozen: Vec::new(),
            http: Http::default(),
            _turn: turn,
        }
    }

    /// `host:port` of all masters, in the order of their numbers.
    #[must_use]
    pub fn masters(&self) -> Vec<String> {
        self.ready
            .masters
            .iter()
            .map(|master| master.http.clone())
            .collect()
    }

    /// The directory of everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.ready.dir
    }

    /// Process id of `regency local` itself.
    #[must_use]
    pub fn local_pid(&self) -> Pid {
        pid_of(&self.local)
    }

    /// What is known of a member.
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn info(&self, member: Member) -> &MemberInfo {
        let (all, id) = match member {
            Member::Master(id) => (&self.ready.masters, id),
            Member::Agent(id) => (&self.ready.agents, id),
        };
        all.iter()
            .find(|info| info.id == id)
            .expect("a member of the cluster")
    }

    /// All members, masters first.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let masters = self
            .ready
            .masters
            .iter()
            .map(|info| Member::Master(info.id));
        masters
            .chain(self.ready.agents.iter().map(|info| Member::Agent(info.id)))
            .collect()
    }

    /// The events that `regency local` printed so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How a master says it is; nothing when it does not answer.
    pub async fn status(&self, id: u64) -> Option<MasterStatus> {
        let address = &self.info(Member::Master(id)).http;
        MasterStatus::get(&self.http, address, STATUS_TIMEOUT)
            .await
            .ok()
    }

    /// Waits for a master that leads and serves.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`].
    pub async fn leader(&self) -> MasterStatus {
        until("a leader", || async {
            let mut leaders = Vec::new();
            for master in &self.ready.masters {
                leaders.extend(self.status(master.id).await.filter(MasterStatus::leads));
            }
            leaders.into_iter().max_by_key(|status| status.term)
        })
        .await
    }

    /// Waits until all masters that answer agree on one leader, which serves with all agents.
    ///
    /// # Panics
    /// When they do not within [`PATIENCE`].
    pub async fn agreed_leader(&self) -> MasterStatus {
        let n_agents = self.ready.agents.len() as u64;
        until(
            "one leader that all masters know, with all agents",
            || async {
                let mut statuses = Vec::new();
                for master in &self.ready.masters {
                    statuses.push(self.status(master.id).await?);
                }
                let leader = statuses.iter().find(|status| status.leads())?;
                let known = |status: &MasterStatus| {
                    status.term == leader.term
                        && status
                            .leader
                            .as_ref()
                            .is_some_and(|l| l.id == leader.node_id)
                };
                let agreed = statuses.iter().all(known) && leader.agents_attached == n_agents;
                agreed.then(|| leader.clone())
            },
        )
        .await
    }

    /// kill -9, and waits until the process is gone.
    ///
    /// # Panics
    /// When it would not go.
    pub async fn kill(&mut self, member: Member) {
        self.kill_all(&[member]).await;
    }

    /// kill -9 of several at once.
    ///
    /// # Panics
    /// When one would not go.
    pub async fn kill_all(&mut self, members: &[Member]) {
        let pids: Vec<i32> = members
            .iter()
            .map(|member| self.info(*member).pid)
            .collect();
        for pid in &pids {
            kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("a process to kill");
        }
        let restarted = &mut self.restarted;
        until_true("killed processes are gone", || {
            // Those that this process started have to be collected by it.
            restarted.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
            pids.iter().all(|pid| !is_running(*pid))
        })
        .await;
    }

    /// SIGSTOP: the process holds all its connections, and says nothing.
    ///
    /// # Panics
    /// When it is not running.
    pub fn freeze(&mut self, member: Member) {
        let pid = self.info(member).pid;
        kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("a process to freeze");
        self.frozen.push(pid);
    }

    /// SIGCONT: the process goes on as if no time had passed.
    ///
    /// # Panics
    /// When it is gone.
    pub fn thaw(&mut self, member: Member) {
        let pid = self.info(member).pid;
        kill(Pid::from_raw(pid), Signal::SIGCONT).expect("a frozen process");
        self.frozen.retain(|frozen| *frozen != pid);
    }

    /// SIGTERM, and waits until the process has ended in order.
    ///
    /// # Panics
    /// When it would not end.
    pub async fn terminate(&mut self, member: Member) {
        let pid = self.info(member).pid;
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("a process to end");
        let restarted = &mut self.restarted;
        until_true("a process ends in order", || {
            // Those that this process started have to be collected by it.
            restarted.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
            !is_running(pid)
        })
        .await;
    }

    /// Whether the process of a member runs.
    #[must_use]
    pub fn runs(&self, member: Member) -> bool {
        is_running(self.info(member).pid)
    }

    /// Starts a member that ended again, with another command line.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn restart_with(&mut self, member: Member, change: impl FnOnce(&mut Vec<String>)) {
        let (all, id) = match member {
            Member::Master(id) => (&mut self.ready.masters, id),
            Member::Agent(id) => (&mut self.ready.agents, id),
        };
        if let Some(info) = all.iter_mut().find(|info| info.id == id) {
            change(&mut info.argv);
        }
        self.restart(member);
    }

    /// Starts a killed member again, with the same command line.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn restart(&mut self, member: Member) {
        let info = self.info(member).clone();
        let child = start_again(&info).expect("the process starts again");
        let pid = pid_of(&child).as_raw();
        self.restarted.push(child);
        let (all, id) = match member {
            Member::Master(id) => (&mut self.ready.masters, id),
            Member::Agent(id) => (&mut self.ready.agents, id),
        };
        if let Some(info) = all.iter_mut().find(|info| info.id == id) {
            info.pid = pid;
        }
    }

    /// Ctrl-C. Gives the exit status when `regency local` has ended.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn interrupt(&mut self) -> ExitStatus {
        kill(self.local_pid(), Signal::SIGINT).expect("regency local runs");
        self.ended().await
    }

    /// Waits until `regency local` has ended by itself.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let local = &mut self.local;
        until_true("regency local ends", || {
            status = local.try_wait().expect("a child of ours");
            status.is_some()
        })
        .await;
        status.expect("just seen")
    }

    /// The command lines of all processes that have to do with this cluster.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        processes_naming(&self.ready.dir)
    }

    fn show_logs(&self) {
        use std::io::Write;

        let mut stderr = std::io::stderr().lock();
        for info in self.ready.masters.iter().chain(&self.ready.agents) {
            let text = std::fs::read_to_string(&info.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            // Best effort: the test fails anyway.
            let _ = writeln!(stderr, "--- {}\n{}", info.log.display(), tail.join("\n"));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        for pid in &self.frozen {
            // Left by a test that failed. It could not end in order.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGCONT);
        }
        if matches!(self.local.try_wait(), Ok(None)) {
            // It also ends what was started again here, and tasks.
            let _ = kill(self.local_pid(), Signal::SIGINT);
            let deadline = Instant::now() + PATIENCE;
            while matches!(self.local.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.local.kill();
            let _ = self.local.wait();
        }
        for child in &mut self.restarted {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

fn start_again(info: &MemberInfo) -> anyhow::Result<Child> {
    let (program, args) = info.argv.split_first().context("no command line")?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&info.log)?;
    Ok(Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?)
}

/// Collects the lines of the output; the first is also sent.
fn read_events(
    output: ChildStdout,
) -> (
    Arc<Mutex<Vec<Value>>>,
    tokio::sync::mpsc::UnboundedReceiver<Value>,
) {
    use std::io::{BufRead, BufReader};

    let events: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (sender, first) = tokio::sync::mpsc::unbounded_channel();
    let shared = Arc::clone(&events);
    std::thread::spawn(move || {
        let mut sender = Some(sender);
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let value: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("'{line}' is no JSON: {error}"));
            match sender.take() {
                // The test may have given up.
                Some(sender) => drop(sender.send(value)),
                None => shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(value),
            }
        }
    });
    (events, first)
}

/// Whether a process is there and not a zombie.
#[must_use]
pub fn is_running(pid: i32) -> bool {
    observe(pid) != Process::Gone
}

/// Command lines of processes that name this folder, or work in it.
#[must_use]
pub fn processes_naming(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.file_name();
        if !name
            .to_string_lossy()
            .bytes()
            .all(|byte| byte.is_ascii_digit())
        {
            continue;
        }
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if line.contains(&*dir.to_string_lossy()) || cwd.starts_with(dir) {
            found.push(format!("{}: {line}", name.to_string_lossy()));
        }
    }
    found
}
