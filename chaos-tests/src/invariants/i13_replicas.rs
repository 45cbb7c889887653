//! I13: replicas at one index have the same state, also through the stored form and a snapshot.

use regency_state::{Applied, Proposal, State};
use regency_stored::{decode_proposal, decode_state, encode_proposal, encode_state};

/// Another master applies the same log in its stored form, restarts from a snapshot before entry
/// `restart_at`, and arrives at the same bytes with the same verdicts.
///
/// # Errors
/// Where it does not.
pub fn check(
    entries: &[(Proposal, Applied)],
    state: &State,
    restart_at: usize,
) -> Result<(), String> {
    let mut replica = State::default();
    for (n, (proposal, applied)) in entries.iter().enumerate() {
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
    if encode_state(&replica) == encode_state(state) {
        Ok(())
    } else {
        Err("the same log gave other bytes".to_owned())
    }
}
