//! What is stored is what is read: for every kind of command and for whole states, with values of
//! every kind in every field.

use regency_state::{Proposal, State};
use regency_stored::{decode_proposal, decode_state, encode_proposal, encode_state, state_digest};
use regency_testkit::{Rng, arbitrary};
use regency_types::{ClusterTime, WallTime};

#[test]
fn every_command_comes_back_as_it_was() {
    for place in 0..arbitrary::N_COMMANDS {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let proposal = Proposal {
                proposed_at: ClusterTime(rng.any_size()),
                wall: WallTime(rng.any_size()),
                command: arbitrary::command(&mut rng, place),
            };
            let bytes = encode_proposal(&proposal);
            let back = decode_proposal(&bytes);
            assert_eq!(back.as_ref(), Ok(&proposal), "place {place}, seed {seed}");
            // Equality of resources does not look at everything that is carried; bytes do.
            let again = encode_proposal(&back.unwrap());
            assert_eq!(again, bytes, "place {place}, seed {seed}");
        }
    }
}

#[test]
fn every_state_comes_back_as_it_was() {
    for seed in 0..1500 {
        let parts = arbitrary::parts(&mut Rng::new(seed));
        let state = State::from_parts(parts.clone()).unwrap();
        let bytes = encode_state(&state);
        let back = decode_state(&bytes).unwrap();
        assert_eq!(back, state, "seed {seed}");
        assert_eq!(back.to_parts(), state.to_parts(), "seed {seed}");
        assert_eq!(encode_state(&back), bytes, "seed {seed}");
        assert_eq!(state_digest(&back), state_digest(&state), "seed {seed}");
    }
}

#[test]
fn a_digest_tells_states_apart() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..500 {
        let state = State::from_parts(arbitrary::parts(&mut Rng::new(seed))).unwrap();
        let bytes = encode_state(&state);
        if let Some(other) = seen.insert(state_digest(&state), bytes.clone()) {
            assert_eq!(other, bytes, "seed {seed}: one digest for two states");
        }
    }
    assert!(seen.len() > 400, "only {} different states", seen.len());
}

#[test]
fn a_round_of_offers_is_compact() {
    use regency_resources::parse;
    use regency_state::{Command, IssueOffers, OfferPlan};
    use regency_types::ClusterId;

    let cluster = ClusterId(u128::MAX / 3);
    let resources = parse::resources("cpus:16;mem:65536;disk:1048576;ports:[31000-32000]", "*");
    let resources = resources.unwrap();
    let plans: Vec<OfferPlan> = (0..1000)
        .map(|n| OfferPlan {
            framework: cluster.framework_id(n % 7),
            role: "*".to_owned(),
            agent: cluster.agent_id(n / 2),
            resources: resources.clone(),
            described: 0,
        })
        .collect();
    let proposal = Proposal {
        proposed_at: ClusterTime(1),
        wall: WallTime(1),
        command: Command::IssueOffers(IssueOffers {
            plans,
            timeout: None,
        }),
    };
    let per_plan = encode_proposal(&proposal).len() / 1000;
    assert!(per_plan <= 64, "{per_plan} bytes per offer");
}
