//! To the wire.

use regency_resources::{
    DiskInfo, DiskSource, DiskSourceKind, Ranges, Reservation, ReservationKind, ResourceKey,
    Resources, Set, Value, Volume, VolumeMode, role,
};

use crate::v1::resource::disk_info::source::{self, Type as SourceType};
use crate::v1::resource::disk_info::{Persistence, Source};
use crate::v1::resource::reservation_info::Type as ReservationType;
use crate::v1::resource::{self, AllocationInfo, ReservationInfo, RevocableInfo, SharedInfo};
use crate::v1::value::{self, Scalar, Type as ValueType};
use crate::v1::volume::Mode;
use crate::v1::{self, Label, Labels, ResourceProviderId};

/// How reservations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceFormat {
    /// `role` and `reservation`, for frameworks without RESERVATION_REFINEMENT. They are never
    /// offered what has more than one reservation; should such a resource be written all the
    /// same, it is written in the newer form rather than made to look like another one.
    PreReservationRefinement,
    /// `reservations`, for frameworks with RESERVATION_REFINEMENT.
    PostReservationRefinement,
    /// Both, as masters answer operators.
    Endpoint,
}

/// Writes resources, as allocated to a role if one is given.
#[must_use]
pub fn to_wire(
    resources: &Resources,
    format: ResourceFormat,
    allocated_to: Option<&str>,
) -> Vec<v1::Resource> {
    resources
        .iter()
        .map(|(key, value)| {
            let mut wire = v1::Resource {
                name: key.name.clone(),
                provider_id: key
                    .provider_id
                    .clone()
                    .map(|value| ResourceProviderId { value }),
                allocation_info: allocated_to.map(|role| AllocationInfo {
                    role: Some(role.to_owned()),
                }),
                disk: key.disk.as_deref().map(write_disk),
                revocable: key.revocable.then_some(RevocableInfo {}),
                shared: key.shared.then_some(SharedInfo {}),
                ..v1::Resource::default()
            };
            set_value(&mut wire, value);
            set_reservations(&mut wire, key, format);
            wire
        })
        .collect()
}

fn set_value(wire: &mut v1::Resource, value: &Value) {
    match value {
        Value::Scalar(milli) => {
            wire.r#type = ValueType::Scalar as i32;
            wire.scalar = Some(Scalar {
                value: milli.to_f64(),
            });
        }
        Value::Ranges(ranges) => {
            wire.r#type = ValueType::Ranges as i32;
            wire.ranges = Some(write_ranges(ranges));
        }
        Value::Set(set) => {
            wire.r#type = ValueType::Set as i32;
            wire.set = Some(write_set(set));
        }
    }
}

pub(super) fn write_ranges(ranges: &Ranges) -> value::Ranges {
    let range = |range: regency_resources::Range| value::Range {
        begin: range.begin,
        end: range.end,
    };
    value::Ranges {
        range: ranges.iter().map(range).collect(),
    }
}

pub(super) fn write_set(set: &Set) -> value::Set {
    value::Set {
        item: set.iter().map(str::to_owned).collect(),
    }
}

fn set_reservations(wire: &mut v1::Resource, key: &ResourceKey, format: ResourceFormat) {
    let refined = key.reservations.len() > 1;
    let newer = refined || format != ResourceFormat::PreReservationRefinement;
    let older = !refined && format != ResourceFormat::PostReservationRefinement;
    if newer {
        wire.reservations = key.reservations.iter().map(write_reservation).collect();
    }
    if older {
        let only = key.reservations.first();
        wire.role = Some(only.map_or(role::DEFAULT, |only| &only.role).to_owned());
        wire.reservation = only
            .filter(|only| only.kind == ReservationKind::Dynamic)
            .map(|only| ReservationInfo {
                principal: only.principal.clone(),
                labels: write_labels(&only.labels),
                ..ReservationInfo::default()
            });
    }
}

fn write_reservation(reservation: &Reservation) -> ReservationInfo {
    let kind = match reservation.kind {
        ReservationKind::Static => ReservationType::Static,
        ReservationKind::Dynamic => ReservationType::Dynamic,
    };
    ReservationInfo {
        r#type: Some(kind as i32),
        role: Some(reservation.role.clone()),
        principal: reservation.principal.clone(),
        labels: write_labels(&reservation.labels),
    }
}

fn write_labels(labels: &[(String, Option<String>)]) -> Option<Labels> {
    let label = |(key, value): &(String, Option<String>)| Label {
        key: key.clone(),
        value: value.clone(),
    };
    (!labels.is_empty()).then(|| Labels {
        labels: labels.iter().map(label).collect(),
    })
}

fn write_disk(disk: &DiskInfo) -> resource::DiskInfo {
    resource::DiskInfo {
        persistence: disk.persistence.as_ref().map(|persistence| Persistence {
            id: persistence.id.clone(),
            principal: persistence.principal.clone(),
        }),
        volume: disk.volume.as_ref().map(write_volume),
        source: disk.source.as_ref().map(write_source),
    }
}

fn write_volume(volume: &Volume) -> v1::Volume {
    let mode = match volume.mode {
        VolumeMode::ReadWrite => Mode::Rw,
        VolumeMode::ReadOnly => Mode::Ro,
    };
    v1::Volume {
        mode: mode as i32,
        container_path: volume.container_path.clone(),
        host_path: volume.host_path.clone(),
        ..v1::Volume::default()
    }
}

fn write_source(disk: &DiskSource) -> Source {
    let root = disk.root.clone();
    let (kind, path, mount) = match disk.kind {
        DiskSourceKind::Path => (SourceType::Path, root.map(Some), None),
        DiskSourceKind::Mount => (SourceType::Mount, None, root.map(Some)),
        DiskSourceKind::Block => (SourceType::Block, None, None),
        DiskSourceKind::Raw => (SourceType::Raw, None, None),
    };
    Source {
        r#type: kind as i32,
        path: path.map(|root| source::Path { root }),
        mount: mount.map(|root| source::Mount { root }),
        vendor: disk.vendor.clone(),
        id: disk.id.clone(),
        metadata: write_labels(&disk.metadata),
        profile: disk.profile.clone(),
    }
}
