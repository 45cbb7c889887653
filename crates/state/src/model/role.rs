//! What operators decided about roles.

use std::collections::BTreeMap;

use regency_resources::{Milli, Quantities, role};

use crate::bounds;

/// The least weight there is.
pub const WEIGHT_MIN: Milli = Milli(1);
/// The greatest weight there is.
pub const WEIGHT_MAX: Milli = Milli::INPUT_MAX;

/// The most that a quota may say of a resource, as in Mesos: 2^40 for what is counted in megabytes.
const fn amount_max(name: &str) -> Milli {
    match name.as_bytes() {
        b"mem" | b"disk" => Milli::INPUT_MAX,
        _ => Milli::from_units(1_000_000_000_000),
    }
}

/// What is kept for a top-level role and the roles below it, and what they may have at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// What is kept for them.
    pub guarantees: Quantities,
    /// The most they may have, by name, zero included; unlimited is what is not named.
    pub limits: BTreeMap<String, Milli>,
}

impl Quota {
    /// Whether this says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }

    /// The limits as text, `cpus:4; mem:1024`.
    #[must_use]
    pub fn limits_text(&self) -> String {
        let all: Vec<String> = self
            .limits
            .iter()
            .map(|(name, amount)| format!("{name}:{amount}"))
            .collect();
        all.join("; ")
    }

    /// Whether this can be the quota of the role.
    ///
    /// # Errors
    /// The first thing that is wrong, with field and value.
    pub fn check(&self, name: &str) -> Result<(), String> {
        role::validate(name).map_err(|error| format!("'role' is invalid: {error}"))?;
        if role::parent(name).is_some() {
            return Err(format!(
                "quota on nested role '{name}' is not supported, only on top-level roles"
            ));
        }
        let limits = self.limits.iter().map(|(n, a)| ("limits", n.as_str(), *a));
        let guarantees = self.guarantees.iter().map(|(n, a)| ("guarantees", n, a));
        for (field, resource, amount) in guarantees.chain(limits) {
            if resource.is_empty() {
                return Err(format!("'{field}' of role '{name}' names no resource"));
            }
            let max = amount_max(resource);
            if amount.0 < 0 || amount > max {
                return Err(format!(
                    "'{field}' of role '{name}' has '{resource}:{amount}', which is not within 0 \
                     and {max}"
                ));
            }
        }
        let n = self.guarantees.iter().count().max(self.limits.len());
        if n > bounds::QUOTA_RESOURCES_MAX {
            return Err(format!(
                "the quota of role '{name}' names {n} resources, more than {}",
                bounds::QUOTA_RESOURCES_MAX
            ));
        }
        for (resource, guarantee) in self.guarantees.iter() {
            if let Some(limit) = self.limits.get(resource)
                && guarantee > *limit
            {
                return Err(format!(
                    "guarantees '{}' of role '{name}' exceed its limits '{}'",
                    self.guarantees,
                    self.limits_text()
                ));
            }
        }
        Ok(())
    }
}

/// Whether a role can have this weight.
///
/// # Errors
/// What is wrong, with field and value.
pub fn check_weight(name: &str, weight: Milli) -> Result<(), String> {
    role::validate(name).map_err(|error| format!("'role' is invalid: {error}"))?;
    if weight < WEIGHT_MIN || weight > WEIGHT_MAX {
        return Err(format!(
            "'weight' of role '{name}' is {weight}, which is not within {WEIGHT_MIN} and \
             {WEIGHT_MAX}"
        ));
    }
    Ok(())
}

/// All that operators decided about one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleConfig {
    /// The role.
    pub role: String,
    /// Its weight among its siblings, when it was given one. Without it, it weighs 1.
    pub weight: Option<Milli>,
    /// Its quota; empty when it has none.
    pub quota: Quota,
}

impl RoleConfig {
    /// A role of which nothing was decided.
    #[must_use]
    pub fn new(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            weight: None,
            quota: Quota::default(),
        }
    }

    /// Whether nothing is left to be remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weight.is_none() && self.quota.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(guarantees: &[(&str, i64)], limits: &[(&str, i64)]) -> Quota {
        let amounts = |list: &[(&str, i64)]| -> BTreeMap<String, Milli> {
            list.iter()
                .map(|(name, units)| ((*name).to_owned(), Milli::from_units(*units)))
                .collect()
        };
        Quota {
            guarantees: amounts(guarantees).into(),
            limits: amounts(limits),
        }
    }

    #[test]
    fn quotas_that_mesos_refuses_are_refused() {
        let fine = quota(&[("cpus", 1)], &[("cpus", 1), ("mem", 0)]);
        assert_eq!(fine.check("eng"), Ok(()));
        assert_eq!(fine.check("*"), Ok(()));
        assert_eq!(quota(&[], &[("mem", 1 << 40)]).check("eng"), Ok(()));
        for (role, quota, named) in [
            ("eng/web", &fine, "nested role 'eng/web'"),
            ("", &fine, "'role'"),
            ("a b", &fine, "'a b'"),
            ("eng", &quota(&[("cpus", 2)], &[("cpus", 1)]), "'cpus:2'"),
            ("eng", &quota(&[], &[("cpus", -1)]), "'cpus:-1'"),
            ("eng", &quota(&[], &[("cpus", 1_000_000_000_001)]), "limits"),
            ("eng", &quota(&[("disk", (1 << 40) + 1)], &[]), "guarantees"),
            ("eng", &quota(&[("", 1)], &[]), "names no resource"),
        ] {
            let error = quota.check(role).expect_err(named);
            assert!(error.contains(named), "{named}: {error}");
        }
        let limits = (0..=bounds::QUOTA_RESOURCES_MAX)
            .map(|n| (format!("r{n}"), Milli(1)))
            .collect();
        let many = Quota {
            limits,
            ..Quota::default()
        };
        assert!(many.check("eng").is_err_and(|e| e.contains("more than")));
    }

    #[test]
    fn weights_are_above_zero() {
        for good in [WEIGHT_MIN, Milli(1500), WEIGHT_MAX] {
            assert_eq!(check_weight("eng/web", good), Ok(()));
        }
        for bad in [Milli(0), Milli(-1), Milli(WEIGHT_MAX.0 + 1)] {
            let error = check_weight("eng", bad).expect_err("no weight");
            assert!(error.contains(&bad.to_string()), "{error}");
        }
        assert!(check_weight("-a", WEIGHT_MIN).is_err());
    }
}
