//! Random histories of an imagined cluster. After every entry the invariants hold and the rules
//! that span entries are kept; the same log gives the same bytes and verdicts, also through its
//! stored form and a snapshot in the middle; and once faults end, everyone has been told the one
//! fate of everything that was launched.

mod coverage;
mod maintenance;

use regency_state::{Applied, Proposal, State};
use regency_stored::{decode_proposal, decode_state, encode_proposal, encode_state};
use regency_testkit::rules::{self, Step};
use regency_testkit::{Rng, Workload};
use regency_types::TaskState;

/// Histories in one run of the test, which take some seconds in an unoptimized build;
/// `REGENCY_REPLAY_HISTORIES` sets another number and `REGENCY_REPLAY_SEED` the first seed.
const N_HISTORIES: u64 = 400;
/// Entries in each.
const N_ENTRIES: usize = 200;
/// Entries in which a history must have healed.
const N_HEALING_MAX: usize = 5_000;

/// What a rule that spans entries has seen so far.
#[derive(Default)]
struct Rules {
    ids: rules::Ids,
    launches: rules::Launches,
    fates: rules::Fates,
    offers: rules::Offers,
    maintenance: maintenance::Maintenance,
}

impl Rules {
    fn follow(&mut self, step: &Step<'_>) -> Result<(), String> {
        rules::refused_changes_nothing(step)?;
        rules::tasks(step)?;
        rules::updates(step)?;
        rules::frameworks(step)?;
        rules::quotas(step)?;
        self.ids.follow(step)?;
        self.launches.follow(step)?;
        self.fates.follow(step)?;
        self.offers.follow(step)?;
        self.maintenance.follow(step)
    }
}

/// A history as it was proposed, with what each entry gave.
#[derive(Default)]
struct Log {
    entries: Vec<(Proposal, Applied)>,
    state: State,
    rules: Rules,
}

impl Log {
    fn append(&mut self, proposal: Proposal, workload: &mut Workload) -> Result<(), String> {
        let before = self.state.clone();
        let applied = self.state.apply(&proposal);
        let step = Step {
            before: &before,
            proposal: &proposal,
            applied: &applied,
            after: &self.state,
        };
        let checked = self
            .state
            .check_invariants()
            .map_err(|violation| violation.to_string())
            .and_then(|()| self.rules.follow(&step));
        if let Err(what) = checked {
            let n = self.entries.len();
            return Err(format!("entry {n}, {:?}: {what}", proposal.command));
        }
        workload.applied(&proposal, &applied);
        self.entries.push((proposal, applied));
        Ok(())
    }
}

fn run(seed: u64) -> Result<(), String> {
    let mut workload = Workload::new(seed);
    let mut log = Log::default();
    for _ in 0..N_ENTRIES {
        let proposal = workload.next(&log.state);
        log.append(proposal, &mut workload)?;
    }
    heal(&mut log, &mut workload)?;
    let is_running = |key: &_, generation| workload.is_running(key, generation);
    // Imagined agents say so of nothing else.
    let of_what_ran = [TaskState::Finished, TaskState::Failed];
    log.rules
        .fates
        .check_all_told(&log.state, workload.started(), is_running, &of_what_ran)?;
    maintenance::check_all_emptied(&log.state)?;
    check_replicas(&log, seed)
}

/// Faults end; everyone says and does what is left, then all pictures are compared once.
fn heal(log: &mut Log, workload: &mut Workload) -> Result<(), String> {
    for compared in [false, true] {
        if compared {
            workload.compare_pictures();
        }
        let before = log.entries.len();
        while let Some(proposal) = workload.heal(&log.state) {
            log.append(proposal, workload)?;
            if log.entries.len() - before > N_HEALING_MAX {
                return Err("the cluster does not come to rest".to_owned());
            }
        }
    }
    Ok(())
}

/// Another master applies the same log in its stored form, restarts from a snapshot somewhere in
/// the middle, and arrives at the same bytes with the same verdicts.
fn check_replicas(log: &Log, seed: u64) -> Result<(), String> {
    let restart_at = Rng::new(seed).index(log.entries.len());
    let mut replica = State::default();
    for (n, (proposal, applied)) in log.entries.iter().enumerate() {
        if n == restart_at {
            let bytes = encode_state(&replica);
            let loaded = decode_state(&bytes).map_err(|e| format!("snapshot at {n}: {e}"))?;
            if loaded != replica || encode_state(&loaded) != bytes {
                return Err(format!("a snapshot at entry {n} is not the state"));
            }
            replica = loaded;
        }
        let stored = decode_proposal(&encode_proposal(proposal));
        let stored = stored.map_err(|e| format!("entry {n}: {e}"))?;
        let again = replica.apply(&stored);
        if again != *applied {
            return Err(format!("entry {n} gave {applied:?}, then {again:?}"));
        }
    }
    if encode_state(&replica) == encode_state(&log.state) {
        Ok(())
    } else {
        Err("the same log gave other bytes".to_owned())
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "which histories a test runs is no part of the state machine"
)]
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("the setting is a number"),
        Err(_) => default,
    }
}

#[test]
fn histories_keep_every_rule_and_replay_to_the_same_bytes() {
    let first = setting("REGENCY_REPLAY_SEED", 0);
    let n = setting("REGENCY_REPLAY_HISTORIES", N_HISTORIES);
    let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads)
            .map(|thread| {
                scope.spawn(move || {
                    (first + thread..first + n)
                        .step_by(n_threads as usize)
                        .find_map(|seed| {
                            let failure = run_caught(seed).err()?;
                            Some(format!("REGENCY_REPLAY_SEED={seed}: {failure}"))
                        })
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|t| t.join().expect("a thread ends"))
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A panic is a failure of its seed, which must be told.
fn run_caught(seed: u64) -> Result<(), String> {
    std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("without a text")))
    })
}
