//! Apply is total: whatever a command says of what exists, it neither panics nor breaks an
//! invariant, and the state can be stored.

use regency_state::State;
use regency_stored::{decode_state, encode_state};
use regency_testkit::{Rng, Workload};

const N_HISTORIES: u64 = 300;
const N_ENTRIES: usize = 150;

#[test]
fn nonsense_breaks_nothing() {
    for seed in 0..N_HISTORIES {
        let mut rng = Rng::new(seed);
        let mut workload = Workload::new(seed);
        let mut state = State::default();
        for n in 0..N_ENTRIES {
            let proposal = if rng.chance(40) {
                workload.next_garbled(&state)
            } else {
                workload.next(&state)
            };
            let applied =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| state.apply(&proposal)))
                    .unwrap_or_else(|_| {
                        panic!("seed {seed}, entry {n} panics: {:?}", proposal.command)
                    });
            if let Err(violation) = state.check_invariants() {
                panic!(
                    "seed {seed}, entry {n}: {violation}: {:?}",
                    proposal.command
                );
            }
            workload.applied(&proposal, &applied);
        }
        assert_eq!(
            decode_state(&encode_state(&state)),
            Ok(state),
            "seed {seed}"
        );
    }
}
