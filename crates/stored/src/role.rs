//! What was decided about roles.

use std::collections::BTreeMap;

use regency_resources::{Milli, Quantities};
use regency_state::model::{Quota, RoleConfig};

use crate::StoredError;
use crate::field::Stored;
use crate::proto;

fn amount(name: &str, amount: Milli) -> proto::Amount {
    proto::Amount {
        name: name.to_owned(),
        amount: amount.0,
    }
}

pub(crate) fn store_guarantees(guarantees: &Quantities) -> Vec<proto::Amount> {
    let all = guarantees.iter();
    all.map(|(name, milli)| amount(name, milli)).collect()
}

pub(crate) fn store_limits(limits: &BTreeMap<String, Milli>) -> Vec<proto::Amount> {
    let all = limits.iter();
    all.map(|(name, milli)| amount(name, *milli)).collect()
}

/// Of nothing nothing is guaranteed, so amounts are above zero.
pub(crate) fn load_guarantees(
    amounts: Vec<proto::Amount>,
    field: &'static str,
) -> Result<Quantities, StoredError> {
    if let Some(wrong) = amounts.iter().find(|a| a.amount <= 0) {
        let what = format!("{} is no amount", wrong.amount);
        return Err(StoredError::malformed(field, what));
    }
    Ok(load_limits(amounts, field)?.into())
}

pub(crate) fn load_limits(
    amounts: Vec<proto::Amount>,
    field: &'static str,
) -> Result<BTreeMap<String, Milli>, StoredError> {
    if !amounts.is_sorted_by(|a, b| a.name < b.name) {
        return Err(StoredError::malformed(
            field,
            "its names are not in ascending order",
        ));
    }
    let amounts = amounts.into_iter();
    Ok(amounts.map(|a| (a.name, Milli(a.amount))).collect())
}

impl Stored for RoleConfig {
    type Message = proto::RoleConfig;

    fn store(&self) -> proto::RoleConfig {
        let Self {
            role,
            weight,
            quota,
        } = self;
        proto::RoleConfig {
            role: role.clone(),
            weight: weight.map(|weight| weight.0),
            guarantees: store_guarantees(&quota.guarantees),
            limits: store_limits(&quota.limits),
        }
    }

    fn load(message: proto::RoleConfig) -> Result<Self, StoredError> {
        Ok(Self {
            role: message.role,
            weight: message.weight.map(Milli),
            quota: Quota {
                guarantees: load_guarantees(message.guarantees, "RoleConfig.guarantees")?,
                limits: load_limits(message.limits, "RoleConfig.limits")?,
            },
        })
    }
}
