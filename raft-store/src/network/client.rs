//! Calls to other masters, as the consensus library makes them.
//!
//! What an error means to the library matters more than the error: "unreachable" makes it wait
//! before the next attempt, everything else makes it try again at once. So only a connection that
//! could not be made is unreachable, and a peer that refuses us, which will not change soon.
//! Appends have a patience of their own: the deadline the library passes is its heartbeat interval,
//! and a follower whose disk needs longer than that for one write is no reason to start over.

#![allow(
    clippy::result_large_err,
    reason = "the error is the library's, and moved no further than its caller"
)]

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, StreamExt as _};
use futures::{FutureExt as _, Stream, future::BoxFuture};
use openraft::OptionalSend;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use regency_rpc::MESSAGE_BYTES_MAX;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_rpc::proto::regency::raft::v1::raft_client::RaftClient;
use regency_rpc::status::{Failure, describe, failure};
use regency_types::NodeId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::Gate;
use super::peers::{Peers, Purpose};
use crate::convert;
use crate::snapshot::{Outgoing, SnapshotFile, Transfer};
use crate::types::{Member, MemberInfo, TypeConfig, Vote};

/// How long a message that only tells what is committed waits for entries to travel with. Without
/// it, each of a few commits in a row costs two messages to each follower and two answers.
const COMMIT_LINGER: Duration = Duration::from_millis(1);
/// Appends on their way to one follower at once.
const APPENDS_IN_FLIGHT_MAX: usize = 64;

pub(super) type RpcError = RPCError<TypeConfig>;
type Appended = Result<StreamAppendResult<TypeConfig>, RpcError>;
pub(super) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

fn client(channel: Channel) -> RaftClient<Channel> {
    RaftClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Makes the clients of all members.
#[derive(Clone)]
pub(crate) struct PeerNetworks {
    pub(crate) gate: Arc<Gate>,
    pub(crate) peers: Arc<Peers>,
    /// How long an append may stay unanswered while nothing else is answered either.
    pub(crate) append_patience: Duration,
    pub(crate) outgoing: Arc<Outgoing>,
}

impl PeerNetworks {
    fn network(&self, target: u64, info: &MemberInfo, purpose: Purpose) -> PeerNetwork {
        let target = Member {
            node: NodeId(target),
            incarnation: info.incarnation,
        };
        PeerNetwork {
            gate: Arc::clone(&self.gate),
            address: self.peers.raft_address(target.node, info),
            peers: Arc::clone(&self.peers),
            target,
            purpose,
            append_patience: self.append_patience,
            outgoing: Arc::clone(&self.outgoing),
            transfer: None,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetworks {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, node: &MemberInfo) -> PeerNetwork {
        self.network(target, node, Purpose::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &MemberInfo) -> PeerNetwork {
        self.network(target, node, Purpose::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &MemberInfo) -> PeerNetwork {
        self.network(target, node, Purpose::Snapshot)
    }
}

/// The way to one member, for one purpose.
pub(crate) struct PeerNetwork {
    gate: Arc<Gate>,
    pub(super) peers: Arc<Peers>,
    pub(super) target: Member,
    pub(super) address: String,
    purpose: Purpose,
    append_patience: Duration,
    pub(super) outgoing: Arc<Outgoing>,
    /// The snapshot on its way, until it arrived.
    pub(super) transfer: Option<Transfer>,
}

impl PeerNetwork {
    pub(super) fn client(&self, purpose: Purpose) -> Result<RaftClient<Channel>, RpcError> {
        self.peers
            .channel(&self.address, purpose)
            .map(client)
            .map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))
    }

    pub(super) fn envelope(&self) -> Result<proto::Envelope, RpcError> {
        self.gate.envelope(self.target).ok_or_else(|| {
            RPCError::Unreachable(Unreachable::from_string("this master has no cluster yet"))
        })
    }

    pub(super) fn timeout(&self, action: RPCTypes, timeout: Duration) -> RpcError {
        RPCError::Timeout(Timeout {
            action,
            id: self.gate.identity().member().node.0,
            target: self.target.node.0,
            timeout,
        })
    }

    pub(super) fn failed(&self, status: &Status) -> RpcError {
        match failure(status) {
            Failure::NotConnected => {
                RPCError::Unreachable(Unreachable::from_string(describe(status)))
            }
            Failure::Refused => {
                self.gate.refused_by(self.target.node, status.message());
                RPCError::Unreachable(Unreachable::from_string(describe(status)))
            }
            Failure::Timeout | Failure::Broken => {
                RPCError::Network(NetworkError::from_string(describe(status)))
            }
        }
    }

    /// One short question with the library's deadline.
    async fn ask<T>(
        &self,
        action: RPCTypes,
        option: &RPCOption,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, RpcError> {
        match tokio::time::timeout(option.soft_ttl(), call).await {
            Ok(Ok(response)) => {
                self.peers.answered(&self.address, Purpose::Control);
                Ok(response.into_inner())
            }
            Ok(Err(status)) => Err(self.failed(&status)),
            Err(_) => {
                self.peers.timed_out(&self.address, Purpose::Control);
                Err(self.timeout(action, option.soft_ttl()))
            }
        }
    }

    /// `None` when there is nothing to send.
    ///
    /// The first request is taken before anything else is done: the library waits between attempts
    /// *inside* its stream of requests, so a client that fails without asking for one would be
    /// called again at once, for ever.
    async fn open_appends<S>(&self, mut input: S) -> Result<Option<Appends<'_, S>>, RpcError>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let Some(first) = input.next().await else {
            return Ok(None);
        };
        let first = convert::append_to_proto(&first, Some(self.envelope()?));
        let mut client = self.client(self.purpose)?;
        // The library's stream of requests is not handed to the transport: when the answers are
        // dropped, it must be gone at once, because its successor waits for what it holds.
        // One more than may be in flight: what was held is sent in any case.
        let (outgoing, body) = mpsc::channel(APPENDS_IN_FLIGHT_MAX + 1);
        // There is room: nothing was sent yet.
        let _ = outgoing.try_send(first);
        let opened = tokio::time::timeout(
            self.append_patience,
            client.append(ReceiverStream::new(body)),
        );
        let answers = match opened.await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(self.failed(&status)),
            Err(_) => {
                self.peers.timed_out(&self.address, self.purpose);
                return Err(self.timeout(RPCTypes::AppendEntries, self.append_patience));
            }
        };
        Ok(Some(Appends {
            network: self,
            input: Some(input),
            outgoing: Some(outgoing),
            answers,
            held: None,
            in_flight: 1,
            progress: Instant::now(),
        }))
    }
}

/// A stream of appends in progress.
struct Appends<'s, S> {
    network: &'s PeerNetwork,
    /// `None` once it ended.
    input: Option<S>,
    /// `None` once everything was sent.
    outgoing: Option<mpsc::Sender<proto::AppendRequest>>,
    answers: Streaming<proto::AppendResponse>,
    /// The newest request without entries, until [`COMMIT_LINGER`] is over or another request says
    /// the same and more. The library does not need an answer to each request: what is answered
    /// later counts for all before it.
    held: Option<(AppendEntriesRequest<TypeConfig>, tokio::time::Instant)>,
    in_flight: usize,
    /// The last time something was answered, or first sent after everything was answered.
    progress: Instant,
}

impl<S> Appends<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    /// The next answer; sends what there is to send meanwhile.
    async fn next(&mut self) -> Option<Appended> {
        loop {
            let may_send = self.input.is_some() && self.in_flight < APPENDS_IN_FLIGHT_MAX;
            let held_until = self.held.as_ref().map(|(_, until)| *until);
            tokio::select! {
                request = next_request(&mut self.input), if may_send => match request {
                    Some(request) if request.entries.is_empty() => {
                        let until = held_until
                            .unwrap_or_else(|| tokio::time::Instant::now() + COMMIT_LINGER);
                        self.held = Some((request, until));
                    }
                    Some(request) => {
                        self.held = None;
                        self.send(&request);
                    }
                    None => {
                        self.input = None;
                        self.send_held();
                        self.outgoing = None;
                    }
                },
                answer = self.answers.message() => return self.answered(answer),
                () = sleep_until(held_until), if held_until.is_some() => self.send_held(),
                () = tokio::time::sleep(self.network.append_patience / 6), if self.in_flight > 0 => {
                    let network = self.network;
                    if self.progress.elapsed() > network.append_patience {
                        network.peers.timed_out(&network.address, network.purpose);
                        return Some(Err(
                            network.timeout(RPCTypes::AppendEntries, network.append_patience)
                        ));
                    }
                }
            }
        }
    }

    fn send_held(&mut self) {
        if let Some((request, _)) = self.held.take() {
            self.send(&request);
        }
    }

    fn send(&mut self, request: &AppendEntriesRequest<TypeConfig>) {
        if self.in_flight == 0 {
            self.progress = Instant::now();
        }
        self.in_flight += 1;
        let message = convert::append_to_proto(request, None);
        let sent = match &self.outgoing {
            Some(outgoing) => outgoing.try_send(message).is_ok(),
            None => false,
        };
        if !sent {
            // The transport ended the stream; the answers say why.
            self.input = None;
        }
    }

    fn answered(
        &mut self,
        answer: Result<Option<proto::AppendResponse>, Status>,
    ) -> Option<Appended> {
        let network = self.network;
        match answer {
            Ok(Some(answer)) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.progress = Instant::now();
                network.peers.answered(&network.address, network.purpose);
                Some(
                    convert::appended_from_proto(&answer)
                        .map_err(|error| RPCError::Network(NetworkError::new(&error))),
                )
            }
            Ok(None) if self.in_flight == 0 => None,
            Ok(None) => Some(Err(RPCError::Network(NetworkError::from_string(
                "the peer ended the stream before it answered everything",
            )))),
            Err(status) => Some(Err(network.failed(&status))),
        }
    }
}

async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn next_request<S: Stream + Unpin>(input: &mut Option<S>) -> Option<S::Item> {
    match input {
        Some(input) => input.next().await,
        None => None,
    }
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let input = futures::stream::once(std::future::ready(request));
        let mut answers = self.stream_append(Box::pin(input), option).await?;
        match answers.next().await {
            Some(Ok(Ok(matched))) => Ok(AppendEntriesResponse::PartialSuccess(matched)),
            Some(Ok(Err(StreamAppendError::Conflict(_)))) => Ok(AppendEntriesResponse::Conflict),
            Some(Ok(Err(StreamAppendError::HigherVote(vote)))) => {
                Ok(AppendEntriesResponse::HigherVote(vote))
            }
            Some(Err(error)) => Err(error),
            None => Err(RPCError::Network(NetworkError::from_string(
                "the peer gave no answer",
            ))),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        async move {
            let appends = self.open_appends(input).await?;
            let answers = futures::stream::unfold(appends, |appends| async move {
                let mut appends = appends?;
                let answer = appends.next().await?;
                // After anything but a success the stream is over.
                let rest = matches!(answer, Ok(Ok(_))).then_some(appends);
                Some((answer, rest))
            });
            Ok(answers.boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let message = convert::vote_request_to_proto(&request, self.envelope()?);
        let mut client = self.client(Purpose::Control)?;
        let response = self
            .ask(RPCTypes::Vote, &option, client.vote(message))
            .await?;
        convert::vote_response_from_proto(&response)
            .map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let message = convert::vote_request_to_proto(&request, self.envelope()?);
        let mut client = self.client(Purpose::Control)?;
        let response = self
            .ask(RPCTypes::Vote, &option, client.pre_vote(message))
            .await?;
        convert::vote_response_from_proto(&response)
            .map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let message = convert::transfer_to_proto(&request, self.envelope()?);
        let mut client = self.client(Purpose::Control)?;
        let response = self
            .ask(
                RPCTypes::TransferLeader,
                &option,
                client.transfer_leader(message),
            )
            .await?;
        convert::transferred_from_proto(&response)
            .map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        self.send_snapshot(vote, snapshot, cancel).await
    }
}

/// Asks who answers at `address`.
pub(crate) async fn identify(
    peers: &Peers,
    own: Member,
    address: &str,
    timeout: Duration,
) -> Result<proto::IdentifyResponse, String> {
    let channel = peers
        .channel(address, Purpose::Control)
        .map_err(|error| error.to_string())?;
    let request = proto::IdentifyRequest {
        sender: Some(convert::member_to_proto(own)),
    };
    match tokio::time::timeout(timeout, client(channel).identify(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(describe(&status)),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

/// Asks the leader for the index a read must see. `Ok(None)`: it does not lead.
pub(crate) async fn read_index(
    networks: &PeerNetworks,
    leader: u64,
    info: &MemberInfo,
    timeout: Duration,
) -> Result<Option<u64>, String> {
    let network = networks.network(leader, info, Purpose::Control);
    let envelope = network.envelope().map_err(|error| error.to_string())?;
    let mut client = network
        .client(Purpose::Control)
        .map_err(|error| error.to_string())?;
    let request = proto::ReadIndexRequest {
        envelope: Some(envelope),
    };
    match tokio::time::timeout(timeout, client.read_index(request)).await {
        Ok(Ok(response)) => Ok(match response.into_inner().result {
            Some(proto::read_index_response::Result::Index(index)) => Some(index),
            Some(proto::read_index_response::Result::NotLeader(_)) | None => None,
        }),
        Ok(Err(status)) => Err(describe(&status)),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

/// Asks a member what its state was after an entry: schema and digest. `Ok(None)`: it does not
/// know, or not any more.
pub(crate) async fn state_hash(
    networks: &PeerNetworks,
    node: u64,
    info: &MemberInfo,
    index: u64,
    timeout: Duration,
) -> Result<Option<(u32, u128)>, String> {
    let network = networks.network(node, info, Purpose::Control);
    let envelope = network.envelope().map_err(|error| error.to_string())?;
    let mut client = network
        .client(Purpose::Control)
        .map_err(|error| error.to_string())?;
    let request = proto::StateHashRequest {
        envelope: Some(envelope),
        index,
    };
    let answer = tokio::time::timeout(timeout, client.state_hash(request))
        .await
        .map_err(|_| format!("no answer within {timeout:?}"))?
        .map_err(|status| describe(&status))?
        .into_inner();
    let Some(digest) = answer.digest else {
        return Ok(None);
    };
    let digest: [u8; 16] = digest
        .as_ref()
        .try_into()
        .map_err(|_| format!("a digest of {} bytes", digest.len()))?;
    Ok(Some((answer.schema, u128::from_be_bytes(digest))))
}

/// Asks a member whether it would vote for this master. Anything but a yes in time is a no.
pub(crate) async fn would_vote(
    networks: &PeerNetworks,
    node: u64,
    info: &MemberInfo,
    request: VoteRequest<TypeConfig>,
    timeout: Duration,
) -> bool {
    let mut network = networks.network(node, info, Purpose::Control);
    let option = RPCOption::new(timeout);
    let answer = tokio::time::timeout(timeout, network.pre_vote(request, option)).await;
    matches!(answer, Ok(Ok(answer)) if answer.vote_granted)
}

/// How an attendance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attendance {
    /// No connection could be made, or it broke before the other side answered.
    Unopened,
    /// It was open, and broke. The run of the process that was attended, if it said that.
    Broken { process: Option<u128> },
    /// The other side lives and said no, or ended it in order.
    Refused,
}

/// Holds a silent stream to a member and returns when it ends. `opened` is called once the member
/// answered.
pub(crate) async fn attend(
    networks: &PeerNetworks,
    node: NodeId,
    info: &MemberInfo,
    opened: impl FnOnce(),
) -> Attendance {
    let network = networks.network(node.0, info, Purpose::Control);
    let (Ok(envelope), Ok(mut client)) = (network.envelope(), network.client(Purpose::Control))
    else {
        return Attendance::Refused;
    };
    let request = proto::AttendRequest {
        envelope: Some(envelope),
    };
    let mut silence = match client.attend(request).await {
        Ok(response) => response.into_inner(),
        Err(status) if broke(&status) => return Attendance::Unopened,
        Err(_) => return Attendance::Refused,
    };
    opened();
    let mut process = None;
    loop {
        match silence.message().await {
            Ok(Some(presence)) => {
                let id = <[u8; 16]>::try_from(presence.process.as_ref());
                process = id.ok().map(u128::from_be_bytes);
            }
            Ok(None) => return Attendance::Refused,
            Err(status) if broke(&status) => return Attendance::Broken { process },
            Err(_) => return Attendance::Refused,
        }
    }
}

fn broke(status: &Status) -> bool {
    match failure(status) {
        Failure::NotConnected | Failure::Broken | Failure::Timeout => true,
        Failure::Refused => false,
    }
}
