//! I2: an offer is used at most once, and one that ended never comes back.

use regency_state::Command;
use regency_testkit::rules;

use super::{Broken, Checked, Entry, broken};

/// Offers that ended.
#[derive(Debug, Default)]
pub struct Offers(rules::Offers);

impl Offers {
    pub(super) fn follow(&mut self, entry: &Entry<'_>) -> Checked {
        expired(entry)?;
        self.0.follow(&entry.step).map_err(broken("I2"))
    }
}

/// No offer expires before its deadline.
fn expired(entry: &Entry<'_>) -> Checked {
    let Command::ExpireOffers(expire) = &entry.step.proposal.command else {
        return Ok(());
    };
    let (before, after) = (entry.step.before, entry.step.after);
    let early = expire.offers.iter().find(|id| {
        let deadline = before.offer(**id).map(|offer| offer.deadline);
        let is_due = deadline.is_none_or(|d| d.is_some_and(|d| d <= after.now()));
        after.offer(**id).is_none() && !is_due
    });
    match early {
        Some(id) => Err(Broken::new(
            "I2",
            format!("offer {} expired too early", id.0),
        )),
        None => Ok(()),
    }
}
