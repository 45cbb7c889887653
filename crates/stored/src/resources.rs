//! Resources, compact: they are most of what an allocation round writes.

use std::collections::BTreeSet;

use regency_resources::{
    DiskInfo, DiskSource, DiskSourceKind, Milli, Persistence, Ranges, Reservation, ReservationKind,
    Resource, ResourceKey, Resources, Set, Value, Volume, VolumeMode,
};

use crate::StoredError;
use crate::field::{Stored, chosen, load_all, store_all};
use crate::proto;

impl Stored for Resources {
    type Message = proto::Resources;

    fn store(&self) -> proto::Resources {
        let mut message = proto::Resources::default();
        for entry in self.entries() {
            if !store_plain(entry, &mut message) {
                message.others.push(entry.store());
            }
        }
        message
    }

    fn load(message: proto::Resources) -> Result<Self, StoredError> {
        let mut entries = Vec::new();
        for (name, amount, field) in [
            ("cpus", message.cpus, "Resources.cpus"),
            ("mem", message.mem, "Resources.mem"),
            ("disk", message.disk, "Resources.disk"),
            ("gpus", message.gpus, "Resources.gpus"),
        ] {
            if amount > 0 {
                entries.push(plain(name, Value::Scalar(load_milli(amount, field)?)));
            }
        }
        if let Some(ports) = message.ports {
            entries.push(plain("ports", Value::Ranges(load_ranges(&ports)?)));
        }
        for other in message.others {
            entries.push(Resource::load(other)?);
        }
        Ok(entries.into_iter().collect())
    }
}

/// Writes the entry to its own field; `false` when it has none.
fn store_plain(entry: &Resource, message: &mut proto::Resources) -> bool {
    let Resource { key, value, copies } = entry;
    let decorated = !key.reservations.is_empty()
        || key.disk.is_some()
        || key.provider_id.is_some()
        || key.revocable
        || key.shared;
    if decorated || *copies != 1 {
        return false;
    }
    match (key.name.as_str(), value) {
        ("cpus", Value::Scalar(amount)) => message.cpus = store_milli(*amount),
        ("mem", Value::Scalar(amount)) => message.mem = store_milli(*amount),
        ("disk", Value::Scalar(amount)) => message.disk = store_milli(*amount),
        ("gpus", Value::Scalar(amount)) => message.gpus = store_milli(*amount),
        ("ports", Value::Ranges(ranges)) => message.ports = Some(store_ranges(ranges)),
        _ => return false,
    }
    true
}

fn plain(name: &str, value: Value) -> Resource {
    Resource {
        key: ResourceKey::new(name),
        value,
        copies: 1,
    }
}

/// A collection holds nothing that is not above zero.
fn store_milli(amount: Milli) -> u64 {
    u64::try_from(amount.0).unwrap_or(0)
}

fn load_milli(amount: u64, field: &'static str) -> Result<Milli, StoredError> {
    match i64::try_from(amount) {
        Ok(amount) if amount > 0 => Ok(Milli(amount)),
        _ => Err(StoredError::malformed(
            field,
            format!("{amount} is no amount"),
        )),
    }
}

fn store_ranges(ranges: &Ranges) -> proto::Ranges {
    proto::Ranges {
        bounds: ranges.iter().flat_map(|r| [r.begin, r.end]).collect(),
    }
}

fn load_ranges(message: &proto::Ranges) -> Result<Ranges, StoredError> {
    const FIELD: &str = "Ranges.bounds";
    let (pairs, rest) = message.bounds.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(StoredError::malformed(FIELD, "a range has no end"));
    }
    if pairs.is_empty() {
        return Err(StoredError::malformed(FIELD, "there are no ranges"));
    }
    Ranges::from_pairs(pairs.iter().map(|[begin, end]| (*begin, *end)))
        .map_err(|e| StoredError::malformed(FIELD, e))
}

impl Stored for Resource {
    type Message = proto::Resource;

    fn store(&self) -> proto::Resource {
        let key = &self.key;
        proto::Resource {
            name: key.name.clone(),
            value: Some(match &self.value {
                Value::Scalar(amount) => proto::resource::Value::Scalar(store_milli(*amount)),
                Value::Ranges(ranges) => proto::resource::Value::Ranges(store_ranges(ranges)),
                Value::Set(set) => proto::resource::Value::Set(proto::Set {
                    words: set.iter().map(str::to_owned).collect(),
                }),
            }),
            reservations: store_all(&key.reservations),
            disk: key.disk.as_deref().map(Stored::store),
            provider_id: key.provider_id.clone(),
            revocable: key.revocable,
            shared: key.shared,
            more_copies: self.copies.saturating_sub(1),
        }
    }

    fn load(message: proto::Resource) -> Result<Self, StoredError> {
        let value = match chosen(message.value, "Resource.value")? {
            proto::resource::Value::Scalar(amount) => {
                Value::Scalar(load_milli(amount, "Resource.scalar")?)
            }
            proto::resource::Value::Ranges(ranges) => Value::Ranges(load_ranges(&ranges)?),
            proto::resource::Value::Set(set) => Value::Set(load_set(set)?),
        };
        let copies = message
            .more_copies
            .checked_add(1)
            .ok_or_else(|| StoredError::malformed("Resource.more_copies", "it is too large"))?;
        let key = ResourceKey {
            name: message.name,
            reservations: load_all(message.reservations)?,
            disk: message.disk.map(DiskInfo::load).transpose()?.map(Box::new),
            provider_id: message.provider_id,
            revocable: message.revocable,
            shared: message.shared,
        };
        if copies > 1 && !key.is_whole() {
            return Err(StoredError::malformed(
                "Resource.more_copies",
                format!("{key} is divisible and cannot be there several times"),
            ));
        }
        Ok(Self { key, value, copies })
    }
}

fn load_set(message: proto::Set) -> Result<Set, StoredError> {
    if message.words.is_empty() {
        return Err(StoredError::malformed("Set.words", "there are none"));
    }
    Ok(Set(message.words.into_iter().collect::<BTreeSet<String>>()))
}

fn store_labels(labels: &[(String, Option<String>)]) -> Vec<proto::Label> {
    labels
        .iter()
        .map(|(key, value)| proto::Label {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

fn load_labels(labels: Vec<proto::Label>) -> Vec<(String, Option<String>)> {
    labels.into_iter().map(|l| (l.key, l.value)).collect()
}

impl Stored for Reservation {
    type Message = proto::Reservation;

    fn store(&self) -> proto::Reservation {
        let kind = match self.kind {
            ReservationKind::Static => proto::ReservationKind::Static,
            ReservationKind::Dynamic => proto::ReservationKind::Dynamic,
        };
        proto::Reservation {
            kind: kind.into(),
            role: self.role.clone(),
            principal: self.principal.clone(),
            labels: store_labels(&self.labels),
        }
    }

    fn load(message: proto::Reservation) -> Result<Self, StoredError> {
        let kind = match message.kind() {
            proto::ReservationKind::Static => ReservationKind::Static,
            proto::ReservationKind::Dynamic => ReservationKind::Dynamic,
            proto::ReservationKind::Unspecified => {
                return Err(StoredError::Unknown {
                    what: "Reservation.kind",
                });
            }
        };
        Ok(Self {
            kind,
            role: message.role,
            principal: message.principal,
            labels: load_labels(message.labels),
        })
    }
}

impl Stored for DiskInfo {
    type Message = proto::Disk;

    fn store(&self) -> proto::Disk {
        proto::Disk {
            persistence: self.persistence.as_ref().map(|p| proto::disk::Persistence {
                id: p.id.clone(),
                principal: p.principal.clone(),
            }),
            volume: self.volume.as_ref().map(|v| proto::disk::Volume {
                container_path: v.container_path.clone(),
                host_path: v.host_path.clone(),
                mode: match v.mode {
                    VolumeMode::ReadWrite => proto::disk::VolumeMode::ReadWrite,
                    VolumeMode::ReadOnly => proto::disk::VolumeMode::ReadOnly,
                }
                .into(),
            }),
            source: self.source.as_ref().map(Stored::store),
        }
    }

    fn load(message: proto::Disk) -> Result<Self, StoredError> {
        let volume = match message.volume {
            None => None,
            Some(volume) => Some(Volume {
                mode: match volume.mode() {
                    proto::disk::VolumeMode::ReadWrite => VolumeMode::ReadWrite,
                    proto::disk::VolumeMode::ReadOnly => VolumeMode::ReadOnly,
                    proto::disk::VolumeMode::Unspecified => {
                        return Err(StoredError::Unknown {
                            what: "Disk.Volume.mode",
                        });
                    }
                },
                container_path: volume.container_path,
                host_path: volume.host_path,
            }),
        };
        Ok(Self {
            persistence: message.persistence.map(|p| Persistence {
                id: p.id,
                principal: p.principal,
            }),
            volume,
            source: message.source.map(DiskSource::load).transpose()?,
        })
    }
}

impl Stored for DiskSource {
    type Message = proto::disk::Source;

    fn store(&self) -> proto::disk::Source {
        let kind = match self.kind {
            DiskSourceKind::Path => proto::disk::SourceKind::Path,
            DiskSourceKind::Mount => proto::disk::SourceKind::Mount,
            DiskSourceKind::Block => proto::disk::SourceKind::Block,
            DiskSourceKind::Raw => proto::disk::SourceKind::Raw,
        };
        proto::disk::Source {
            kind: kind.into(),
            root: self.root.clone(),
            id: self.id.clone(),
            profile: self.profile.clone(),
            vendor: self.vendor.clone(),
            metadata: store_labels(&self.metadata),
        }
    }

    fn load(message: proto::disk::Source) -> Result<Self, StoredError> {
        let kind = match message.kind() {
            proto::disk::SourceKind::Path => DiskSourceKind::Path,
            proto::disk::SourceKind::Mount => DiskSourceKind::Mount,
            proto::disk::SourceKind::Block => DiskSourceKind::Block,
            proto::disk::SourceKind::Raw => DiskSourceKind::Raw,
            proto::disk::SourceKind::Unspecified => {
                return Err(StoredError::Unknown {
                    what: "Disk.Source.kind",
                });
            }
        };
        Ok(Self {
            kind,
            root: message.root,
            id: message.id,
            profile: message.profile,
            vendor: message.vendor,
            metadata: load_labels(message.metadata),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    fn parsed(text: &str) -> Resources {
        regency_resources::parse::resources(text, "*").expect("a test's resources parse")
    }

    #[test]
    fn what_nearly_every_offer_holds_takes_few_bytes() {
        let resources = parsed("cpus:4;mem:1024;disk:10240;ports:[31000-32000]");
        let bytes = resources.store().encode_to_vec();
        assert!(bytes.len() <= 32, "{} bytes", bytes.len());
        let back = proto::Resources::decode(bytes.as_slice()).expect("it decodes");
        assert_eq!(Resources::load(back), Ok(resources));
    }

    #[test]
    fn thousandths_and_decorations_are_kept_exactly() {
        let disk = DiskInfo {
            persistence: Some(Persistence {
                id: "p".into(),
                principal: Some("who".into()),
            }),
            volume: Some(Volume {
                container_path: "data".into(),
                host_path: None,
                mode: VolumeMode::ReadOnly,
            }),
            source: None,
        };
        let mut resources = parsed("cpus:0.001;mem(eng/web):7.25;words:{a, b};gpus:1");
        for _ in 0..3 {
            let mut key = ResourceKey::fixed("disk", "eng");
            key.disk = Some(Box::new(disk.clone()));
            key.shared = true;
            key.reservations.push(Reservation {
                kind: ReservationKind::Dynamic,
                role: "eng/web".into(),
                principal: None,
                labels: vec![("k".into(), None), ("l".into(), Some("v".into()))],
            });
            resources.insert(key, Value::units(64));
        }
        let back = Resources::load(resources.store()).expect("it loads");
        assert_eq!(back, resources);
        let volumes: Vec<_> = back
            .entries()
            .iter()
            .filter_map(|e| e.key.disk.as_ref()?.volume.clone())
            .collect();
        assert_eq!(volumes, vec![disk.volume.expect("it was set above")]);
    }

    #[test]
    fn amounts_that_are_none_are_refused() {
        for (scalar, field) in [(0, "Resource.scalar"), (u64::MAX, "Resource.scalar")] {
            let message = proto::Resources {
                others: vec![proto::Resource {
                    name: "bananas".into(),
                    value: Some(proto::resource::Value::Scalar(scalar)),
                    ..Default::default()
                }],
                ..Default::default()
            };
            assert!(
                matches!(Resources::load(message), Err(StoredError::Malformed { field: f, .. }) if f == field)
            );
        }
        for bounds in [vec![], vec![1], vec![2, 1]] {
            let message = proto::Resources {
                ports: Some(proto::Ranges { bounds }),
                ..Default::default()
            };
            assert!(matches!(
                Resources::load(message),
                Err(StoredError::Malformed {
                    field: "Ranges.bounds",
                    ..
                })
            ));
        }
    }

    #[test]
    fn a_kind_of_value_from_the_future_is_unknown_and_not_damage() {
        let message = proto::Resources {
            others: vec![proto::Resource {
                name: "x".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(
            Resources::load(message),
            Err(StoredError::Unknown {
                what: "Resource.value"
            })
        );
    }
}
