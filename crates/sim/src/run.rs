//! One run, in a process of its own: what a seed decides must not depend on what ran before.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use regency_raft_store::simulation::Lies;
use serde::{Deserialize, Serialize};

use crate::coverage::Coverage;
use crate::fault::{Step, schedule};
use crate::machine;
use crate::world::{Options, World};

/// How long a run may take in real time.
const REAL_TIME_MAX: Duration = Duration::from_secs(300);

/// What came of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The rule that was broken, and how.
    pub(crate) violation: Option<(String, String)>,
    /// Equal for equal runs.
    pub(crate) fingerprint: u64,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: Vec<u64>,
    pub(crate) simulated_ms: u64,
    pub(crate) answered: u64,
}

impl Outcome {
    pub(crate) fn coverage(&self) -> Coverage {
        Coverage::from_counts(&self.counts)
    }
}

/// The faults of a seed but for these.
pub(crate) fn steps(seed: u64, without: &[usize]) -> Vec<Step> {
    let all = schedule(seed).into_iter().enumerate();
    all.filter(|(nth, _)| !without.contains(nth))
        .map(|(_, step)| step)
        .collect()
}

/// What panicked, in tasks too.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs in this process, which is a simulator from then on.
pub(crate) fn here(seed: u64, without: &[usize], options: Options) -> anyhow::Result<Outcome> {
    let steps = steps(seed, without);
    std::panic::set_hook(Box::new(|info| {
        let mut panics = PANICS.lock().unwrap_or_else(|e| e.into_inner());
        panics.push(info.to_string());
    }));
    machine::begin(seed);
    // A new thread: it draws the keys of its hash maps from the seed.
    let thread = std::thread::spawn(move || {
        let mut world = World::new(seed, options, machine::set_now)?;
        world.run(&steps);
        let mut record = world.shared.record.borrow_mut();
        let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(|e| e.into_inner()));
        if let Some(panic) = panics.first() {
            record.violated("no panic", panic.clone());
        }
        let violation = record.violation.as_ref();
        Ok(Outcome {
            violation: violation.map(|v| (v.rule.clone(), v.what.clone())),
            fingerprint: record.fingerprint(),
            trace: record.trace.clone(),
            counts: record.coverage.to_counts(),
            simulated_ms: record.now_ms,
            answered: record.answered.len() as u64,
        })
    });
    match thread.join() {
        Ok(outcome) => outcome,
        Err(_) => {
            let panics = PANICS.lock().unwrap_or_else(|e| e.into_inner());
            anyhow::bail!("the simulator panicked: {}", panics.join("; "))
        }
    }
}

/// Runs in another process.
pub(crate) fn apart(seed: u64, without: &[usize], options: Options) -> anyhow::Result<Outcome> {
    let program = std::env::current_exe().context("cannot find this program")?;
    apart_with(&program, seed, without, options)
}

fn apart_with(
    program: &Path,
    seed: u64,
    without: &[usize],
    options: Options,
) -> anyhow::Result<Outcome> {
    let output = tempfile::tempfile().context("cannot make a file")?;
    let mut command = Command::new(program);
    command
        .args(["--one", "--from", &seed.to_string()])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?);
    for nth in without {
        command.args(["--without", &nth.to_string()]);
    }
    if let Some(lies) = told(options.lies) {
        command.args(["--lies", lies]);
    }
    let mut child = command.spawn().context("cannot start a simulator")?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > REAL_TIME_MAX {
            child.kill()?;
            child.wait()?;
            return Ok(Outcome {
                violation: Some((
                    "ends".to_owned(),
                    format!("the run did not end within {REAL_TIME_MAX:?}"),
                )),
                ..Outcome::default()
            });
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    anyhow::ensure!(
        status.success(),
        "the simulator of seed {seed} ended with {status}"
    );
    let text = read_all(output)?;
    serde_json::from_str(&text).context("the simulator says something else")
}

/// How lies are told on the command line.
pub(crate) fn told(lies: Lies) -> Option<&'static str> {
    match lies {
        Lies::Nothing => None,
        Lies::Entries => Some("entries"),
        Lies::Everything => Some("everything"),
    }
}

fn read_all(mut file: std::fs::File) -> anyhow::Result<String> {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Leaves out the faults that are not needed to break the same rule. Gives the numbers of those left out.
pub(crate) fn shrink(seed: u64, rule: &str, options: Options) -> anyhow::Result<Vec<usize>> {
    left_out(schedule(seed).len(), |without| {
        let outcome = apart(seed, without, options)?;
        Ok(outcome.violation.is_some_and(|(broken, _)| broken == rule))
    })
}

/// Which of so many steps can be left out: ever smaller pieces, then single ones until none can go.
fn left_out(
    n: usize,
    mut fails: impl FnMut(&[usize]) -> anyhow::Result<bool>,
) -> anyhow::Result<Vec<usize>> {
    let mut without: Vec<usize> = Vec::new();
    let mut piece = n.div_ceil(2).max(1);
    loop {
        let mut shorter = false;
        let kept: Vec<usize> = (0..n).filter(|nth| !without.contains(nth)).collect();
        for part in kept.chunks(piece) {
            let mut tried = without.clone();
            tried.extend(part);
            if fails(&tried)? {
                without = tried;
                shorter = true;
            }
        }
        match piece {
            1 if !shorter => {
                without.sort_unstable();
                return Ok(without);
            }
            1 => {}
            _ => piece = piece.div_ceil(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_steps_that_are_needed_are_kept() {
        let needed = [3, 17];
        let without = left_out(30, |without| {
            Ok(needed.iter().all(|nth| !without.contains(nth)))
        });
        let without = without.expect("no trouble");
        let kept: Vec<usize> = (0..30).filter(|nth| !without.contains(nth)).collect();
        assert_eq!(kept, needed);
        assert!(left_out(0, |_| Ok(true)).expect("no trouble").is_empty());
    }

    #[test]
    fn a_seed_has_the_same_faults_each_time_and_some_can_be_left_out() {
        let all = steps(7, &[]);
        assert!(all.len() > 10);
        assert_eq!(all, steps(7, &[]));
        assert_eq!(steps(7, &[0, 2])[0], all[1]);
        assert_eq!(steps(7, &[0, 2]).len(), all.len() - 2);
    }
}
