//! What cannot be understood is an error that says which: damage, or a newer program.

use regency_state::{Command, ExpireFilters, Proposal, State};
use regency_stored::{
    COMMAND_VERSION, STATE_READER_VERSION, StoredError, decode_proposal, decode_state,
    encode_proposal, encode_state,
};
use regency_testkit::{Rng, arbitrary};
use regency_types::{ClusterTime, WallTime};

fn proposal(command: Command) -> Proposal {
    Proposal {
        proposed_at: ClusterTime(5),
        wall: WallTime(6),
        command,
    }
}

/// A field of wire type varint.
fn varint_field(tag: u8, value: u8) -> [u8; 2] {
    [tag << 3, value]
}

#[test]
fn a_command_of_a_newer_program_is_unknown_and_not_damage() {
    let known = encode_proposal(&proposal(Command::ExpireFilters(ExpireFilters)));
    // The last field is the empty message ExpireFilters: key and length.
    let (without, last) = known.split_at(known.len() - 2);
    assert_eq!(last, [(14 << 3) | 2, 0]);
    let unknown = StoredError::Unknown {
        what: "Proposal.command",
    };
    assert_eq!(decode_proposal(without), Err(unknown.clone()));
    // The same command under a field number that has no meaning yet: 200.
    let mut newer = without.to_vec();
    newer.extend([0xc2, 0x0c, 0]);
    assert_eq!(decode_proposal(&newer), Err(unknown));
}

#[test]
fn what_says_that_it_needs_a_newer_reader_is_refused() {
    let mut entry = encode_proposal(&proposal(Command::ExpireFilters(ExpireFilters)));
    // The last one of a field that is not repeated counts.
    let newer = u8::try_from(COMMAND_VERSION + 1).unwrap();
    entry.extend(varint_field(1, newer));
    assert!(
        decode_proposal(&entry).is_ok(),
        "it was written by a newer program, but for readers of this version too"
    );
    entry.extend(varint_field(2, newer));
    assert_eq!(
        decode_proposal(&entry),
        Err(StoredError::TooNew {
            what: "Proposal",
            min_reader_version: COMMAND_VERSION + 1,
            reader_version: COMMAND_VERSION,
        })
    );

    let mut snapshot = encode_state(&State::default());
    let newer = u8::try_from(STATE_READER_VERSION + 1).unwrap();
    snapshot.extend(varint_field(1, newer));
    snapshot.extend(varint_field(2, newer));
    assert_eq!(
        decode_state(&snapshot),
        Err(StoredError::TooNew {
            what: "State",
            min_reader_version: STATE_READER_VERSION + 1,
            reader_version: STATE_READER_VERSION,
        })
    );
}

#[test]
fn nothing_at_all_is_damage() {
    assert!(matches!(
        decode_proposal(&[]),
        Err(StoredError::Malformed {
            field: "Proposal.version",
            ..
        })
    ));
    assert!(matches!(
        decode_state(&[]),
        Err(StoredError::Malformed {
            field: "State.version",
            ..
        })
    ));
}

#[test]
fn records_out_of_order_or_without_their_owners_are_damage() {
    let mut with_agent = (0..).map(|seed| arbitrary::parts(&mut Rng::new(seed)));
    let parts = with_agent
        .find(|p| p.agents.len() == 1 && p.offers.is_empty() && p.tasks.is_empty())
        .unwrap();
    let state = State::from_parts(parts.clone()).unwrap();
    let empty = State::from_parts(regency_state::Parts {
        agents: Vec::new(),
        ..parts
    });
    let empty = encode_state(&empty.unwrap());
    let bytes = encode_state(&state);
    // Repeated fields may be appended, so the same agent twice is a well-formed message.
    let differs = bytes.iter().zip(&empty).position(|(a, b)| a != b);
    let start = differs.unwrap_or(empty.len());
    let agent = &bytes[start..bytes.len() - (empty.len() - start)];
    let twice = [bytes.as_slice(), agent].concat();
    assert!(matches!(
        decode_state(&twice),
        Err(StoredError::Malformed {
            field: "State.agents",
            ..
        })
    ));

    let with_offer = (0..)
        .map(|seed| arbitrary::parts(&mut Rng::new(seed)))
        .find(|p| !p.offers.is_empty())
        .unwrap();
    let with_offer = State::from_parts(with_offer).unwrap();
    let offer = with_offer.offers().next().unwrap().id;
    let mut orphan = encode_state(&State::default());
    let all = encode_state(&with_offer);
    // Only the offers: field 12.
    for field in fields(&all).filter(|field| field[0] == (12 << 3) | 2) {
        orphan.extend_from_slice(field);
    }
    match decode_state(&orphan) {
        Err(StoredError::Malformed { field, reason }) => {
            assert_eq!(field, "State");
            assert!(reason.contains(&format!("offer {}", offer.0)), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

/// The top-level fields of a message.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        bytes.first()?;
        let (key, n_key) = varint(bytes);
        let (value, n_value) = varint(&bytes[n_key..]);
        let payload = if key & 7 == 2 { value } else { 0 };
        let length = n_key + n_value + payload;
        let (field, rest) = bytes.split_at(length);
        bytes = rest;
        Some(field)
    })
}

fn varint(bytes: &[u8]) -> (usize, usize) {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return (value, i + 1);
        }
    }
    panic!("a number does not end");
}

/// Neither panics, whatever the bytes; and what is accepted can be written and read again.
fn decode_both(bytes: &[u8], seed: u64) {
    if let Ok(proposal) = decode_proposal(bytes) {
        let again = decode_proposal(&encode_proposal(&proposal));
        assert_eq!(again, Ok(proposal), "seed {seed}");
    }
    if let Ok(state) = decode_state(bytes) {
        let again = decode_state(&encode_state(&state));
        assert_eq!(again, Ok(state), "seed {seed}");
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let bytes = rng.several(60, |rng| rng.number() as u8);
        decode_both(&bytes, seed);
    }
}

#[test]
fn damaged_bytes_never_panic() {
    for seed in 0..1500 {
        let mut rng = Rng::new(seed);
        let place = rng.index(arbitrary::N_COMMANDS);
        let entry = encode_proposal(&proposal(arbitrary::command(&mut rng, place)));
        let state = State::from_parts(arbitrary::parts(&mut rng)).unwrap();
        for mut bytes in [entry, encode_state(&state)] {
            for _ in 0..4 {
                let at = rng.index(bytes.len());
                let old = bytes[at];
                match rng.below(3) {
                    0 => bytes[at] ^= 1 << rng.below(8),
                    1 => bytes[at] = rng.number() as u8,
                    _ => bytes.truncate(at),
                }
                decode_both(&bytes, seed);
                if bytes.is_empty() {
                    break;
                }
                if at < bytes.len() {
                    bytes[at] = old;
                }
            }
        }
    }
}
