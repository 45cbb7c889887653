//! GET_QUOTA, which `/quota` shows as well.

use std::collections::BTreeMap;

use regency_resources::{Milli, Quantities};
use regency_state::model::RoleConfig;
use regency_wire::resources::quantities_to_wire;
use regency_wire::v1::Resource;
use regency_wire::v1::quota::{QuotaConfig, QuotaInfo, QuotaStatus};
use regency_wire::v1::value::{Scalar, Type};

use crate::query::View;

/// The quota of every role that has one, in the older and in the newer form.
#[must_use]
pub fn status(view: &View<'_>) -> QuotaStatus {
    let with_quota = |config: &&std::sync::Arc<RoleConfig>| !config.quota.is_empty();
    let mut status = QuotaStatus::default();
    for config in view.state.role_configs().filter(with_quota) {
        status.infos.push(QuotaInfo {
            role: Some(config.role.clone()),
            principal: None,
            guarantee: scalars(&config.quota.guarantees),
        });
        status.configs.push(QuotaConfig {
            role: config.role.clone(),
            guarantees: quantities_to_wire(&config.quota.guarantees),
            limits: limits(&config.quota.limits),
        });
    }
    status
}

fn limits(limits: &BTreeMap<String, Milli>) -> BTreeMap<String, Scalar> {
    let scalar = |(name, limit): (&String, &Milli)| {
        let value = limit.to_f64();
        (name.clone(), Scalar { value })
    };
    limits.iter().map(scalar).collect()
}

/// Amounts as scalar resources of nobody.
pub(super) fn scalars(amounts: &Quantities) -> Vec<Resource> {
    amounts
        .iter()
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
