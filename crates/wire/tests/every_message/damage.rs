//! What goes wrong with bytes on their way.

use regency_testkit::Rng;

/// Words that mean something to a reader of JSON, most of them in the wrong place.
const WORDS: [&[u8]; 24] = [
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"[[[[",
    b"{\"\":",
    b"\"\"",
    b"\"type\":",
    b"\"value\":",
    b"\"UNKNOWN\"",
    b"-1",
    b"0.5",
    b"1e999",
    b"1e-999",
    b"-0",
    b"18446744073709551616",
    b"9223372036854775808",
    b"\"NaN\"",
    b"\"Infinity\"",
    b"\"AA==\"",
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b",",
];

/// Bytes with one to four things wrong in them.
pub(crate) fn bytes(rng: &mut Rng, whole: &[u8]) -> Vec<u8> {
    let mut damaged = whole.to_vec();
    for _ in 0..=rng.below(4) {
        once(rng, &mut damaged);
    }
    damaged
}

/// The same for JSON, whose words are exchanged as well.
pub(crate) fn text(rng: &mut Rng, whole: &[u8]) -> Vec<u8> {
    let mut damaged = whole.to_vec();
    for _ in 0..=rng.below(4) {
        if rng.chance(50) {
            once(rng, &mut damaged);
            continue;
        }
        let word = rng.pick(&WORDS).expect("there are some");
        let (from, to) = span(rng, &damaged);
        damaged.splice(from..to, word.iter().copied());
    }
    damaged
}

/// A short piece, or none, somewhere.
fn span(rng: &mut Rng, bytes: &[u8]) -> (usize, usize) {
    let from = rng.index(bytes.len() + 1);
    let to = (from + rng.index(9)).min(bytes.len());
    (from, to)
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let (from, to) = span(rng, bytes);
    match rng.below(6) {
        0 => bytes.truncate(from),
        1 => bytes.insert(from, rng.number() as u8),
        2 => drop(bytes.drain(from..to)),
        // Lengths and numbers that are much too large.
        3 => drop(bytes.splice(from..to, [0xff; 9])),
        4 => {
            let piece = bytes[from..to].to_vec();
            let at = rng.index(bytes.len() + 1);
            bytes.splice(at..at, piece);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(from) {
                *byte ^= 1 << rng.below(8);
            }
        }
    }
}
