//! One round: a log is made, its process dies a few times, and what is found must be right.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use nix::unistd::Pid;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use regency_raft_store::EngineKind;

use crate::expect::Expect;
use crate::report::{Report, Seen};
use crate::storage::{Crash, Storage};

/// Most lives of a driver in one round, the last check not counted.
const LIVES_MAX: u32 = 3;
/// Changes after which a driver ends by itself.
const STEPS_MAX: u32 = 400;
/// A driver that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// What a round found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Power cuts after which a log was opened.
    pub(crate) cuts: u64,
    /// Times that something was promised.
    pub(crate) promises: u64,
    /// What is wrong; nothing when the round passed.
    pub(crate) failure: Option<(u32, Failure)>,
}

/// Why a round failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something promised is not there, or something is there that nobody wrote.
    Lost(String),
    /// The log is not opened, with a reason.
    Refused(String),
    /// The process failed otherwise.
    Died(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(what) => write!(f, "lost: {what}"),
            Self::Refused(why) => write!(f, "not opened: {why}"),
            Self::Died(how) => write!(f, "died: {how}"),
        }
    }
}

/// What the drivers of a round have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) engine: EngineKind,
    pub(crate) seed: u64,
    /// Counts of changes, or of lines, after which a life ends: the most there are.
    pub(crate) after_max: u64,
    pub(crate) without_sync: bool,
}

impl Round {
    /// Carries it out.
    pub(crate) fn run(&self, storage: &mut dyn Storage) -> anyhow::Result<Findings> {
        let mut rng = SmallRng::seed_from_u64(self.seed);
        let mut expect = Expect::default();
        let mut findings = Findings::default();
        let lives = rng.random_range(1..=LIVES_MAX);
        for life in 0..=lives {
            let last = life == lives;
            let crash = (!last).then(|| Crash {
                after: self.crash_after(&mut rng, life),
                // The last one must be worth the check behind it.
                power: life + 1 == lives || rng.random_bool(0.7),
            });
            let failure = self.live(storage, &mut expect, life, crash)?;
            findings.promises = expect.promises;
            if let Some(failure) = failure {
                findings.failure = Some((life, failure));
                break;
            }
            findings.cuts += u64::from(crash.is_some_and(|crash| crash.power));
        }
        Ok(findings)
    }

    /// A log that is just being made is as likely as one that has grown; one that is opened again
    /// often dies while it recovers, which takes a few changes only.
    fn crash_after(&self, rng: &mut SmallRng, life: u32) -> u64 {
        if rng.random_bool(if life == 0 { 0.25 } else { 0.5 }) {
            rng.random_range(1..=self.after_max.min(60))
        } else {
            rng.random_range(1..=self.after_max)
        }
    }

    fn live(
        &self,
        storage: &mut dyn Storage,
        expect: &mut Expect,
        life: u32,
        crash: Option<Crash>,
    ) -> anyhow::Result<Option<Failure>> {
        storage.mount(crash)?;
        let mut errors = tempfile::tempfile()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("drive")
            .args(["--engine", self.engine.name()])
            .args(["--seed", &self.seed.to_string()])
            .args(["--life", &life.to_string()])
            .args(["--steps", &crash.map_or(0, |_| STEPS_MAX).to_string()])
            .arg("--dir")
            .arg(storage.log_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?);
        if self.without_sync {
            command.arg("--without-sync");
        }
        let mut child = command.spawn().context("cannot start the driver")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        storage.started(pid);
        let watched = self.watch(&mut child, pid, storage, expect, life);
        if !matches!(watched, Ok(None)) {
            // It may be dead already.
            let _ = child.kill();
        }
        let status = child.wait()?;
        let ended = storage.ended();
        storage.unmount()?;
        let failure = watched?;
        // Without power a process says anything.
        if ended && !matches!(failure, Some(Failure::Lost(_))) {
            return Ok(None);
        }
        if failure.is_none() && !status.success() {
            let mut text = String::new();
            errors.rewind()?;
            errors.read_to_string(&mut text)?;
            let how = status
                .signal()
                .map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
            return Ok(Some(Failure::Died(format!("{how}: {}", text.trim()))));
        }
        Ok(failure)
    }

    /// Follows what the driver says until it is silent for ever.
    fn watch(
        &self,
        child: &mut Child,
        pid: Pid,
        storage: &mut dyn Storage,
        expect: &mut Expect,
        life: u32,
    ) -> anyhow::Result<Option<Failure>> {
        let out = child.stdout.take().context("the driver has no output")?;
        let (tx, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                if line.map(|line| tx.send(line)).is_err() {
                    break;
                }
            }
        });
        let (mut count, mut found, mut seen) = (0, None, Vec::<Seen>::new());
        let mut failure = None;
        loop {
            let line = match lines.recv_timeout(SILENCE_MAX) {
                Ok(line) => line,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let text = format!("no word for {} s", SILENCE_MAX.as_secs());
                    return Ok(Some(Failure::Died(text)));
                }
            };
            count += 1;
            match line.parse()? {
                Report::Refused(why) => failure = Some(Failure::Refused(why)),
                Report::Wrong(what) if !storage.ended() => failure = Some(Failure::Lost(what)),
                Report::Wrong(_) => {}
                Report::Failed(why) => failure = Some(Failure::Died(why)),
                Report::Found(what) => found = Some(what),
                Report::Seen(entry) => seen.push(entry),
                Report::Checked => {
                    let found = found.context("nothing was found")?;
                    if let Err(why) = expect.check(&found, &seen) {
                        failure = Some(Failure::Lost(why));
                        break;
                    }
                }
                Report::Begin(change) => expect.begin(change, life),
                Report::Durable => expect.durable(),
            }
            storage.reported(pid, count)?;
        }
        drop(lines);
        if failure.is_some() {
            let _ = child.kill();
        }
        let _ = reader.join();
        Ok(failure)
    }
}
