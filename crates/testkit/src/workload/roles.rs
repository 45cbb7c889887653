//! Operators decide quotas and weights, some of which cannot be or come at the wrong time.

use std::collections::BTreeMap;

use regency_resources::{Milli, Quantities};
use regency_state::model::Quota;
use regency_state::{
    Command, QuotaConfig, RemoveQuota, SetQuota, State, UpdateQuota, UpdateWeights,
};

use super::Workload;

/// `eng/web` can have a weight but no quota.
const ROLES: [&str; 3] = ["*", "eng", "eng/web"];

impl Workload {
    /// Quotas near what roles have, so that they matter.
    pub(super) fn operator_decides(&mut self, state: &State) -> Command {
        match self.rng.below(12) {
            0..=4 => Command::UpdateQuota(UpdateQuota {
                configs: self
                    .rng
                    .several(2, |rng| ROLES[rng.index(ROLES.len())].to_owned())
                    .into_iter()
                    .map(|role| QuotaConfig {
                        quota: self.quota(state),
                        role,
                    })
                    .collect(),
                force: self.rng.chance(40),
            }),
            5..=6 => Command::SetQuota(SetQuota {
                role: self.any_role(),
                guarantee: self.some_part(&state.capacity()).into(),
                force: self.rng.chance(30),
            }),
            7..=8 => Command::RemoveQuota(RemoveQuota {
                role: self.any_role(),
            }),
            _ => Command::UpdateWeights(UpdateWeights {
                weights: vec![(
                    self.any_role(),
                    Milli(self.rng.below(4).cast_signed() * 500),
                )],
                initial: self.rng.chance(20),
            }),
        }
    }

    fn any_role(&mut self) -> String {
        ROLES[self.rng.index(ROLES.len())].to_owned()
    }

    fn quota(&mut self, state: &State) -> Quota {
        let capacity = state.capacity();
        let limits = self.some_part(&capacity);
        let guarantees = if self.rng.chance(50) {
            self.some_part(&limits.clone().into())
        } else {
            BTreeMap::new()
        };
        Quota {
            guarantees: guarantees.into(),
            limits: if self.rng.chance(80) {
                limits
            } else {
                BTreeMap::new()
            },
        }
    }

    /// From nothing to half more than all of some scalars.
    fn some_part(&mut self, of: &Quantities) -> BTreeMap<String, Milli> {
        let mut part = BTreeMap::new();
        for (name, amount) in of.iter() {
            if self.rng.chance(60) {
                let percent = if self.rng.chance(30) {
                    0
                } else {
                    self.rng.below(150).cast_signed()
                };
                let part_of = (amount.0 / 100).saturating_mul(percent);
                part.insert(name.to_owned(), Milli(part_of));
            }
        }
        part
    }
}
