//! GET_ROLES and GET_WEIGHTS.

use regency_resources::Quantities;
use regency_wire::v1::master::response::{GetRoles, GetWeights};
use regency_wire::v1::value::{Scalar, Type};
use regency_wire::v1::{FrameworkId, Resource, Role, WeightInfo};

use crate::query::View;
use crate::query::role::{WEIGHT_DEFAULT, totals};

/// Every role that is known.
pub(super) fn get(view: &View<'_>) -> GetRoles {
    let weights = &view.identity.weights;
    GetRoles {
        roles: totals(view)
            .into_iter()
            .map(|(name, totals)| {
                let mut resources = totals.allocated;
                resources.add_all(&totals.offered);
                Role {
                    name: name.to_owned(),
                    weight: weights.get(name).copied().unwrap_or(WEIGHT_DEFAULT),
                    frameworks: totals
                        .frameworks
                        .iter()
                        .map(|id| FrameworkId {
                            value: (*id).to_owned(),
                        })
                        .collect(),
                    resources: scalars(&resources),
                }
            })
            .collect(),
    }
}

/// Amounts as scalars. Ports are counted in `/roles` only: here they would pass for a scalar.
fn scalars(amounts: &Quantities) -> Vec<Resource> {
    amounts
        .iter()
        .filter(|(name, _)| *name != "ports")
        .map(|(name, amount)| Resource {
            name: name.to_owned(),
            r#type: Type::Scalar as i32,
            scalar: Some(Scalar {
                value: amount.to_f64(),
            }),
            ..Resource::default()
        })
        .collect()
}

/// The weights that were given; `None` when none was, which Mesos leaves out.
pub(super) fn weights(view: &View<'_>) -> Option<GetWeights> {
    let weights = &view.identity.weights;
    (!weights.is_empty()).then(|| GetWeights {
        weight_infos: weights
            .iter()
            .map(|(role, weight)| WeightInfo {
                role: Some(role.clone()),
                weight: *weight,
            })
            .collect(),
    })
}
