//! What holds for every message of `proto/mesos`, whether somebody uses it or not.
//!
//! The messages come from the descriptors that the types are generated from, so that one added to a
//! `.proto` file is in here by itself. Everything is drawn from a seed; a failure names it.
//!
//! - `REGENCY_FUZZ_SEED=N` begins with that seed (0 otherwise).
//! - `REGENCY_FUZZ_SECS=60` goes on for so long instead of a fixed number of inputs.

mod arbitrary;
mod damage;

use std::time::{Duration, Instant};

use arbitrary::Descriptors;
use regency_testkit::Rng;
use regency_wire::{ContentType, WireMessage, decode, encode, recordio, resources, v1, validate};

include!(concat!(env!("OUT_DIR"), "/every_message.rs"));

/// A message type.
struct Kind {
    /// Its full name.
    name: &'static str,
    /// Whether a message of it, given in binary, is the same behind JSON.
    identity: fn(&[u8]) -> Result<(), String>,
    /// Reads damaged bytes.
    read: fn(ContentType, &[u8]) -> Result<(), String>,
    /// Binary to JSON.
    to_json: fn(&[u8]) -> Vec<u8>,
}

macro_rules! kinds {
    ($($name:literal => $message:ty),* $(,)?) => {
        &[$(Kind {
            name: $name,
            identity: identity::<$message>,
            read: read::<$message>,
            to_json: to_json::<$message>,
        }),*]
    };
}

const KINDS: &[Kind] = every_message!(kinds);

/// Messages of each type that are carried through JSON.
const IDENTITIES: u64 = 60;
/// Damaged inputs of each type.
const DAMAGED: u64 = 60;

fn identity<M: WireMessage>(bytes: &[u8]) -> Result<(), String> {
    let message: M = decode(ContentType::Protobuf, bytes).map_err(|error| error.to_string())?;
    let binary = encode(ContentType::Protobuf, &message);
    let json = encode(ContentType::Json, &message);
    let told = || String::from_utf8_lossy(&json).into_owned();
    // Compared as bytes, because a NaN does not equal itself.
    let back: M =
        decode(ContentType::Json, &json).map_err(|error| format!("{error}: {}", told()))?;
    if encode(ContentType::Protobuf, &back) != binary {
        return Err(format!("{message:?}\nis, behind JSON,\n{back:?}"));
    }
    if encode(ContentType::Json, &back) != json {
        return Err(format!("written twice it is not the same: {}", told()));
    }
    Ok(())
}

/// What can be read can be written and read again; what cannot is refused with words.
fn read<M: WireMessage>(content_type: ContentType, bytes: &[u8]) -> Result<(), String> {
    match decode::<M>(content_type, bytes) {
        Ok(message) => {
            let json = encode(ContentType::Json, &message);
            let back = decode::<M>(ContentType::Json, &json)
                .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&json)))?;
            let binary = encode(ContentType::Protobuf, &back);
            match decode::<M>(ContentType::Protobuf, &binary) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("what was written is refused: {error}")),
            }
        }
        Err(error) if error.to_string().is_empty() => Err("refused without a word".to_owned()),
        Err(_) => Ok(()),
    }
}

fn to_json<M: WireMessage>(bytes: &[u8]) -> Vec<u8> {
    let message: M = decode(ContentType::Protobuf, bytes).expect("a whole message");
    encode(ContentType::Json, &message).to_vec()
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("the setting is a number"))
}

/// Runs `check` for seed after seed: as many as `usual`, or for as long as the environment says.
///
/// # Panics
/// With the seed, when the check fails or panics.
fn for_seeds(usual: u64, mut check: impl FnMut(u64) -> Result<(), String>) {
    let first = setting("REGENCY_FUZZ_SEED").unwrap_or(0);
    let until = setting("REGENCY_FUZZ_SECS").map(|secs| Instant::now() + Duration::from_secs(secs));
    for seed in first.. {
        let over = match until {
            Some(until) => Instant::now() >= until && seed > first,
            None => seed - first >= usual,
        };
        if over {
            return;
        }
        let attempt = std::panic::AssertUnwindSafe(|| check(seed));
        match std::panic::catch_unwind(attempt) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => panic!("REGENCY_FUZZ_SEED={seed}: {why}"),
            Err(_) => panic!("REGENCY_FUZZ_SEED={seed}: panicked"),
        }
    }
}

#[test]
fn every_message_is_the_same_behind_json() {
    let descriptors = Descriptors::read();
    let ours: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(ours, descriptors.names(), "all messages are in here");
    for_seeds(IDENTITIES, |seed| {
        let mut rng = Rng::new(seed);
        for kind in KINDS {
            let bytes = descriptors.message(&mut rng, kind.name);
            (kind.identity)(&bytes).map_err(|why| format!("{}: {why}", kind.name))?;
        }
        Ok(())
    });
}

#[test]
fn no_decoder_panics_whatever_it_reads() {
    let descriptors = Descriptors::read();
    for_seeds(DAMAGED, |seed| {
        let mut rng = Rng::new(seed);
        for kind in KINDS {
            let binary = descriptors.message(&mut rng, kind.name);
            let json = damage::text(&mut rng, &(kind.to_json)(&binary));
            let told = || format!("{} from {}", kind.name, String::from_utf8_lossy(&json));
            (kind.read)(ContentType::Json, &json).map_err(|why| format!("{}: {why}", told()))?;
            let damaged = damage::bytes(&mut rng, &binary);
            (kind.read)(ContentType::Protobuf, &damaged)
                .map_err(|why| format!("{} from {damaged:02x?}: {why}", kind.name))?;
        }
        Ok(())
    });
}

#[test]
fn no_check_and_no_conversion_panics_whatever_the_message_holds() {
    let descriptors = Descriptors::read();
    fn whole<M: WireMessage>(descriptors: &Descriptors, rng: &mut Rng, name: &str) -> M {
        let bytes = descriptors.message(rng, name);
        decode(ContentType::Protobuf, &bytes).expect("a whole message")
    }
    for_seeds(10 * DAMAGED, |seed| {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let call = whole(&descriptors, rng, "mesos.v1.scheduler.Call");
        let _ = validate::scheduler::check(&call, Some("p"));
        let _ = validate::operator::check(&whole(&descriptors, rng, "mesos.v1.master.Call"));
        let _ = validate::executor::check(&whole(&descriptors, rng, "mesos.v1.executor.Call"));
        let _ = validate::agent::check(&whole(&descriptors, rng, "mesos.v1.agent.Call"));
        let list: Vec<v1::Resource> = (0..rng.below(4))
            .map(|_| whole(&descriptors, rng, "mesos.v1.Resource"))
            .collect();
        // What is taken has a form that is taken again.
        if let Ok(taken) = resources::from_wire(&list) {
            let format = resources::ResourceFormat::Endpoint;
            let written = resources::to_wire(&taken.resources, format, None);
            let again = resources::from_wire(&written)
                .map_err(|error| format!("{written:?} is refused: {error}"))?;
            if again.resources != taken.resources {
                return Err(format!("{list:?} is {written:?}, and that something else"));
            }
        }
        Ok(())
    });
}

#[test]
fn records_come_out_as_they_went_in_and_damaged_ones_end_the_stream() {
    for_seeds(10 * DAMAGED, |seed| {
        let mut rng = Rng::new(seed);
        let records: Vec<Vec<u8>> = (0..rng.below(5))
            .map(|_| (0..rng.below(40)).map(|_| rng.number() as u8).collect())
            .collect();
        let stream: Vec<u8> = records.iter().flat_map(|r| recordio::frame(r)).collect();
        let mut reader = recordio::Decoder::new(64);
        let mut read = Vec::new();
        for piece in stream.chunks(1 + rng.index(9)) {
            reader.feed(piece);
            while let Some(record) = reader.next_record().map_err(|e| e.to_string())? {
                read.push(record.to_vec());
            }
        }
        if read != records || reader.finish().is_err() {
            return Err(format!("{records:?} came out as {read:?}"));
        }
        let mut reader = recordio::Decoder::new(64);
        reader.feed(&damage::bytes(&mut rng, &stream));
        while let Ok(Some(record)) = reader.next_record() {
            assert!(record.len() <= 64, "a bound is kept");
        }
        Ok(())
    });
}
