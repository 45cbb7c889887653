//! Looks at all masters all the time: who leads, and what their states are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use regency_client::Http;

use crate::history::{Digest, Leader};
use crate::record::Record;
use crate::status::{Status, leader};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// Never returns.
pub(super) async fn observe(record: Arc<Record>) {
    let http = Http::default();
    let mut known: BTreeSet<Digest> = BTreeSet::new();
    let mut last: Option<(Option<u64>, u64)> = None;
    loop {
        let statuses = Status::of_all(&http, record.addresses()).await;
        let now = match leader(&statuses) {
            Some(status) => (Some(status.node_id), status.term),
            None => (None, last.map_or(0, |(_, term)| term)),
        };
        if last != Some(now) {
            last = Some(now);
            let at_us = record.now_us();
            record.history().leaders.push(Leader {
                at_us,
                master: now.0,
                term: now.1,
            });
        }
        for status in statuses {
            if let Some(hash) = status.state_hash {
                let digest = Digest {
                    index: hash.index,
                    master: status.node_id,
                    digest: hash.digest,
                };
                if known.insert(digest.clone()) {
                    record.history().digests.push(digest);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
