//! Entries as the library has them, and as they are stored.

use std::io;

use prost::Message as _;
use regency_rpc::proto::regency::raft::v1 as proto;

use crate::convert;
use crate::record::{Kind, Position, Record};
use crate::types::{EncodedProposal, Entry, EntryPayload, log_id};

pub(super) fn record_from_entry(entry: &Entry) -> Record {
    let at = Position {
        term: entry.log_id.leader_id.term,
        index: entry.log_id.index,
    };
    match &entry.payload {
        EntryPayload::Blank => Record::marker(Kind::Blank, at),
        EntryPayload::Normal(proposal) => Record {
            kind: Kind::Proposal,
            at,
            payload: proposal.bytes.clone(),
        },
        EntryPayload::Membership(membership) => Record {
            kind: Kind::Membership,
            at,
            payload: convert::membership_to_proto(membership)
                .encode_to_vec()
                .into(),
        },
    }
}

pub(super) fn entry_from_record(record: Record) -> io::Result<Entry> {
    let bad = |error: &dyn std::fmt::Display| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("entry {}: {error}", record.at.index),
        )
    };
    let payload = match record.kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Proposal => EntryPayload::Normal(EncodedProposal {
            bytes: record.payload.clone(),
        }),
        Kind::Membership => {
            let membership =
                proto::Membership::decode(record.payload.clone()).map_err(|e| bad(&e))?;
            EntryPayload::Membership(
                convert::membership_from_proto(&membership).map_err(|e| bad(&e))?,
            )
        }
        Kind::Vote | Kind::Committed | Kind::Purged => return Err(bad(&"it is no entry")),
    };
    Ok(Entry {
        log_id: log_id(record.at.term, record.at.index),
        payload,
    })
}
