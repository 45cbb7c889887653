//! `/roles`.

use std::collections::BTreeMap;

use regency_resources::Quantities;
use regency_state::model::Quota;
use serde::Serialize;

use super::resources::Amounts;
use crate::query::View;
use crate::query::role::{self, RoleTotals};

#[derive(Serialize)]
struct RoleJson<'a> {
    name: &'a str,
    weight: f64,
    quota: QuotaJson<'a>,
    /// Allocated and offered together.
    resources: Amounts,
    allocated: Amounts,
    offered: Amounts,
    reserved: Amounts,
    frameworks: Vec<&'a str>,
}

#[derive(Serialize)]
struct QuotaJson<'a> {
    role: &'a str,
    guarantee: Amounts,
    limit: BTreeMap<String, f64>,
    consumed: Amounts,
}

impl<'a> RoleJson<'a> {
    fn new(name: &'a str, totals: RoleTotals<'a>, weight: f64, quota: Quota) -> Self {
        let mut resources = totals.allocated.clone();
        resources.add_all(&totals.offered);
        Self {
            name,
            weight,
            quota: QuotaJson {
                role: name,
                guarantee: Amounts(quota.guarantees),
                limit: quota
                    .limits
                    .into_iter()
                    .map(|(resource, limit)| (resource, limit.to_f64()))
                    .collect(),
                consumed: Amounts(consumed(&totals)),
            },
            resources: Amounts(resources),
            allocated: Amounts(totals.allocated),
            offered: Amounts(totals.offered),
            reserved: Amounts(totals.reserved),
            frameworks: totals.frameworks,
        }
    }
}

/// What counts against a quota: everything reserved, used or not, and what else is used.
fn consumed(totals: &RoleTotals<'_>) -> Quantities {
    let mut consumed = totals.reserved.clone();
    consumed.add_all(&totals.allocated_unreserved);
    consumed
}

/// The answer of `/roles`: every role that somebody subscribes to, uses, reserves, weighs or has a quota for, and
/// the roles above them.
pub fn roles<'a>(view: &View<'a>) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Roles<R> {
        roles: R,
    }
    let state = view.state;
    Roles {
        roles: role::totals(view)
            .into_iter()
            .map(|(name, totals)| {
                let weight = state.weight_of(name).to_f64();
                RoleJson::new(name, totals, weight, state.quota_of(name))
            })
            .collect::<Vec<_>>(),
    }
}
