//! GET_ROLES and GET_WEIGHTS.

use regency_resources::Quantities;
use regency_wire::v1::master::response::{GetRoles, GetWeights};
use regency_wire::v1::{FrameworkId, Resource, Role, WeightInfo};

use super::quota::scalars;
use crate::query::View;
use crate::query::role::totals;

/// Every role that is known.
pub(super) fn get(view: &View<'_>) -> GetRoles {
    GetRoles {
        roles: totals(view)
            .into_iter()
            .map(|(name, totals)| {
                let mut resources = totals.allocated;
                resources.add_all(&totals.offered);
                Role {
                    name: name.to_owned(),
                    weight: view.state.weight_of(name).to_f64(),
                    frameworks: totals
                        .frameworks
                        .iter()
                        .map(|id| FrameworkId {
                            value: (*id).to_owned(),
                        })
                        .collect(),
                    resources: without_ports(&resources),
                }
            })
            .collect(),
    }
}

/// Amounts as scalars. Ports are counted in `/roles` only: here they would pass for a scalar.
fn without_ports(amounts: &Quantities) -> Vec<Resource> {
    let mut scalars = scalars(amounts);
    scalars.retain(|resource| resource.name != "ports");
    scalars
}

/// The weights that were given; `None` when none was, which Mesos leaves out.
pub(super) fn weights(view: &View<'_>) -> Option<GetWeights> {
    let configs = view.state.role_configs();
    let weight_infos: Vec<WeightInfo> = configs
        .filter_map(|config| {
            Some(WeightInfo {
                role: Some(config.role.clone()),
                weight: config.weight?.to_f64(),
            })
        })
        .collect();
    (!weight_infos.is_empty()).then_some(GetWeights { weight_infos })
}
