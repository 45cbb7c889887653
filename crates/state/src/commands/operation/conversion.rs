//! What an operation turns into what, and who may ask for it (Mesos 1.11 operation validation).

use std::collections::BTreeSet;

use regency_resources::{
    Conversion, DiskSourceKind, Milli, Reservation, ReservationKind, Resource, Resources, Value,
    ValueKind, VolumeMode,
};
use regency_types::validate_id;

use crate::command::ResourceOperation;
use crate::model::Capabilities;

/// Who asks for an operation.
#[derive(Debug)]
pub(crate) enum Requester<'a> {
    /// A framework, with what was offered to one of its roles.
    Framework {
        /// That role.
        role: &'a str,
        /// The framework's principal.
        principal: Option<&'a str>,
        /// What it can deal with.
        capabilities: Capabilities,
    },
    /// An operator, with what is offered to nobody.
    Operator {
        /// Who it is, when that is known.
        principal: Option<&'a str>,
    },
}

impl Requester<'_> {
    fn principal(&self) -> Option<&str> {
        match self {
            Self::Framework { principal, .. } | Self::Operator { principal } => *principal,
        }
    }

    /// What somebody made must carry the name of who made it.
    fn check_principal(&self, what: &Resource, named: Option<&str>) -> Result<(), String> {
        match (self.principal(), named) {
            (Some(principal), None) => Err(format!(
                "Resource {what} has no principal, but is asked for by principal '{principal}'"
            )),
            (Some(principal), Some(named)) if principal != named => Err(format!(
                "Resource {what} has principal '{named}', but is asked for by principal \
                 '{principal}'"
            )),
            _ => Ok(()),
        }
    }
}

/// What the operation would turn into what on an agent that has `total`. Whether that is there to
/// be consumed is not asked.
///
/// # Errors
/// What is wrong with the operation, for the framework or operator.
pub(crate) fn conversion_of(
    operation: &ResourceOperation,
    by: &Requester<'_>,
    total: &Resources,
) -> Result<Conversion, String> {
    match operation {
        ResourceOperation::Reserve(resources) => reserve(resources, by),
        ResourceOperation::ReserveAnew { source, resources } => reserve_anew(source, resources, by),
        ResourceOperation::Unreserve(resources) => unreserve(resources),
        ResourceOperation::Create(volumes) => create(volumes, by, total),
        ResourceOperation::Destroy(volumes) => destroy(volumes, total),
        ResourceOperation::GrowVolume { volume, addition } => grow(volume, addition),
        ResourceOperation::ShrinkVolume { volume, subtract } => shrink(volume, *subtract),
    }
}

fn some(resources: &Resources) -> Result<&[Resource], String> {
    if resources.is_empty() {
        return Err("The operation names no resources".to_owned());
    }
    Ok(resources.entries())
}

fn reserve(resources: &Resources, by: &Requester<'_>) -> Result<Conversion, String> {
    for entry in some(resources)? {
        let key = &entry.key;
        let Some(top) = key
            .reservations
            .last()
            .filter(|_| key.is_dynamically_reserved())
        else {
            return Err(format!("Resource {entry} is not dynamically reserved"));
        };
        if key.is_persistent_volume() {
            return Err(format!(
                "A persistent volume {entry} must already be reserved"
            ));
        }
        if key.revocable {
            return Err(format!("Revocable resource {entry} cannot be reserved"));
        }
        if let Requester::Framework {
            role, capabilities, ..
        } = by
        {
            if top.role != *role {
                return Err(format!(
                    "A reserve operation was attempted for a resource with role '{}', but the \
                     resource was allocated to role '{role}'",
                    top.role
                ));
            }
            if key.reservations.len() > 1 && !capabilities.reservation_refinement {
                return Err(format!(
                    "Resource {entry} refines a reservation, which a framework without the \
                     RESERVATION_REFINEMENT capability cannot ask for"
                ));
            }
        }
        by.check_principal(entry, top.principal.as_deref())?;
    }
    Ok(Conversion {
        consumed: resources.pop_reservation(),
        converted: resources.clone(),
    })
}

/// The one stack of reservations that all of these have.
fn stack(resources: &Resources) -> Result<&[Reservation], String> {
    let entries = some(resources)?;
    let stack = entries[0].key.reservations.as_slice();
    if entries.iter().any(|e| e.key.reservations != stack) {
        return Err(format!("{resources} are not all reserved in the same way"));
    }
    Ok(stack)
}

/// From one stack of reservations to another: what they have in common at the bottom stays.
fn reserve_anew(
    source: &Resources,
    resources: &Resources,
    by: &Requester<'_>,
) -> Result<Conversion, String> {
    if matches!(by, Requester::Framework { .. }) {
        return Err("'source' of a RESERVE operation is for operators only".to_owned());
    }
    let (before, after) = (stack(source)?, stack(resources)?);
    if after.is_empty() {
        return Err(format!("{resources} are not reserved"));
    }
    let common = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    for reservation in before[common..].iter().chain(&after[common..]) {
        if reservation.kind != ReservationKind::Dynamic {
            return Err(format!(
                "The static reservation for role '{}' cannot be made or taken away",
                reservation.role
            ));
        }
    }
    let kept = |e: &Resource| e.key.is_persistent_volume() || e.key.revocable;
    if let Some(entry) = source.entries().iter().find(|e| kept(e)) {
        return Err(format!(
            "Resource {entry} is a persistent volume or revocable, and cannot be reserved anew"
        ));
    }
    if source.to_unreserved() != resources.to_unreserved() {
        return Err(format!(
            "'source' {source} and 'resources' {resources} are not of the same amounts"
        ));
    }
    for reservation in &after[common..] {
        by.check_principal(&resources.entries()[0], reservation.principal.as_deref())?;
    }
    Ok(Conversion {
        consumed: source.clone(),
        converted: resources.clone(),
    })
}

fn unreserve(resources: &Resources) -> Result<Conversion, String> {
    for entry in some(resources)? {
        if !entry.key.is_dynamically_reserved() {
            return Err(format!("Resource {entry} is not dynamically reserved"));
        }
        if entry.key.is_persistent_volume() {
            return Err(format!(
                "A dynamically reserved persistent volume {entry} cannot be unreserved directly. \
                 Please destroy the persistent volume first then unreserve the resource"
            ));
        }
    }
    Ok(Conversion {
        consumed: resources.clone(),
        converted: resources.pop_reservation(),
    })
}

/// Persistence ids are unique per role on an agent.
fn identity(entry: &Resource) -> Option<(Option<&str>, &str)> {
    let persistence = entry.key.disk.as_ref()?.persistence.as_ref()?;
    Some((entry.key.reserved_role(), &persistence.id))
}

/// Whether no two volumes have the same identity.
pub(crate) fn are_unique(resources: &Resources) -> bool {
    let mut seen = BTreeSet::new();
    let mut volumes = resources.entries().iter().filter(|e| identity(e).is_some());
    volumes.all(|entry| entry.copies == 1 && identity(entry).is_some_and(|id| seen.insert(id)))
}

fn create(
    volumes: &Resources,
    by: &Requester<'_>,
    total: &Resources,
) -> Result<Conversion, String> {
    let mut taken: BTreeSet<(Option<&str>, &str)> =
        total.entries().iter().filter_map(identity).collect();
    for entry in some(volumes)? {
        check_new_volume(entry, by)?;
        let fresh = identity(entry).is_some_and(|id| taken.insert(id));
        if !fresh || entry.copies > 1 {
            return Err(format!("Persistence ID of volume {entry} is not unique"));
        }
    }
    Ok(Conversion {
        consumed: without_volumes(volumes),
        converted: volumes.clone(),
    })
}

fn check_new_volume(entry: &Resource, by: &Requester<'_>) -> Result<(), String> {
    let key = &entry.key;
    let Some(disk) = key.disk.as_ref() else {
        return Err(format!("Resource {entry} does not have DiskInfo"));
    };
    let Some(persistence) = &disk.persistence else {
        return Err(format!("Resource {entry} does not have 'disk.persistence'"));
    };
    let Some(volume) = &disk.volume else {
        return Err(format!(
            "Expecting 'disk.volume' to be set for persistent volume {entry}"
        ));
    };
    validate_id(&persistence.id)
        .map_err(|error| format!("Persistence ID of volume {entry} is invalid: {error}"))?;
    if key.reservations.is_empty() {
        return Err(format!(
            "Persistent volume {entry} cannot be created from unreserved resources"
        ));
    }
    if key.revocable {
        return Err(format!(
            "Persistent volume {entry} cannot be created from revocable resources"
        ));
    }
    if let Requester::Framework { capabilities, .. } = by
        && key.shared
        && !capabilities.shared_resources
    {
        return Err(format!(
            "Shared persistent volume {entry} cannot be created by a framework without the \
             SHARED_RESOURCES capability"
        ));
    }
    if volume.mode != VolumeMode::ReadWrite {
        return Err(format!(
            "Persistent volume {entry} must be read-write ('RW')"
        ));
    }
    if volume.host_path.is_some() {
        return Err(format!(
            "Expecting 'host_path' to be unset for persistent volume {entry}"
        ));
    }
    let path = volume.container_path.as_str();
    if path.is_empty() || path.split('/').any(|part| part == "..") {
        return Err(format!(
            "'container_path' of persistent volume {entry} is empty or contains '..'"
        ));
    }
    if let Some(source) = &disk.source
        && !matches!(source.kind, DiskSourceKind::Path | DiskSourceKind::Mount)
    {
        return Err(format!(
            "Persistent volume {entry} can only be created from disks of type PATH or MOUNT"
        ));
    }
    if entry.value.kind() != ValueKind::Scalar {
        return Err(format!("Persistent volume {entry} is no amount of disk"));
    }
    by.check_principal(entry, persistence.principal.as_deref())
}

fn destroy(volumes: &Resources, total: &Resources) -> Result<Conversion, String> {
    for entry in some(volumes)? {
        if !entry.key.is_persistent_volume() {
            return Err(format!("Resource {entry} is not a persistent volume"));
        }
        if !total.contains(&Resources::from(vec![entry.clone()])) {
            return Err(format!("Persistent volume {entry} is not there"));
        }
    }
    Ok(Conversion {
        consumed: volumes.clone(),
        converted: without_volumes(volumes),
    })
}

fn without_volumes(volumes: &Resources) -> Resources {
    volumes
        .iter()
        .map(|(key, value)| (key.without_volume(), value.clone()))
        .collect()
}

/// A single volume that can change its size, and that size.
fn resizable(volume: &Resources) -> Result<(&Resource, Milli), String> {
    let entry = volume
        .single()
        .filter(|entry| entry.key.is_persistent_volume())
        .ok_or_else(|| format!("{volume} is not a single persistent volume"))?;
    if entry.key.shared {
        return Err(format!(
            "Shared persistent volume {entry} cannot change its size"
        ));
    }
    let source = entry.key.disk.as_ref().and_then(|d| d.source.as_ref());
    if source.is_some_and(|s| s.kind != DiskSourceKind::Path) {
        return Err(format!(
            "Persistent volume {entry} cannot change its size: its disk is indivisible"
        ));
    }
    match entry.value.as_scalar() {
        Some(size) => Ok((entry, size)),
        None => Err(format!("Persistent volume {entry} is no amount of disk")),
    }
}

fn grow(volume: &Resources, addition: &Resources) -> Result<Conversion, String> {
    let (entry, size) = resizable(volume)?;
    let added = addition
        .single()
        .filter(|added| added.key == entry.key.without_volume())
        .and_then(|added| added.value.as_scalar())
        .ok_or_else(|| format!("{addition} is not of the disk that volume {entry} is made of"))?;
    let sum = size
        .0
        .checked_add(added.0)
        .ok_or_else(|| format!("Persistent volume {entry} would be too large"))?;
    Ok(Conversion {
        consumed: volume + addition,
        converted: of_size(entry, Milli(sum)),
    })
}

fn shrink(volume: &Resources, subtract: Milli) -> Result<Conversion, String> {
    let (entry, size) = resizable(volume)?;
    if subtract.0 <= 0 || subtract.0 >= size.0 {
        return Err(format!(
            "{subtract} cannot be taken from persistent volume {entry}: it is not between 0 and \
             its size"
        ));
    }
    let mut converted = of_size(entry, Milli(size.0 - subtract.0));
    converted.insert(entry.key.without_volume(), Value::Scalar(subtract));
    Ok(Conversion {
        consumed: volume.clone(),
        converted,
    })
}

fn of_size(volume: &Resource, size: Milli) -> Resources {
    std::iter::once((volume.key.clone(), Value::Scalar(size))).collect()
}
