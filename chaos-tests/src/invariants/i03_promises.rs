//! I3: on each agent, used and offered never exceed the total. The audit of the state, which also
//! looks at I1, I2, I6, I14 and I18 within one state.

use super::{Broken, Checked, Entry};

pub(super) fn check(entry: &Entry<'_>) -> Checked {
    entry.step.after.check_invariants().map_err(|violation| {
        let named = ["I1 ", "I2 ", "I3 ", "I6 ", "I14 ", "I18 "];
        let named = named.into_iter().find(|n| violation.rule.starts_with(n));
        Broken::new(named.map_or("I3", str::trim_end), violation.to_string())
    })
}
