//! I12: events are told in order, each once, the same by every master, and a stream goes on
//! where it broke.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{History, Stream};

/// Index of an entry and which of its events; behind all of them without one.
type Position = (u64, u64);

fn position(text: &str) -> Option<Position> {
    let (index, part) = match text.split_once('.') {
        None => (text, None),
        Some((index, part)) => (index, Some(part)),
    };
    let part = match part {
        None => u64::MAX,
        Some(part) => part.parse().ok()?,
    };
    Some((index.parse().ok()?, part))
}

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "I12",
        "Streams of events are in order, tell each event once and all the same, and go on at any \
         master where they broke",
    );
    let streams: Vec<(&Stream, Vec<(Position, u64)>)> = history
        .streams
        .iter()
        .map(|stream| (stream, in_order(stream, &mut verdict)))
        .collect();
    // Everything that anybody told, and who did first.
    let mut all: BTreeMap<Position, (u64, u64)> = BTreeMap::new();
    for (stream, events) in &streams {
        for (at, digest) in events {
            let (first, master) = *all.entry(*at).or_insert((*digest, stream.master));
            if first != *digest {
                verdict.broken(format!(
                    "masters {master} and {} tell different events at {}.{}",
                    stream.master, at.0, at.1
                ));
            }
        }
    }
    // What others told between the first and the last of a stream must be in it.
    for (stream, events) in &streams {
        let begin = match position(&stream.after) {
            Some(after) if !stream.fresh => after,
            _ => match events.first() {
                Some((first, _)) => *first,
                None => continue,
            },
        };
        let Some((last, _)) = events.last() else {
            continue;
        };
        if *last <= begin {
            // It went back, which was told above.
            continue;
        }
        let mut told = events.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        told.sort_unstable();
        for (at, (_, master)) in all.range((
            std::ops::Bound::Excluded(begin),
            std::ops::Bound::Included(*last),
        )) {
            if told.binary_search(at).is_err() {
                verdict.broken(format!(
                    "reader {} was not told {}.{} by master {}, as master {master} did",
                    stream.reader, at.0, at.1, stream.master
                ));
            }
        }
    }
    verdict
}

fn in_order(stream: &Stream, verdict: &mut Verdict) -> Vec<(Position, u64)> {
    let mut last = position(&stream.after).filter(|_| !stream.fresh);
    let mut events = Vec::new();
    for (text, digest) in &stream.events {
        verdict.look();
        let Some(at) = position(text) else {
            verdict.broken(format!(
                "'{text}' of master {} is no position",
                stream.master
            ));
            continue;
        };
        if last.is_some_and(|last| at <= last) {
            verdict.broken(format!(
                "reader {} was told {text} by master {} behind {last:?}",
                stream.reader, stream.master
            ));
        }
        last = Some(at);
        events.push((at, *digest));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(master: u64, after: &str, events: &[(&str, u64)]) -> Stream {
        Stream {
            master,
            after: after.to_owned(),
            events: events
                .iter()
                .map(|(at, d)| ((*at).to_owned(), *d))
                .collect(),
            ..Stream::default()
        }
    }

    fn n_violations(streams: &[Stream]) -> u64 {
        let history = History {
            streams: streams.to_vec(),
            ..History::default()
        };
        check(&history).n_violations
    }

    #[test]
    fn repeated_missing_and_different_events_are_found() {
        let whole = stream(1, "5", &[("6.0", 60), ("6.1", 61), ("7.0", 70)]);
        let rest = stream(2, "6.0", &[("6.1", 61), ("7.0", 70)]);
        assert_eq!(n_violations(&[whole.clone(), rest]), 0);
        let twice = stream(1, "5", &[("6.0", 60), ("6.0", 60)]);
        assert_eq!(n_violations(&[twice]), 1);
        let back = stream(1, "6.1", &[("6.0", 60)]);
        assert_eq!(n_violations(&[back]), 1, "before where it broke");
        let gap = stream(2, "6.0", &[("7.0", 70)]);
        assert_eq!(n_violations(&[whole.clone(), gap]), 1);
        let other = stream(2, "6.1", &[("7.0", 71)]);
        assert_eq!(n_violations(&[whole.clone(), other]), 1);
        let mut fresh = stream(2, "", &[("7.0", 70)]);
        fresh.fresh = true;
        assert_eq!(
            n_violations(&[whole, fresh]),
            0,
            "it was told the whole state"
        );
    }
}
