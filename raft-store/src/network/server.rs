//! Answers other masters.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures::{Stream, StreamExt as _};
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver as _;
use regency_rpc::MESSAGE_BYTES_MAX;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_rpc::proto::regency::raft::v1::raft_server::{Raft as RaftRpc, RaftServer};
use regency_types::NodeId;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Gate;
use crate::audit::Audit;
use crate::convert::{self, ConvertError};
use crate::fast_election::Evidence;
use crate::leadership::{LeaderContact, Leadership};
use crate::roll_call::timing_to_proto;
use crate::snapshot::SnapshotStore;
use crate::space::{self, Space};
use crate::timing::Timing;
use crate::types::{Member, MemberInfo, Membership, Raft, StoredMembership};
use crate::vitals::Vitals;

/// Appends of one stream that are decoded ahead.
const APPENDS_AHEAD: usize = 16;

/// Where the consensus core will be once it runs. Calls before that are turned away.
pub(crate) type Slot = Arc<OnceLock<Raft>>;

/// The service.
#[derive(Clone)]
pub(crate) struct RaftService {
    pub(crate) gate: Arc<Gate>,
    pub(crate) raft: Slot,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) contact: Arc<LeaderContact>,
    pub(crate) evidence: Arc<Evidence>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) space: Arc<Space>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) level_max: u32,
    /// Changes when this master stops.
    pub(crate) stopping: watch::Receiver<bool>,
    /// What this master says of itself.
    pub(crate) own: MemberInfo,
    pub(crate) timing: Timing,
    pub(crate) version: String,
    /// This run of the process.
    pub(crate) process: u128,
}

impl RaftService {
    pub(crate) fn into_server(self) -> RaftServer<Self> {
        RaftServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(super) fn raft(&self) -> Result<&Raft, Status> {
        self.raft
            .get()
            .ok_or_else(|| Status::unavailable("this master is starting"))
    }

    pub(super) async fn admit(&self, envelope: Option<&proto::Envelope>) -> Result<&Raft, Status> {
        let raft = self.raft()?;
        let membership: Arc<StoredMembership> = raft
            .server_metrics()
            .borrow_watched()
            .membership_config
            .clone();
        let membership: &Membership = membership.membership();
        self.gate.admit(envelope, membership).await?;
        Ok(raft)
    }
}

pub(super) fn malformed(error: &ConvertError) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(super) fn stopped(error: impl std::fmt::Display) -> Status {
    Status::aborted(format!("this master stopped: {error}"))
}

/// Whether a message comes from the leader that this master follows.
fn follows(raft: &Raft, message: &proto::AppendRequest) -> bool {
    let server = raft.server_metrics();
    let vote = server.borrow_watched().vote;
    vote.committed && message.vote.as_ref().map(convert::vote_from_proto) == Some(vote)
}

pub(super) fn no_room() -> Status {
    Status::resource_exhausted("the disk of this master is full; it takes no entries for now")
}

pub(super) fn not_stored(error: std::io::Error) -> Status {
    if space::is_full(&error) {
        no_room()
    } else {
        Status::internal(error.to_string())
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl RaftRpc for RaftService {
    async fn identify(
        &self,
        _request: Request<proto::IdentifyRequest>,
    ) -> Result<Response<proto::IdentifyResponse>, Status> {
        let identity = self.gate.identity();
        let (last, committed) = match self.raft.get() {
            Some(raft) => {
                let metrics = raft.metrics();
                let metrics = metrics.borrow_watched();
                let committed = Arc::clone(&metrics.committed_membership_config);
                (metrics.last_log_index, committed)
            }
            None => (None, Arc::default()),
        };
        let members = committed.membership().nodes().map(|(node, info)| Member {
            node: NodeId(*node),
            incarnation: info.incarnation,
        });
        Ok(Response::new(proto::IdentifyResponse {
            member: Some(convert::member_to_proto(identity.member())),
            cluster_id: identity
                .cluster()
                .map(convert::cluster_to_proto)
                .unwrap_or_default(),
            raft_address: self.own.raft.clone(),
            http_address: self.own.http.clone(),
            agent_address: self.own.agent.clone(),
            hostname: self.own.hostname.clone(),
            last_log_index: last.unwrap_or(0),
            version: self.version.clone(),
            members: members.map(convert::member_to_proto).collect(),
            former_members: self.gate.former().to_proto(),
            process: self.process.to_be_bytes().to_vec().into(),
            timing: Some(timing_to_proto(&self.timing)),
            membership_index: committed.log_id().as_ref().map_or(0, |at| at.index),
            feature_level_max: self.level_max,
            disk_room: Some(convert::room_to_proto(&self.space.room())),
            serves: Some(self.leadership.borrow().is_leader() && self.vitals.may_serve()),
        }))
    }

    type AppendStream = Answers<proto::AppendResponse>;

    async fn append(
        &self,
        request: Request<Streaming<proto::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.raft()?;
        let mut incoming = request.into_inner();
        let service = self.clone();
        // The head of the answer must not wait for the first request: an idle leader has none.
        let answers = async_stream(move |answers| async move {
            let Some(mut message) = incoming.message().await? else {
                return Ok(());
            };
            let raft = service.admit(message.envelope.as_ref()).await?.clone();
            let (requests, decoded) = tokio::sync::mpsc::channel(APPENDS_AHEAD);
            let (space, contact) = (Arc::clone(&service.space), Arc::clone(&service.contact));
            let follower = raft.clone();
            let decode = async move {
                loop {
                    // Heartbeats need no room. Entries are refused here, before the core takes
                    // them: there they would stand in front of votes.
                    let full = space.is_full();
                    if full && follows(&follower, &message) {
                        // The answer may have to wait for what was taken before.
                        contact.heard();
                    }
                    if full && !message.entries.is_empty() {
                        let bytes = message
                            .entries
                            .iter()
                            .map(prost::Message::encoded_len)
                            .sum::<usize>();
                        if !space.takes(bytes as u64) {
                            return Err(no_room());
                        }
                    }
                    let request = convert::append_from_proto(message).map_err(|e| malformed(&e))?;
                    if requests.send(request).await.is_err() {
                        return Ok(());
                    }
                    match incoming.message().await? {
                        Some(next) => message = next,
                        None => return Ok::<(), Status>(()),
                    }
                }
            };
            let answer = async {
                let mut results = std::pin::pin!(raft.stream_append(ReceiverStream::new(decoded)));
                while let Some(result) = results.next().await {
                    let result = result.map_err(stopped)?;
                    if !matches!(
                        result,
                        Err(openraft::raft::StreamAppendError::HigherVote(_))
                    ) {
                        service.contact.heard();
                    }
                    if answers
                        .send(Ok(convert::appended_to_proto(&result)))
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
                Ok::<(), Status>(())
            };
            tokio::pin!(decode, answer);
            let mut decoding = true;
            loop {
                tokio::select! {
                    // The leader ended its side or broke off: what it sent is still answered.
                    decoded = &mut decode, if decoding => {
                        decoding = false;
                        decoded?;
                    }
                    answered = &mut answer => return answered,
                }
            }
        });
        Ok(Response::new(answers))
    }

    async fn vote(
        &self,
        request: Request<proto::VoteRequest>,
    ) -> Result<Response<proto::VoteResponse>, Status> {
        let message = request.into_inner();
        let raft = self.admit(message.envelope.as_ref()).await?;
        let vote = convert::vote_request_from_proto(&message).map_err(|e| malformed(&e))?;
        let vote = self.evidence.lift_promise(raft, vote);
        let response = raft.vote(vote).await.map_err(stopped)?;
        Ok(Response::new(convert::vote_response_to_proto(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<proto::VoteRequest>,
    ) -> Result<Response<proto::VoteResponse>, Status> {
        let message = request.into_inner();
        let raft = self.admit(message.envelope.as_ref()).await?;
        let vote = convert::vote_request_from_proto(&message).map_err(|e| malformed(&e))?;
        let response = match self.evidence.pre_vote(raft, &vote).await {
            Some(response) => response,
            None => raft.pre_vote(vote).await.map_err(stopped)?,
        };
        Ok(Response::new(convert::vote_response_to_proto(&response)))
    }

    async fn transfer_leader(
        &self,
        request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        let message = request.into_inner();
        let raft = self.admit(message.envelope.as_ref()).await?;
        let transfer = convert::transfer_from_proto(&message).map_err(|e| malformed(&e))?;
        let response = raft
            .handle_transfer_leader(transfer)
            .await
            .map_err(stopped)?;
        Ok(Response::new(convert::transferred_to_proto(&response)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<proto::SnapshotMessage>>,
    ) -> Result<Response<proto::SnapshotResponse>, Status> {
        self.receive_snapshot(request.into_inner()).await
    }

    async fn snapshot_offset(
        &self,
        request: Request<proto::SnapshotOffsetRequest>,
    ) -> Result<Response<proto::SnapshotOffsetResponse>, Status> {
        self.offer_offset(request.into_inner()).await
    }

    async fn read_index(
        &self,
        request: Request<proto::ReadIndexRequest>,
    ) -> Result<Response<proto::ReadIndexResponse>, Status> {
        use proto::read_index_response::Result as Answer;
        let message = request.into_inner();
        let raft = self.admit(message.envelope.as_ref()).await?;
        let answer = match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Answer::Index(linearizer.read_log_id().index()),
            Err(openraft::errors::RaftError::APIError(error)) => {
                tracing::debug!(%error, "cannot confirm leadership for a read");
                let leader: Option<u64> = raft.current_leader().await;
                Answer::NotLeader(leader.unwrap_or(0))
            }
            Err(error @ openraft::errors::RaftError::Fatal(_)) => return Err(stopped(error)),
        };
        Ok(Response::new(proto::ReadIndexResponse {
            result: Some(answer),
        }))
    }

    async fn state_hash(
        &self,
        request: Request<proto::StateHashRequest>,
    ) -> Result<Response<proto::StateHashResponse>, Status> {
        let message = request.into_inner();
        self.admit(message.envelope.as_ref()).await?;
        let digest = self.audit.digest(message.index);
        Ok(Response::new(proto::StateHashResponse {
            schema: regency_stored::STATE_VERSION,
            digest: digest.map(|digest| digest.to_be_bytes().to_vec().into()),
        }))
    }

    type AttendStream = Answers<proto::Presence>;

    async fn attend(
        &self,
        request: Request<proto::AttendRequest>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        self.admit(request.get_ref().envelope.as_ref()).await?;
        let mut stopping = self.stopping.clone();
        let silence = async move {
            // Also over when the sender is gone.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            None
        };
        let silence = futures::stream::once(silence).filter_map(std::future::ready);
        let presence = proto::Presence {
            process: self.process.to_be_bytes().to_vec().into(),
        };
        let first = futures::stream::once(std::future::ready(Ok(presence)));
        Ok(Response::new(Box::pin(first.chain(silence))))
    }
}

/// A stream of what `work` sends. An error it returns is the last item. `work` runs only while the
/// stream is polled and ends when the stream is dropped.
fn async_stream<T, W, F>(work: W) -> Answers<T>
where
    T: Send + 'static,
    W: FnOnce(tokio::sync::mpsc::Sender<Result<T, Status>>) -> F,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (answers, receive) = tokio::sync::mpsc::channel(APPENDS_AHEAD);
    let work = work(answers);
    let end = async move {
        match work.await {
            Ok(()) => None,
            Err(status) => Some(Err(status)),
        }
    };
    let end = futures::stream::once(end).filter_map(std::future::ready);
    // The end comes last: its sender is dropped with it, after everything was received.
    let items = ReceiverStream::new(receive);
    Box::pin(futures::stream::select(items, end))
}
