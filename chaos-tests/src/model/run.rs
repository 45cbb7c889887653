//! Running histories, and what is told of one that fails.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::coverage::Coverage;
use super::op::{Op, history};
use super::world::World;
use crate::invariants::{Broken, Checked, i13_replicas};

/// Steps of one history, at most.
pub const N_STEPS_MAX: u64 = 160;
/// Of so many histories one is applied again, through its stored form and a snapshot.
const REPLAYED_EVERY: u64 = 16;

/// Something that must hold and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which rule.
    pub invariant: &'static str,
    /// What breaks it.
    pub what: String,
}

/// What a history came to.
#[derive(Debug)]
pub struct Outcome {
    /// The first rule found broken.
    pub failure: Option<Failure>,
    /// How often each fault struck.
    pub coverage: Coverage,
    /// Committed entries.
    pub n_entries: u64,
}

/// A seed that fails.
#[derive(Debug, Clone)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// What it breaks.
    pub failure: Failure,
}

thread_local! {
    /// What a panic said, while a history runs on this thread.
    static PANIC: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Panics of histories are findings, told with their seed and not as they happen.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let ours = PANIC.with_borrow_mut(|said| {
                said.as_mut()
                    .map(|said| *said = Some(panic.to_string()))
                    .is_some()
            });
            if !ours {
                default(panic);
            }
        }));
    });
}

/// Runs the history of a seed.
#[must_use]
pub fn run_seed(seed: u64) -> Outcome {
    run_history(seed, &history(seed, N_STEPS_MAX)).0
}

/// Runs these steps in the world of this seed.
#[must_use]
pub fn run_history(seed: u64, ops: &[Op]) -> (Outcome, Vec<String>) {
    run(seed, ops, false)
}

/// What happens in these steps, line by line.
#[must_use]
pub fn trace_of(seed: u64, ops: &[Op]) -> Vec<String> {
    run(seed, ops, true).1
}

fn run(seed: u64, ops: &[Op], traced: bool) -> (Outcome, Vec<String>) {
    catch_panics();
    let mut world = World::new(seed, traced);
    PANIC.set(Some(None));
    let result = catch_unwind(AssertUnwindSafe(|| go_through(&mut world, seed, ops)));
    let said = PANIC.take().flatten();
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(Failure {
            invariant: broken.invariant,
            what: broken.what,
        }),
        Err(_) => {
            let said = said.unwrap_or_else(|| "without a text".to_owned());
            // Asserts of the agent's surroundings begin with the rule they are about.
            let invariant = if said.contains("I1: ") { "I1" } else { "panic" };
            Some(Failure {
                invariant,
                what: said,
            })
        }
    };
    let mut trace = world.trace().to_vec();
    if let Some(failure) = &failure
        && traced
    {
        trace.push(format!("     !!! {}: {}", failure.invariant, failure.what));
    }
    let outcome = Outcome {
        failure,
        coverage: world.coverage().clone(),
        n_entries: world.n_entries() as u64,
    };
    (outcome, trace)
}

fn go_through(world: &mut World, seed: u64, ops: &[Op]) -> Checked {
    for (n, op) in ops.iter().enumerate() {
        world.step(n, *op)?;
    }
    world.heal()?;
    if seed.is_multiple_of(REPLAYED_EVERY) {
        let restart_at = seed as usize % world.n_entries().max(1);
        i13_replicas::check(world.entries(), world.state(), restart_at)
            .map_err(|what| Broken::new("I13", what))?;
    }
    Ok(())
}
