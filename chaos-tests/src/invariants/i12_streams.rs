//! I12: each offer is sent at most once on a stream.

use std::collections::BTreeSet;

use regency_types::OfferId;

use super::{Broken, Checked};

pub(super) fn offer_heard(on_stream: &mut BTreeSet<OfferId>, offer: OfferId) -> Checked {
    if on_stream.insert(offer) {
        return Ok(());
    }
    let what = format!("offer {} was sent twice on one stream", offer.0);
    Err(Broken::new("I12", what))
}
