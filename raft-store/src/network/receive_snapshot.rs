//! Receiving a snapshot from the leader.

use openraft::async_runtime::watch::WatchReceiver as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use tonic::{Response, Status, Streaming};

use super::server::{RaftService, malformed, no_room, not_stored, stopped};
use crate::convert::{self, ConvertError};
use crate::snapshot::{Announced, ReceiveError, Steps};
use crate::types::SnapshotMeta;

impl RaftService {
    /// How much of a snapshot is here already.
    pub(super) async fn offer_offset(
        &self,
        question: proto::SnapshotOffsetRequest,
    ) -> Result<Response<proto::SnapshotOffsetResponse>, Status> {
        self.admit(question.envelope.as_ref()).await?;
        let announced = Announced {
            last: question
                .last_log_id
                .as_ref()
                .map(convert::log_id_from_proto),
            bytes: question.file_bytes,
            digest: digest(&question.file_digest)?,
        };
        let snapshots = self.snapshots.clone();
        let look = move || Ok(snapshots.received_bytes(&announced)?);
        let offset = blocking(look).await?;
        Ok(Response::new(proto::SnapshotOffsetResponse { offset }))
    }

    /// Takes a snapshot and installs it.
    pub(super) async fn receive_snapshot(
        &self,
        mut incoming: Streaming<proto::SnapshotMessage>,
    ) -> Result<Response<proto::SnapshotResponse>, Status> {
        use proto::snapshot_message::Message;
        let head = match incoming.message().await?.and_then(|first| first.message) {
            Some(Message::Head(head)) => head,
            Some(Message::Chunk(_)) | None => {
                return Err(malformed(&ConvertError::Missing("head")));
            }
        };
        let raft = self.admit(head.envelope.as_ref()).await?;
        let vote = head
            .vote
            .as_ref()
            .map(convert::vote_from_proto)
            .ok_or_else(|| malformed(&ConvertError::Missing("vote")))?;
        let own_vote = raft.server_metrics().borrow_watched().vote;
        if own_vote > vote {
            // It leads no more; it must not stop a transfer of the one that does.
            return Ok(Response::new(proto::SnapshotResponse {
                vote: Some(convert::vote_to_proto(&own_vote)),
            }));
        }
        let membership = head
            .last_membership
            .as_ref()
            .ok_or(ConvertError::Missing("last_membership"))
            .and_then(convert::stored_membership_from_proto)
            .map_err(|e| malformed(&e))?;
        let meta = SnapshotMeta {
            last_log_id: head.last_log_id.as_ref().map(convert::log_id_from_proto),
            last_membership: membership,
        };
        let announced = Announced {
            last: meta.last_log_id,
            bytes: head.file_bytes,
            digest: digest(&head.file_digest)?,
        };
        if self.space.is_full() {
            return Err(no_room());
        }

        let snapshots = self.snapshots.clone();
        let mut receiving = blocking(move || snapshots.receive(announced, head.offset)).await?;
        let mut steps = Steps::from(receiving.progress());
        tracing::info!(
            bytes = head.file_bytes,
            offset = head.offset,
            "receives a snapshot"
        );
        while let Some(message) = incoming.message().await? {
            let Some(Message::Chunk(chunk)) = message.message else {
                return Err(malformed(&ConvertError::Missing("chunk")));
            };
            if crc32fast::hash(&chunk.data) != chunk.crc32 {
                return Err(Status::data_loss("a piece of the snapshot is damaged"));
            }
            receiving = blocking(move || {
                receiving.write(&chunk.data)?;
                Ok(receiving)
            })
            .await?;
            self.contact.heard();
            if let Some(percent) = steps.next(receiving.progress()) {
                tracing::info!(percent, "a snapshot is being received");
            }
        }
        let snapshot = blocking(move || receiving.finish()).await?;
        tracing::info!(bytes = snapshot.bytes(), "received a snapshot");
        let response = raft
            .install_full_snapshot(
                vote,
                openraft::Snapshot {
                    meta,
                    snapshot: snapshot.clone(),
                },
            )
            .await
            .map_err(stopped)?;
        // Nothing is left of it unless it was not needed.
        let snapshots = self.snapshots.clone();
        let discard = move || {
            snapshots.discard(&snapshot);
            Ok(())
        };
        blocking(discard).await?;
        Ok(Response::new(proto::SnapshotResponse {
            vote: Some(convert::vote_to_proto(&response.vote)),
        }))
    }
}

/// `None` from programs that do not tell.
fn digest(bytes: &[u8]) -> Result<Option<u128>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| {
        Status::invalid_argument(format!("'file_digest' has {} bytes, not 16", bytes.len()))
    })?;
    Ok(Some(u128::from_be_bytes(bytes)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReceiveError> + Send + 'static,
) -> Result<T, Status> {
    let done = regency_runtime::spawn_blocking(work).await;
    done.map_err(|error| Status::internal(error.to_string()))?
        .map_err(refusal)
}

/// What to tell the sender. Who sends something that is wrong, or finds no room, has to wait; after
/// the rest it may go on at once.
fn refusal(error: ReceiveError) -> Status {
    let message = error.to_string();
    match error {
        ReceiveError::File(error) => not_stored(error.into()),
        ReceiveError::NoRoom { .. } => Status::resource_exhausted(message),
        ReceiveError::TooLong { .. } | ReceiveError::Damaged(_) => {
            tracing::warn!("{message}");
            Status::data_loss(message)
        }
        ReceiveError::Gap { .. } | ReceiveError::TakenOver | ReceiveError::TooShort { .. } => {
            Status::aborted(message)
        }
    }
}
