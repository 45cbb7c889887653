//! `/roles`.

use regency_resources::Quantities;
use serde::Serialize;

use super::Empty;
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
    guarantee: Empty,
    limit: Empty,
    consumed: Amounts,
}

impl<'a> RoleJson<'a> {
    fn new(name: &'a str, totals: RoleTotals<'a>, weight: f64) -> Self {
        let mut resources = totals.allocated.clone();
        resources.add_all(&totals.offered);
        Self {
            name,
            weight,
            quota: QuotaJson {
                role: name,
                guarantee: Empty {},
                limit: Empty {},
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

/// The answer of `/roles`: every role that somebody subscribes to, uses, reserves or weighs, and
/// the roles above them.
pub fn roles<'a>(view: &View<'a>) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Roles<R> {
        roles: R,
    }
    let weights = &view.identity.weights;
    Roles {
        roles: role::totals(view)
            .into_iter()
            .map(|(name, totals)| {
                let weight = weights.get(name).copied().unwrap_or(role::WEIGHT_DEFAULT);
                RoleJson::new(name, totals, weight)
            })
            .collect::<Vec<_>>(),
    }
}
