//! Resources of the algebra as Mesos messages.
//!
//! Mesos has had two ways to write a reservation and still speaks both. The algebra has one, a
//! stack of reservations; which way it is written depends on who reads.

use regency_resources::{DiskInfo, DiskSourceKind, Reservation, ReservationKind, VolumeMode};
use regency_resources::{ResourceKey, Resources, Value};
use regency_types::AgentId;
use regency_wire::v1::resource::disk_info::source::{Mount, Path, Type as SourceType};
use regency_wire::v1::resource::disk_info::{Persistence, Source};
use regency_wire::v1::resource::reservation_info::Type as ReservationType;
use regency_wire::v1::resource::{
    AllocationInfo, DiskInfo as WireDisk, ReservationInfo, RevocableInfo, SharedInfo,
};
use regency_wire::v1::value::{self, Type};
use regency_wire::v1::{self, Label, Labels, ResourceProviderId, Volume, volume};

use super::usage::ByRole;

/// How reservations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `reservations` only: for whoever has RESERVATION_REFINEMENT.
    Stack,
    /// `role` and, for a dynamic one, `reservation`: for whoever has it not.
    Single,
    /// Both, as the operator endpoints show them. A refined reservation has the stack only.
    Both,
}

/// Writes resources, each as allocated to `allocated` when that is given.
#[must_use]
pub fn encode(resources: &Resources, format: Format, allocated: Option<&str>) -> Vec<v1::Resource> {
    resources
        .iter()
        .map(|(key, value)| one(key, value, format, allocated))
        .collect()
}

/// Writes what is used or offered, as operators are shown it.
pub(crate) fn encode_by_role(by_role: &ByRole<'_>) -> Vec<v1::Resource> {
    by_role
        .iter()
        .flat_map(|(role, resources)| encode(resources, Format::Both, Some(role)))
        .collect()
}

/// Writes one resource.
#[must_use]
pub fn one(
    key: &ResourceKey,
    value: &Value,
    format: Format,
    allocated: Option<&str>,
) -> v1::Resource {
    let mut wire = v1::Resource {
        name: key.name.clone(),
        allocation_info: allocated.map(allocation),
        provider_id: key
            .provider_id
            .clone()
            .map(|value| ResourceProviderId { value }),
        disk: key.disk.as_deref().map(disk),
        revocable: key.revocable.then_some(RevocableInfo {}),
        shared: key.shared.then_some(SharedInfo {}),
        ..v1::Resource::default()
    };
    match value {
        Value::Scalar(milli) => {
            wire.r#type = Type::Scalar as i32;
            wire.scalar = Some(value::Scalar {
                value: milli.to_f64(),
            });
        }
        Value::Ranges(ranges) => {
            wire.r#type = Type::Ranges as i32;
            wire.ranges = Some(value::Ranges {
                range: ranges
                    .iter()
                    .map(|range| value::Range {
                        begin: range.begin,
                        end: range.end,
                    })
                    .collect(),
            });
        }
        Value::Set(set) => {
            wire.r#type = Type::Set as i32;
            wire.set = Some(value::Set {
                item: set.iter().map(str::to_owned).collect(),
            });
        }
    }
    if format != Format::Stack {
        write_single(key, format, &mut wire);
    }
    if format != Format::Single {
        wire.reservations = key.reservations.iter().map(stacked).collect();
    }
    wire
}

/// The allocation to a role.
#[must_use]
pub fn allocation(role: &str) -> AllocationInfo {
    AllocationInfo {
        role: Some(role.to_owned()),
    }
}

/// The id of an agent as a message.
#[must_use]
pub fn agent_id(id: &AgentId) -> v1::AgentId {
    v1::AgentId {
        value: id.to_string(),
    }
}

fn write_single(key: &ResourceKey, format: Format, wire: &mut v1::Resource) {
    let reservation = match key.reservations.as_slice() {
        [] => {
            wire.role = Some(regency_resources::role::DEFAULT.to_owned());
            return;
        }
        [only] => only,
        // The old form has no way to say it.
        _ if format == Format::Both => return,
        [.., last] => last,
    };
    wire.role = Some(reservation.role.clone());
    if reservation.kind == ReservationKind::Dynamic {
        wire.reservation = Some(ReservationInfo {
            principal: reservation.principal.clone(),
            labels: labels(&reservation.labels),
            ..ReservationInfo::default()
        });
    }
}

fn stacked(reservation: &Reservation) -> ReservationInfo {
    let kind = match reservation.kind {
        ReservationKind::Static => ReservationType::Static,
        ReservationKind::Dynamic => ReservationType::Dynamic,
    };
    ReservationInfo {
        r#type: Some(kind as i32),
        role: Some(reservation.role.clone()),
        principal: reservation.principal.clone(),
        labels: labels(&reservation.labels),
    }
}

fn labels(pairs: &[(String, Option<String>)]) -> Option<Labels> {
    (!pairs.is_empty()).then(|| Labels {
        labels: pairs
            .iter()
            .map(|(key, value)| Label {
                key: key.clone(),
                value: value.clone(),
            })
            .collect(),
    })
}

fn disk(disk: &DiskInfo) -> WireDisk {
    WireDisk {
        persistence: disk.persistence.as_ref().map(|persistence| Persistence {
            id: persistence.id.clone(),
            principal: persistence.principal.clone(),
        }),
        volume: disk.volume.as_ref().map(|volume| Volume {
            mode: match volume.mode {
                VolumeMode::ReadWrite => volume::Mode::Rw,
                VolumeMode::ReadOnly => volume::Mode::Ro,
            } as i32,
            container_path: volume.container_path.clone(),
            host_path: volume.host_path.clone(),
            ..Volume::default()
        }),
        source: disk.source.as_ref().map(|source| {
            let kind = match source.kind {
                DiskSourceKind::Path => SourceType::Path,
                DiskSourceKind::Mount => SourceType::Mount,
                DiskSourceKind::Block => SourceType::Block,
                DiskSourceKind::Raw => SourceType::Raw,
            };
            let root = source.root.clone();
            Source {
                r#type: kind as i32,
                path: (kind == SourceType::Path && root.is_some())
                    .then(|| Path { root: root.clone() }),
                mount: (kind == SourceType::Mount && root.is_some()).then_some(Mount { root }),
                vendor: source.vendor.clone(),
                id: source.id.clone(),
                metadata: labels(&source.metadata),
                profile: source.profile.clone(),
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regency_resources::Milli;

    fn json(reservations: Vec<Reservation>, format: Format) -> String {
        let key = ResourceKey {
            reservations,
            ..ResourceKey::new("cpus")
        };
        let value = Value::Scalar(Milli(1500));
        serde_json::to_string(&one(&key, &value, format, None)).expect("a resource is JSON")
    }

    #[test]
    fn an_unreserved_resource_names_the_default_role_only_in_the_old_format() {
        let plain = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1.5}"#;
        assert_eq!(json(vec![], Format::Stack), format!("{plain}}}"));
        for format in [Format::Single, Format::Both] {
            assert_eq!(json(vec![], format), format!(r#"{plain},"role":"*"}}"#));
        }
    }

    #[test]
    fn a_reservation_is_written_in_the_form_its_reader_knows() {
        let dynamic = || vec![Reservation::dynamic("eng", Some("ops".into()))];
        let plain = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1.5}"#;
        let old = r#""role":"eng","reservation":{"principal":"ops"}"#;
        let new = r#""reservations":[{"type":"DYNAMIC","role":"eng","principal":"ops"}]"#;
        assert_eq!(json(dynamic(), Format::Single), format!("{plain},{old}}}"));
        assert_eq!(json(dynamic(), Format::Stack), format!("{plain},{new}}}"));
        assert_eq!(
            json(dynamic(), Format::Both),
            format!("{plain},{old},{new}}}")
        );
    }

    #[test]
    fn a_refined_reservation_has_no_old_form_for_operators() {
        let refined = vec![
            Reservation::fixed("eng"),
            Reservation::dynamic("eng/web", None),
        ];
        let text = json(refined, Format::Both);
        assert!(
            !text.contains(r#""role":"eng/web","reservation""#),
            "{text}"
        );
        assert!(
            text.contains(
                r#"[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"eng/web"}]"#
            ),
            "{text}"
        );
    }
}
