//! Arbitrary resources.

use regency_resources::{
    DiskInfo, DiskSource, DiskSourceKind, Milli, Persistence, Ranges, Reservation, ReservationKind,
    ResourceKey, Resources, Set, Value, Volume, VolumeMode,
};

use super::text;
use crate::Rng;

/// Some resources, plain and decorated ones, often several of one name.
pub fn resources(rng: &mut Rng) -> Resources {
    let mut resources = Resources::new();
    for _ in 0..rng.below(7) {
        let (key, value) = (key(rng), value(rng));
        // Whole things may be there several times.
        for _ in 0..=rng.below(2) {
            resources.insert(key.clone(), value.clone());
        }
    }
    resources
}

fn key(rng: &mut Rng) -> ResourceKey {
    const NAMES: [&str; 6] = ["cpus", "mem", "disk", "gpus", "ports", "bananas"];
    let name = NAMES[rng.index(NAMES.len())];
    if rng.chance(60) {
        return ResourceKey::new(name);
    }
    ResourceKey {
        name: name.to_owned(),
        reservations: rng.several(2, reservation),
        disk: rng.maybe(|rng| Box::new(disk(rng))),
        provider_id: rng.maybe(text),
        revocable: rng.chance(30),
        shared: rng.chance(30),
    }
}

fn value(rng: &mut Rng) -> Value {
    match rng.below(4) {
        0 => {
            let pairs = rng.several(3, |rng| {
                let begin = rng.any_size();
                (begin, begin.saturating_add(rng.below(2000)))
            });
            Value::Ranges(Ranges::from_pairs(pairs).expect("each range ends after it begins"))
        }
        1 => Value::Set(rng.several(3, text).into_iter().collect::<Set>()),
        2 => Value::Scalar(Milli(i64::MAX - rng.below(2) as i64)),
        _ => Value::Scalar(Milli(rng.below(10_000_000) as i64)),
    }
}

fn labels(rng: &mut Rng) -> Vec<(String, Option<String>)> {
    rng.several(2, |rng| (text(rng), rng.maybe(text)))
}

fn reservation(rng: &mut Rng) -> Reservation {
    let kinds = [ReservationKind::Static, ReservationKind::Dynamic];
    Reservation {
        kind: kinds[rng.index(kinds.len())],
        role: text(rng),
        principal: rng.maybe(text),
        labels: labels(rng),
    }
}

fn disk(rng: &mut Rng) -> DiskInfo {
    let modes = [VolumeMode::ReadWrite, VolumeMode::ReadOnly];
    DiskInfo {
        persistence: rng.maybe(|rng| Persistence {
            id: text(rng),
            principal: rng.maybe(text),
        }),
        volume: rng.maybe(|rng| Volume {
            container_path: text(rng),
            host_path: rng.maybe(text),
            mode: modes[rng.index(modes.len())],
        }),
        source: rng.maybe(source),
    }
}

fn source(rng: &mut Rng) -> DiskSource {
    let kinds = [
        DiskSourceKind::Path,
        DiskSourceKind::Mount,
        DiskSourceKind::Block,
        DiskSourceKind::Raw,
    ];
    DiskSource {
        kind: kinds[rng.index(kinds.len())],
        root: rng.maybe(text),
        id: rng.maybe(text),
        profile: rng.maybe(text),
        vendor: rng.maybe(text),
        metadata: labels(rng),
    }
}
