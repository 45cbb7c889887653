//! From the wire.

use regency_resources::{
    AmountError, DiskInfo, DiskSource, DiskSourceKind, Milli, Persistence, Ranges, Reservation,
    ReservationKind, ResourceKey, Resources, Set, Value, Volume, VolumeMode, role,
};

use super::{Fault, InvalidValue};
use crate::v1::resource::disk_info::source::Type as SourceType;
use crate::v1::resource::reservation_info::Type as ReservationType;
use crate::v1::resource::{self, ReservationInfo};
use crate::v1::value::Type as ValueType;
use crate::v1::volume::Mode;
use crate::v1::{self, Labels};

/// The only resource that disks are made of.
const DISK: &str = "disk";

/// Resources and the role they are allocated to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocated {
    /// The resources.
    pub resources: Resources,
    /// The role, when any of them tells one.
    pub role: Option<String>,
}

/// Reads a list of resources in either format.
///
/// # Errors
/// At the first one that is none: negative or not a number, without the value its type asks for,
/// with reservations that cannot be, or allocated to another role than those before it.
pub fn from_wire(list: &[v1::Resource]) -> Result<Allocated, InvalidValue> {
    let mut all = Allocated::default();
    for resource in list {
        add(&mut all, resource).map_err(|fault| InvalidValue {
            what: "Resource",
            text: text_of(resource),
            fault,
        })?;
    }
    Ok(all)
}

/// Reads a list of resources of nobody in particular, one entry each: also what amounts to nothing.
///
/// # Errors
/// As [`from_wire`].
pub fn entries_from_wire(list: &[v1::Resource]) -> Result<Vec<(ResourceKey, Value)>, InvalidValue> {
    let entry = |resource: &v1::Resource| Ok((key(resource)?, value(resource)?));
    let entries = list.iter().map(|resource| {
        entry(resource).map_err(|fault| InvalidValue {
            what: "Resource",
            text: text_of(resource),
            fault,
        })
    });
    entries.collect()
}

fn add(all: &mut Allocated, resource: &v1::Resource) -> Result<(), Fault> {
    let allocated = resource
        .allocation_info
        .as_ref()
        .and_then(|info| info.role.as_ref());
    match (allocated, &all.role) {
        (Some(role), Some(other)) if role != other => {
            return Err(Fault::MixedAllocation {
                role: role.clone(),
                other: other.clone(),
            });
        }
        (Some(role), None) => all.role = Some(role.clone()),
        _ => {}
    }
    let (key, value) = (key(resource)?, value(resource)?);
    all.resources.insert(key, value);
    Ok(())
}

/// Name and value, for messages.
fn text_of(resource: &v1::Resource) -> String {
    let value = match (&resource.scalar, &resource.ranges, &resource.set) {
        (Some(scalar), _, _) => scalar.value.to_string(),
        (None, Some(ranges), _) => {
            let ranges: Vec<String> = ranges
                .range
                .iter()
                .map(|r| format!("{}-{}", r.begin, r.end))
                .collect();
            format!("[{}]", ranges.join(", "))
        }
        (None, None, Some(set)) => format!("{{{}}}", set.item.join(", ")),
        (None, None, None) => String::new(),
    };
    format!("{}:{value}", resource.name)
}

fn value(resource: &v1::Resource) -> Result<Value, Fault> {
    let v1::Resource {
        scalar,
        ranges,
        set,
        ..
    } = resource;
    let unsupported = |value: String| Fault::Unsupported {
        field: "type",
        value,
    };
    let (value, extra) = match ValueType::try_from(resource.r#type) {
        Ok(ValueType::Scalar) => {
            let scalar = scalar.as_ref().ok_or(Fault::Missing("scalar"))?;
            let extra = [
                ranges.as_ref().map(|_| "ranges"),
                set.as_ref().map(|_| "set"),
            ];
            (Value::Scalar(amount(scalar.value, "scalar")?), extra)
        }
        Ok(ValueType::Ranges) => {
            let wire = ranges.as_ref().ok_or(Fault::Missing("ranges"))?;
            let extra = [
                scalar.as_ref().map(|_| "scalar"),
                set.as_ref().map(|_| "set"),
            ];
            (Value::Ranges(read_ranges(wire)?), extra)
        }
        Ok(ValueType::Set) => {
            let wire = set.as_ref().ok_or(Fault::Missing("set"))?;
            let extra = [
                scalar.as_ref().map(|_| "scalar"),
                ranges.as_ref().map(|_| "ranges"),
            ];
            (Value::Set(Set(wire.item.iter().cloned().collect())), extra)
        }
        Ok(ValueType::Text) => return Err(unsupported("TEXT".to_owned())),
        Err(_) => return Err(unsupported(resource.r#type.to_string())),
    };
    match extra.into_iter().flatten().next() {
        Some(field) => Err(Fault::Misplaced {
            field,
            reason: "a value of another type",
        }),
        None => Ok(value),
    }
}

/// Reads an amount of something, which cannot be negative.
pub(super) fn amount(number: f64, field: &'static str) -> Result<Milli, Fault> {
    Milli::amount_from_f64(number).map_err(|error| match error {
        AmountError::Negative(_) => Fault::Negative,
        error => Fault::Amount { field, error },
    })
}

/// Reads ranges in any order, also overlapping ones.
pub(super) fn read_ranges(wire: &v1::value::Ranges) -> Result<Ranges, Fault> {
    Ok(Ranges::from_pairs(
        wire.range.iter().map(|range| (range.begin, range.end)),
    )?)
}

fn key(resource: &v1::Resource) -> Result<ResourceKey, Fault> {
    if resource.name.is_empty() {
        return Err(Fault::Missing("name"));
    }
    let disk = match &resource.disk {
        Some(_) if resource.name != DISK => {
            return Err(Fault::Misplaced {
                field: "disk",
                reason: "what is no disk",
            });
        }
        Some(disk) => read_disk(disk)?,
        None => None,
    };
    Ok(ResourceKey {
        name: resource.name.clone(),
        reservations: reservations(resource)?,
        disk: disk.map(Box::new),
        provider_id: resource.provider_id.as_ref().map(|id| id.value.clone()),
        revocable: resource.revocable.is_some(),
        shared: resource.shared.is_some(),
    })
}

fn reservations(resource: &v1::Resource) -> Result<Vec<Reservation>, Fault> {
    let older = older_reservation(resource)?;
    if resource.reservations.is_empty() {
        return Ok(older.into_iter().collect());
    }
    let stack = stack(&resource.reservations)?;
    // Masters' own answers carry both forms, and tools send back what they read.
    let told = resource.role.is_some() || resource.reservation.is_some();
    if told && older.as_ref() != stack.last() {
        return Err(Fault::Contradiction);
    }
    Ok(stack)
}

/// The reservation in the older form: the role, and more about it when it is dynamic.
fn older_reservation(resource: &v1::Resource) -> Result<Option<Reservation>, Fault> {
    let role = resource.role.as_deref().unwrap_or(role::DEFAULT);
    check_role(role, "role")?;
    match (&resource.reservation, role) {
        (None, role::DEFAULT) => Ok(None),
        (None, role) => Ok(Some(Reservation::fixed(role))),
        (Some(_), role::DEFAULT) => Err(Fault::ReservedForAll),
        (Some(info), role) => {
            if info.role.as_deref().is_some_and(|other| other != role)
                || info
                    .r#type
                    .is_some_and(|kind| kind != ReservationType::Dynamic as i32)
            {
                return Err(Fault::Contradiction);
            }
            Ok(Some(Reservation {
                kind: ReservationKind::Dynamic,
                role: role.to_owned(),
                principal: info.principal.clone(),
                labels: labels(info.labels.as_ref()),
            }))
        }
    }
}

/// The reservations in the newer form, from the outer role to the inner.
fn stack(infos: &[ReservationInfo]) -> Result<Vec<Reservation>, Fault> {
    let mut stack: Vec<Reservation> = Vec::with_capacity(infos.len());
    for info in infos {
        let role = info
            .role
            .as_deref()
            .ok_or(Fault::Missing("reservations.role"))?;
        check_role(role, "reservations.role")?;
        if role == role::DEFAULT {
            return Err(Fault::ReservedForAll);
        }
        let number = info.r#type.ok_or(Fault::Missing("reservations.type"))?;
        let kind = match ReservationType::try_from(number) {
            Ok(ReservationType::Static) if stack.is_empty() => ReservationKind::Static,
            Ok(ReservationType::Static) => {
                return Err(Fault::Misplaced {
                    field: "reservations.type",
                    reason: "STATIC upon another reservation",
                });
            }
            Ok(ReservationType::Dynamic) => ReservationKind::Dynamic,
            Ok(ReservationType::Unknown) | Err(_) => {
                let value = number.to_string();
                return Err(Fault::Unsupported {
                    field: "reservations.type",
                    value,
                });
            }
        };
        if let Some(outer) = stack.last()
            && !role::is_below(role, &outer.role)
        {
            return Err(Fault::NotRefined {
                role: role.to_owned(),
                outer: outer.role.clone(),
            });
        }
        stack.push(Reservation {
            kind,
            role: role.to_owned(),
            principal: info.principal.clone(),
            labels: labels(info.labels.as_ref()),
        });
    }
    Ok(stack)
}

fn check_role(role: &str, field: &'static str) -> Result<(), Fault> {
    role::validate(role).map_err(|error| Fault::Role { field, error })
}

fn labels(labels: Option<&Labels>) -> Vec<(String, Option<String>)> {
    let labels = labels.map_or(&[][..], |labels| &labels.labels);
    labels
        .iter()
        .map(|label| (label.key.clone(), label.value.clone()))
        .collect()
}

/// `None` for a message in which nothing is set, which means plain disk.
fn read_disk(disk: &resource::DiskInfo) -> Result<Option<DiskInfo>, Fault> {
    let persistence = disk.persistence.as_ref().map(|persistence| Persistence {
        id: persistence.id.clone(),
        principal: persistence.principal.clone(),
    });
    let volume = disk.volume.as_ref().map(read_volume).transpose()?;
    let source = disk.source.as_ref().map(read_source).transpose()?;
    let plain = persistence.is_none() && volume.is_none() && source.is_none();
    Ok((!plain).then_some(DiskInfo {
        persistence,
        volume,
        source,
    }))
}

fn read_volume(volume: &v1::Volume) -> Result<Volume, Fault> {
    let misplaced = |field| {
        Err(Fault::Misplaced {
            field,
            reason: "a disk",
        })
    };
    if volume.image.is_some() {
        return misplaced("disk.volume.image");
    }
    if volume.source.is_some() {
        return misplaced("disk.volume.source");
    }
    let mode = match Mode::try_from(volume.mode) {
        Ok(Mode::Rw) => VolumeMode::ReadWrite,
        Ok(Mode::Ro) => VolumeMode::ReadOnly,
        Err(_) => {
            let value = volume.mode.to_string();
            return Err(Fault::Unsupported {
                field: "disk.volume.mode",
                value,
            });
        }
    };
    Ok(Volume {
        container_path: volume.container_path.clone(),
        host_path: volume.host_path.clone(),
        mode,
    })
}

fn read_source(source: &resource::disk_info::Source) -> Result<DiskSource, Fault> {
    let (kind, root) = match SourceType::try_from(source.r#type) {
        Ok(SourceType::Path) => (
            DiskSourceKind::Path,
            source.path.as_ref().and_then(|path| path.root.clone()),
        ),
        Ok(SourceType::Mount) => (
            DiskSourceKind::Mount,
            source.mount.as_ref().and_then(|mount| mount.root.clone()),
        ),
        Ok(SourceType::Block) => (DiskSourceKind::Block, None),
        Ok(SourceType::Raw) => (DiskSourceKind::Raw, None),
        Ok(SourceType::Unknown) | Err(_) => {
            let value = source.r#type.to_string();
            return Err(Fault::Unsupported {
                field: "disk.source.type",
                value,
            });
        }
    };
    Ok(DiskSource {
        kind,
        root,
        id: source.id.clone(),
        profile: source.profile.clone(),
        vendor: source.vendor.clone(),
        metadata: labels(source.metadata.as_ref()),
    })
}
