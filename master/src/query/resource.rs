//! Resources as the operator endpoints show them; the encoding itself is `regency-wire`'s.

use regency_resources::Resources;
use regency_wire::resources::{ResourceFormat, to_wire};
use regency_wire::v1;
use regency_wire::v1::resource::AllocationInfo;

use super::usage::ByRole;

/// Resources with both ways to write a reservation.
pub(crate) fn encode(resources: &Resources) -> Vec<v1::Resource> {
    to_wire(resources, ResourceFormat::Endpoint, None)
}

/// What is used or offered, each resource with the role it is allocated to.
pub(crate) fn encode_by_role(by_role: &ByRole<'_>) -> Vec<v1::Resource> {
    by_role
        .iter()
        .flat_map(|(role, part)| to_wire(part, ResourceFormat::Endpoint, Some(role)))
        .collect()
}

/// The allocation to a role.
pub(crate) fn allocation(role: &str) -> AllocationInfo {
    AllocationInfo {
        role: Some(role.to_owned()),
    }
}
