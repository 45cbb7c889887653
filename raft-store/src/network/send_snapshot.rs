//! Sending a snapshot to a member that is too far behind for the log.

#![allow(
    clippy::result_large_err,
    reason = "the error is the library's, and moved no further than its caller"
)]

use std::future::Future;
use std::time::Duration;

use futures::FutureExt as _;
use openraft::errors::{NetworkError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCTypes;
use openraft::raft::SnapshotResponse;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_rpc::status::describe;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::client::{PeerNetwork, RpcError, Snapshot};
use super::peers::Purpose;
use crate::convert;
use crate::metrics::{self, Direction, TransferEvent};
use crate::snapshot::{SnapshotFile, Steps, Transfer};
use crate::types::{TypeConfig, Vote};

/// How long a snapshot may make no progress, its installation included.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the question where to go on may take.
const OFFSET_TIMEOUT: Duration = Duration::from_secs(5);
/// Size of the pieces of a snapshot.
const CHUNK_BYTES: usize = 1024 * 1024;

type Sent = Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>>;

impl PeerNetwork {
    /// Sends a snapshot, from where an earlier attempt ended. The library repeats what fails.
    pub(super) async fn send_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed>,
    ) -> Sent {
        let transfer = match self.transfer.take() {
            Some(transfer) if transfer.is_of(&snapshot.snapshot) => transfer,
            other => {
                if other.is_some() {
                    tracing::warn!(
                        peer = %self.target.node,
                        "the snapshot that was being sent is outdated; a newer one is sent instead"
                    );
                }
                drop(other);
                let held = (snapshot.meta.clone(), snapshot.snapshot.clone());
                self.outgoing.hold(self.target.node, held)
            }
        };
        let mut begun = false;
        let sent = tokio::select! {
            sent = self.attempt(vote, &snapshot, &transfer, &mut begun) => sent,
            closed = cancel => Err(StreamingError::Closed(closed)),
        };
        match &sent {
            Ok(_) => {
                let bytes = snapshot.snapshot.bytes();
                tracing::info!(peer = %self.target.node, bytes, "a snapshot was sent");
                metrics::snapshot_transfer(Direction::Send, TransferEvent::Finished);
            }
            Err(error) => {
                // A member that cannot be reached is asked again and again; that is no transfer yet.
                if begun {
                    tracing::warn!(peer = %self.target.node, %error, "a snapshot was not sent to its end");
                    metrics::snapshot_transfer(Direction::Send, TransferEvent::Failed);
                }
                transfer.interrupted();
                self.transfer = Some(transfer);
            }
        }
        sent
    }

    /// One attempt; sets `begun` when the other side is there and something is sent.
    async fn attempt(
        &self,
        vote: Vote,
        snapshot: &Snapshot,
        transfer: &Transfer,
        begun: &mut bool,
    ) -> Sent {
        let file = &snapshot.snapshot;
        let digest = self.digest(file, transfer).await?;
        let digest: bytes::Bytes = digest.to_be_bytes().to_vec().into();
        let last_log_id = snapshot.meta.last_log_id.as_ref();
        let last_log_id = last_log_id.map(convert::log_id_to_proto);
        let offset = self
            .offset(proto::SnapshotOffsetRequest {
                envelope: Some(self.envelope()?),
                last_log_id,
                file_bytes: file.bytes(),
                file_digest: digest.clone(),
            })
            .await?
            .min(file.bytes());
        let head = proto::SnapshotHead {
            envelope: Some(self.envelope()?),
            vote: Some(convert::vote_to_proto(&vote)),
            last_log_id,
            last_membership: Some(convert::stored_membership_to_proto(
                &snapshot.meta.last_membership,
            )),
            file_bytes: file.bytes(),
            file_digest: digest,
            offset,
        };
        tracing::info!(
            peer = %self.target.node,
            bytes = file.bytes(),
            offset,
            "{}",
            if offset == 0 { "sends a snapshot" } else { "goes on sending a snapshot" }
        );
        metrics::snapshot_transfer(Direction::Send, TransferEvent::begun(offset));
        *begun = true;
        let mut client = self.client(Purpose::Snapshot)?;
        let (outgoing, body) = mpsc::channel(2);
        let send = send(outgoing, head, file, transfer, self.target.node);
        let call = client.install_snapshot(ReceiverStream::new(body));
        tokio::pin!(call, send);
        let mut sending = true;
        loop {
            tokio::select! {
                sent = &mut send, if sending => {
                    sending = false;
                    if let Err(error) = sent {
                        return Err(StreamingError::Network(NetworkError::new(&error)));
                    }
                }
                response = &mut call => {
                    let response = response.map_err(|status| {
                        if status.code() == Code::DataLoss {
                            // It may be this side's disk.
                            file.forget_digest();
                        }
                        self.failed(&status)
                    })?;
                    let response = response.into_inner();
                    let vote = response.vote.as_ref().map(convert::vote_from_proto);
                    return vote.map(SnapshotResponse::new).ok_or_else(|| {
                        StreamingError::Network(NetworkError::from_string("the answer has no vote"))
                    });
                }
                () = tokio::time::sleep(PATIENCE), if !sending => {
                    self.peers.timed_out(&self.address, Purpose::Snapshot);
                    return Err(self.timeout(RPCTypes::InstallSnapshot, PATIENCE).into());
                }
            }
        }
    }

    /// What is damaged here is not sent: the other side could only refuse it, again and again.
    async fn digest(&self, file: &SnapshotFile, transfer: &Transfer) -> Result<u128, RpcError> {
        let read = {
            let file = file.clone();
            regency_runtime::spawn_blocking(move || file.digest()).await
        };
        match read {
            Ok(Ok(digest)) => Ok(digest),
            Ok(Err(error)) => {
                if transfer.is_first_complaint() {
                    tracing::error!(
                        peer = %self.target.node,
                        %error,
                        "this master cannot send its snapshot; the member gets the next one"
                    );
                }
                Err(Unreachable::from_string(error.to_string()).into())
            }
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    /// Where the other side wants to go on.
    async fn offset(&self, question: proto::SnapshotOffsetRequest) -> Result<u64, RpcError> {
        let mut client = self.client(Purpose::Snapshot)?;
        match tokio::time::timeout(OFFSET_TIMEOUT, client.snapshot_offset(question)).await {
            Ok(Ok(answer)) => {
                self.peers.answered(&self.address, Purpose::Snapshot);
                Ok(answer.into_inner().offset)
            }
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                tracing::debug!(
                    why = describe(&status),
                    "an older program cannot go on with a transfer"
                );
                Ok(0)
            }
            Ok(Err(status)) => Err(self.failed(&status)),
            Err(_) => {
                self.peers.timed_out(&self.address, Purpose::Snapshot);
                Err(self.timeout(RPCTypes::InstallSnapshot, OFFSET_TIMEOUT))
            }
        }
    }
}

/// Puts a snapshot on its way, piece by piece, as fast as the other side takes it.
async fn send(
    outgoing: mpsc::Sender<proto::SnapshotMessage>,
    head: proto::SnapshotHead,
    file: &SnapshotFile,
    transfer: &Transfer,
    peer: regency_types::NodeId,
) -> std::io::Result<()> {
    use proto::snapshot_message::Message;
    let send = |message: Message| {
        let message = proto::SnapshotMessage {
            message: Some(message),
        };
        tokio::time::timeout(PATIENCE, outgoing.send(message)).map(|sent| match sent {
            Ok(Ok(())) => Ok(true),
            // The other side ended the call: its answer says why.
            Ok(Err(_)) => Ok(false),
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
        })
    };
    let mut offset = head.offset;
    let mut steps = Steps::from(transfer.at(offset));
    if !send(Message::Head(head)).await? {
        return Ok(());
    }
    while offset < file.bytes() {
        let data = {
            let file = file.clone();
            regency_runtime::spawn_blocking(move || file.read_at(offset, CHUNK_BYTES)).await??
        };
        let bytes = data.len() as u64;
        let chunk = proto::SnapshotChunk {
            crc32: crc32fast::hash(&data),
            data,
        };
        if !send(Message::Chunk(chunk)).await? {
            return Ok(());
        }
        offset += bytes;
        metrics::snapshot_sent(bytes);
        if let Some(percent) = steps.next(transfer.at(offset)) {
            tracing::info!(%peer, percent, "a snapshot is on its way");
        }
    }
    Ok(())
}
