//! What an offer holds, and what can be done with it, without taking messages apart.

use std::ops::RangeInclusive;

use regency_wire::v1::offer::{Operation, operation};
use regency_wire::v1::resource::disk_info::Persistence;
use regency_wire::v1::resource::{DiskInfo, ReservationInfo, reservation_info};
use regency_wire::v1::volume::Mode;
use regency_wire::v1::{Offer, OperationId, Resource, Volume, value};

/// Reads the resources of an offer.
///
/// ```
/// use regency_client::{OfferExt as _, scalar, v1::Offer};
///
/// let offer = Offer {
///     resources: vec![scalar("cpus", 1.5), regency_client::ports([31_000..=31_009])],
///     ..Offer::default()
/// };
/// assert_eq!(offer.cpus(), 1.5);
/// assert_eq!(offer.ports(), [31_000..=31_009]);
/// assert_eq!(offer.mem_mb(), 0.0);
/// ```
pub trait OfferExt {
    /// All that is offered.
    fn resources(&self) -> &[Resource];

    /// The amount of a resource, reserved or not; 0 where there is none. Resources that may be taken
    /// away at any moment do not count.
    fn amount(&self, name: &str) -> f64 {
        let of_name = |one: &&Resource| one.name == name && one.revocable.is_none();
        let of_name = self.resources().iter().filter(of_name);
        of_name
            .filter_map(|resource| resource.scalar.as_ref())
            .map(|scalar| scalar.value)
            .sum()
    }

    /// Processors.
    fn cpus(&self) -> f64 {
        self.amount("cpus")
    }

    /// Memory, in megabytes.
    fn mem_mb(&self) -> f64 {
        self.amount("mem")
    }

    /// Disk, in megabytes, volumes included.
    fn disk_mb(&self) -> f64 {
        self.amount("disk")
    }

    /// Graphics processors.
    fn gpus(&self) -> f64 {
        self.amount("gpus")
    }

    /// Ports, in ascending order.
    fn ports(&self) -> Vec<RangeInclusive<u64>> {
        let ports = self.resources().iter().filter(|one| one.name == "ports");
        let ranges = ports.filter_map(|one| one.ranges.as_ref());
        let mut ranges: Vec<_> = ranges
            .flat_map(|ranges| &ranges.range)
            .map(|range| range.begin..=range.end)
            .collect();
        ranges.sort_by_key(|range| *range.start());
        ranges
    }

    /// The persistent volumes, with the id of each.
    fn volumes(&self) -> Vec<(&str, &Resource)> {
        let volumes = self.resources().iter().filter_map(|one| {
            let persistence = one.disk.as_ref()?.persistence.as_ref()?;
            Some((persistence.id.as_str(), one))
        });
        volumes.collect()
    }
}

impl OfferExt for Offer {
    fn resources(&self) -> &[Resource] {
        &self.resources
    }
}

/// Ports, of the default role.
#[must_use]
pub fn ports(ranges: impl IntoIterator<Item = RangeInclusive<u64>>) -> Resource {
    let range = ranges.into_iter().map(|range| value::Range {
        begin: *range.start(),
        end: *range.end(),
    });
    Resource {
        name: "ports".to_owned(),
        r#type: value::Type::Ranges as i32,
        ranges: Some(value::Ranges {
            range: range.collect(),
        }),
        ..Resource::default()
    }
}

/// The resource, reserved for a role on top of the reservations that it has.
#[must_use]
pub fn reserved(
    mut resource: Resource,
    role: impl Into<String>,
    principal: Option<String>,
) -> Resource {
    resource.reservations.push(ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic as i32),
        role: Some(role.into()),
        principal,
        labels: None,
    });
    resource
}

/// Reserved disk as a persistent volume, which a task sees at `container_path` in its sandbox.
#[must_use]
pub fn volume(
    mut disk: Resource,
    id: impl Into<String>,
    container_path: impl Into<String>,
    principal: Option<String>,
) -> Resource {
    disk.disk = Some(DiskInfo {
        persistence: Some(Persistence {
            id: id.into(),
            principal,
        }),
        volume: Some(Volume {
            mode: Mode::Rw as i32,
            container_path: container_path.into(),
            ..Volume::default()
        }),
        ..DiskInfo::default()
    });
    disk
}

/// An operation that reserves resources, to be given to [`crate::Framework::accept`]. With an id its
/// outcome is told.
#[must_use]
pub fn reserve(resources: Vec<Resource>, id: Option<OperationId>) -> Operation {
    Operation {
        reserve: Some(operation::Reserve {
            resources,
            source: Vec::new(),
        }),
        ..of(operation::Type::Reserve, id)
    }
}

/// One that gives up reservations.
#[must_use]
pub fn unreserve(resources: Vec<Resource>, id: Option<OperationId>) -> Operation {
    Operation {
        unreserve: Some(operation::Unreserve { resources }),
        ..of(operation::Type::Unreserve, id)
    }
}

/// One that makes persistent volumes of reserved disk.
#[must_use]
pub fn create(volumes: Vec<Resource>, id: Option<OperationId>) -> Operation {
    Operation {
        create: Some(operation::Create { volumes }),
        ..of(operation::Type::Create, id)
    }
}

/// One that destroys volumes with all that is in them.
#[must_use]
pub fn destroy(volumes: Vec<Resource>, id: Option<OperationId>) -> Operation {
    Operation {
        destroy: Some(operation::Destroy { volumes }),
        ..of(operation::Type::Destroy, id)
    }
}

fn of(kind: operation::Type, id: Option<OperationId>) -> Operation {
    Operation {
        r#type: Some(kind as i32),
        id,
        ..Operation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar;

    #[test]
    fn amounts_of_one_name_add_up_and_revocable_ones_do_not_count() {
        let revocable = Resource {
            revocable: Some(regency_wire::v1::resource::RevocableInfo::default()),
            ..scalar("cpus", 8.0)
        };
        let offer = Offer {
            resources: vec![
                scalar("cpus", 1.0),
                reserved(scalar("cpus", 0.5), "eng", None),
                revocable,
                ports([31_005..=31_006]),
                ports([31_000..=31_001]),
            ],
            ..Offer::default()
        };
        assert_eq!(offer.cpus(), 1.5);
        assert_eq!(offer.ports(), [31_000..=31_001, 31_005..=31_006]);
        assert_eq!((offer.gpus(), offer.disk_mb()), (0.0, 0.0));
    }

    #[test]
    fn a_volume_is_found_by_its_id() {
        let disk = reserved(scalar("disk", 64.0), "eng", Some("p".into()));
        let made = volume(disk, "db", "data", Some("p".into()));
        let offer = Offer {
            resources: vec![made.clone()],
            ..Offer::default()
        };
        assert_eq!(offer.volumes(), [("db", &made)]);
        let operation = create(vec![made], None);
        assert_eq!(operation.r#type(), operation::Type::Create);
    }
}
