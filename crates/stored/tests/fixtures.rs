//! What released versions wrote stays readable, and this version writes what it wrote at its
//! release. A missing fixture is made by `cargo run -p regency-stored --example bless_fixtures`,
//! which never changes one that is there.

mod samples;

use std::path::{Path, PathBuf};

use regency_state::State;
use regency_stored::{COMMAND_VERSION, STATE_VERSION, decode_proposal, decode_state};
use regency_testkit::arbitrary;

fn read(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let path: PathBuf = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_kind_of_command_has_a_sample() {
    let places: Vec<usize> = samples::commands()
        .iter()
        .map(arbitrary::place_of)
        .collect();
    assert_eq!(places, (0..arbitrary::N_COMMANDS).collect::<Vec<_>>());
}

#[test]
fn commands_of_version_1_are_read() {
    for command in samples::commands() {
        let name = format!("command-{}.bin", command.name());
        let proposal = samples::proposal(command);
        assert_eq!(decode_proposal(&read(&name)), Ok(proposal), "{name}");
    }
    assert_eq!(
        decode_proposal(&read("command-accept_offers-conversions.bin")),
        Ok(samples::proposal(samples::conversions()))
    );
}

#[test]
fn states_of_version_1_are_read() {
    let full = decode_state(&read("state-full.bin")).unwrap();
    assert_eq!(full.to_parts(), samples::state().to_parts());
    assert_eq!(full, samples::state());
    assert_eq!(
        decode_state(&read("state-hashed.bin")),
        Ok(samples::hashed())
    );
    assert_eq!(
        decode_state(&read("state-descended.bin")),
        Ok(samples::descended())
    );
    assert_eq!(
        decode_state(&read("state-raised.bin")),
        Ok(samples::raised())
    );
    let operated = decode_state(&read("state-operated.bin")).unwrap();
    assert_eq!(operated, samples::operated());
    assert_eq!(operated.to_parts(), samples::operated().to_parts());
    assert_eq!(
        decode_state(&read("state-governed.bin")),
        Ok(samples::governed())
    );
    assert_eq!(
        decode_state(&read("state-described.bin")),
        Ok(samples::described())
    );
    assert_eq!(
        decode_state(&read("state-under_maintenance.bin")),
        Ok(samples::under_maintenance())
    );
    assert_eq!(
        decode_state(&read("state-executing.bin")),
        Ok(samples::executing())
    );
    assert_eq!(
        decode_state(&read("state-grouped.bin")),
        Ok(samples::grouped())
    );
    assert_eq!(decode_state(&read("state-empty.bin")), Ok(State::default()));
}

#[test]
fn this_version_writes_the_fixtures_of_its_version() {
    assert_eq!(
        (COMMAND_VERSION, STATE_VERSION),
        (1, 1),
        "a new version needs a folder of fixtures of its own, beside those of the old one"
    );
    for (name, bytes) in samples::all() {
        assert_eq!(bytes, read(&name), "{name}");
    }
}
