//! Between the library's types and our own messages. The library's own encodings are not a stable
//! format, so none of them ever reaches a disk or a wire.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;
use openraft::vote::leader_id_std::LeaderId;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_types::{ClusterId, Incarnation, NodeId};

use crate::space::{Room, RoomLevel};
use crate::types::{
    EncodedProposal, Entry, EntryPayload, LogId, Member, MemberInfo, Membership, StoredMembership,
    TypeConfig, Vote, log_id,
};

/// Why a message from a peer or a disk makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error("field {0} is missing")]
    Missing(&'static str),
    #[error("field {field} has {len} bytes, not 16")]
    NotAnId { field: &'static str, len: usize },
    #[error("the membership is impossible: {0}")]
    Membership(String),
}

fn need<T>(value: Option<T>, field: &'static str) -> Result<T, ConvertError> {
    value.ok_or(ConvertError::Missing(field))
}

fn id(bytes: &[u8], field: &'static str) -> Result<u128, ConvertError> {
    bytes
        .try_into()
        .map(u128::from_be_bytes)
        .map_err(|_| ConvertError::NotAnId {
            field,
            len: bytes.len(),
        })
}

fn id_bytes(id: u128) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

pub(crate) fn cluster_to_proto(cluster: ClusterId) -> Bytes {
    id_bytes(cluster.0)
}

pub(crate) fn cluster_from_proto(bytes: &[u8]) -> Result<ClusterId, ConvertError> {
    id(bytes, "cluster_id").map(ClusterId)
}

pub(crate) fn member_to_proto(member: Member) -> proto::Member {
    proto::Member {
        node_id: member.node.0,
        incarnation: id_bytes(member.incarnation.0),
    }
}

pub(crate) fn member_from_proto(member: &proto::Member) -> Result<Member, ConvertError> {
    Ok(Member {
        node: NodeId(member.node_id),
        incarnation: Incarnation(id(&member.incarnation, "incarnation")?),
    })
}

pub(crate) fn room_to_proto(room: &Room) -> proto::DiskRoom {
    use proto::DiskRoomLevel as Level;
    proto::DiskRoom {
        level: match room.level {
            RoomLevel::Enough => Level::Enough,
            RoomLevel::Low => Level::Low,
            RoomLevel::Full => Level::Full,
        }
        .into(),
        free_bytes: room.free_bytes,
        reserve_bytes: room.reserve_bytes,
    }
}

/// `None` when it says something that this version does not know.
pub(crate) fn room_from_proto(room: &proto::DiskRoom) -> Option<Room> {
    use proto::DiskRoomLevel as Level;
    Some(Room {
        level: match room.level() {
            Level::Unspecified => return None,
            Level::Enough => RoomLevel::Enough,
            Level::Low => RoomLevel::Low,
            Level::Full => RoomLevel::Full,
        },
        free_bytes: room.free_bytes,
        reserve_bytes: room.reserve_bytes,
    })
}

pub(crate) fn log_id_to_proto(at: &LogId) -> proto::LogId {
    proto::LogId {
        term: at.leader_id.term,
        index: at.index,
    }
}

pub(crate) fn log_id_from_proto(at: &proto::LogId) -> LogId {
    log_id(at.term, at.index)
}

pub(crate) fn vote_to_proto(vote: &Vote) -> proto::Vote {
    proto::Vote {
        term: vote.leader_id.term,
        node_id: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(crate) fn vote_from_proto(vote: &proto::Vote) -> Vote {
    Vote {
        leader_id: LeaderId::new(vote.term, vote.node_id),
        committed: vote.committed,
    }
}

pub(crate) fn membership_to_proto(membership: &Membership) -> proto::Membership {
    proto::Membership {
        voter_sets: membership
            .get_joint_config()
            .iter()
            .map(|set| proto::VoterSet {
                node_ids: set.iter().copied().collect(),
            })
            .collect(),
        members: membership
            .nodes()
            .map(|(node, info)| {
                (
                    *node,
                    proto::MemberInfo {
                        incarnation: id_bytes(info.incarnation.0),
                        raft_address: info.raft.clone(),
                        http_address: info.http.clone(),
                        agent_address: info.agent.clone(),
                        hostname: info.hostname.clone(),
                        promote: info.promote,
                    },
                )
            })
            .collect(),
    }
}

pub(crate) fn membership_from_proto(
    membership: &proto::Membership,
) -> Result<Membership, ConvertError> {
    let mut members = BTreeMap::new();
    for (node, info) in &membership.members {
        members.insert(
            *node,
            MemberInfo {
                incarnation: Incarnation(id(&info.incarnation, "incarnation")?),
                raft: info.raft_address.clone(),
                http: info.http_address.clone(),
                agent: info.agent_address.clone(),
                hostname: info.hostname.clone(),
                promote: info.promote,
            },
        );
    }
    let voter_sets: Vec<BTreeSet<u64>> = membership
        .voter_sets
        .iter()
        .map(|set| set.node_ids.iter().copied().collect())
        .collect();
    if voter_sets.is_empty() && members.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(voter_sets, members)
        .map_err(|error| ConvertError::Membership(error.to_string()))
}

pub(crate) fn stored_membership_to_proto(stored: &StoredMembership) -> proto::StoredMembership {
    proto::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(stored.membership())),
    }
}

pub(crate) fn stored_membership_from_proto(
    stored: &proto::StoredMembership,
) -> Result<StoredMembership, ConvertError> {
    let membership = need(stored.membership.as_ref(), "membership")?;
    Ok(StoredMembership::new(
        stored.log_id.as_ref().map(log_id_from_proto),
        membership_from_proto(membership)?,
    ))
}

pub(crate) fn entry_to_proto(entry: &Entry) -> proto::Entry {
    use proto::entry::Payload;
    proto::Entry {
        log_id: Some(log_id_to_proto(&entry.log_id)),
        payload: Some(match &entry.payload {
            EntryPayload::Blank => Payload::Blank(proto::Blank {}),
            EntryPayload::Normal(proposal) => Payload::Proposal(proposal.bytes.clone()),
            EntryPayload::Membership(membership) => {
                Payload::Membership(membership_to_proto(membership))
            }
        }),
    }
}

pub(crate) fn entry_from_proto(entry: proto::Entry) -> Result<Entry, ConvertError> {
    use proto::entry::Payload;
    Ok(Entry {
        log_id: log_id_from_proto(need(entry.log_id.as_ref(), "log_id")?),
        payload: match need(entry.payload, "payload")? {
            Payload::Blank(_) => EntryPayload::Blank,
            Payload::Proposal(bytes) => EntryPayload::Normal(EncodedProposal { bytes }),
            Payload::Membership(membership) => {
                EntryPayload::Membership(membership_from_proto(&membership)?)
            }
        },
    })
}

pub(crate) fn append_to_proto(
    request: &AppendEntriesRequest<TypeConfig>,
    envelope: Option<proto::Envelope>,
) -> proto::AppendRequest {
    proto::AppendRequest {
        envelope,
        vote: Some(vote_to_proto(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_to_proto),
        entries: request.entries.iter().map(entry_to_proto).collect(),
        committed: request.leader_commit.as_ref().map(log_id_to_proto),
    }
}

pub(crate) fn append_from_proto(
    request: proto::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, ConvertError> {
    Ok(AppendEntriesRequest {
        vote: vote_from_proto(need(request.vote.as_ref(), "vote")?),
        prev_log_id: request.previous.as_ref().map(log_id_from_proto),
        entries: request
            .entries
            .into_iter()
            .map(entry_from_proto)
            .collect::<Result<_, _>>()?,
        leader_commit: request.committed.as_ref().map(log_id_from_proto),
    })
}

pub(crate) fn appended_to_proto(result: &StreamAppendResult<TypeConfig>) -> proto::AppendResponse {
    use proto::append_response::Result as Appended;
    proto::AppendResponse {
        result: Some(match result {
            Ok(matched) => Appended::Matched(proto::Matched {
                log_id: matched.as_ref().map(log_id_to_proto),
            }),
            Err(StreamAppendError::Conflict(at)) => Appended::Conflict(log_id_to_proto(at)),
            Err(StreamAppendError::HigherVote(vote)) => Appended::HigherVote(vote_to_proto(vote)),
        }),
    }
}

pub(crate) fn appended_from_proto(
    response: &proto::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig>, ConvertError> {
    use proto::append_response::Result as Appended;
    Ok(match need(response.result.as_ref(), "result")? {
        Appended::Matched(matched) => Ok(matched.log_id.as_ref().map(log_id_from_proto)),
        Appended::Conflict(at) => Err(StreamAppendError::Conflict(log_id_from_proto(at))),
        Appended::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_proto(vote))),
    })
}

pub(crate) fn vote_request_to_proto(
    request: &VoteRequest<TypeConfig>,
    envelope: proto::Envelope,
) -> proto::VoteRequest {
    proto::VoteRequest {
        envelope: Some(envelope),
        vote: Some(vote_to_proto(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_proto),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_from_proto(
    request: &proto::VoteRequest,
) -> Result<VoteRequest<TypeConfig>, ConvertError> {
    let mut vote = VoteRequest::new(
        vote_from_proto(need(request.vote.as_ref(), "vote")?),
        request.last_log_id.as_ref().map(log_id_from_proto),
    );
    vote.leadership_transfer = request.leadership_transfer;
    Ok(vote)
}

pub(crate) fn vote_response_to_proto(response: &VoteResponse<TypeConfig>) -> proto::VoteResponse {
    proto::VoteResponse {
        vote: Some(vote_to_proto(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to_proto),
    }
}

pub(crate) fn vote_response_from_proto(
    response: &proto::VoteResponse,
) -> Result<VoteResponse<TypeConfig>, ConvertError> {
    Ok(VoteResponse::new(
        vote_from_proto(need(response.vote.as_ref(), "vote")?),
        response.last_log_id.as_ref().map(log_id_from_proto),
        response.granted,
    ))
}

pub(crate) fn transfer_to_proto(
    request: &TransferLeaderRequest<TypeConfig>,
    envelope: proto::Envelope,
) -> proto::TransferLeaderRequest {
    proto::TransferLeaderRequest {
        envelope: Some(envelope),
        from_leader: Some(vote_to_proto(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id_to_proto),
    }
}

pub(crate) fn transfer_from_proto(
    request: &proto::TransferLeaderRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, ConvertError> {
    Ok(TransferLeaderRequest::new(
        vote_from_proto(need(request.from_leader.as_ref(), "from_leader")?),
        request.to_node_id,
        request.last_log_id.as_ref().map(log_id_from_proto),
    ))
}

pub(crate) fn transferred_to_proto(
    response: &TransferLeaderResponse<TypeConfig>,
) -> proto::TransferLeaderResponse {
    use proto::transfer_leader_response::Refusal;
    proto::TransferLeaderResponse {
        refusal: match response {
            Ok(()) => None,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Some(Refusal::VoteChanged(proto::VoteChanged {
                    expected: Some(vote_to_proto(expected)),
                    actual: Some(vote_to_proto(actual)),
                }))
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Some(Refusal::LogNotFlushed(proto::LogNotFlushed {
                    expected: expected.as_ref().map(log_id_to_proto),
                    actual: actual.as_ref().map(log_id_to_proto),
                }))
            }
        },
    }
}

pub(crate) fn transferred_from_proto(
    response: &proto::TransferLeaderResponse,
) -> Result<TransferLeaderResponse<TypeConfig>, ConvertError> {
    use proto::transfer_leader_response::Refusal;
    Ok(match &response.refusal {
        None => Ok(()),
        Some(Refusal::VoteChanged(changed)) => Err(TransferLeaderError::VoteChanged {
            expected: vote_from_proto(need(changed.expected.as_ref(), "expected")?),
            actual: vote_from_proto(need(changed.actual.as_ref(), "actual")?),
        }),
        Some(Refusal::LogNotFlushed(behind)) => Err(TransferLeaderError::LogNotFlushed {
            expected: behind.expected.as_ref().map(log_id_from_proto),
            actual: behind.actual.as_ref().map(log_id_from_proto),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_survives_the_wire() {
        let info = MemberInfo {
            incarnation: Incarnation(7),
            raft: "a:1".into(),
            http: "a:2".into(),
            agent: "a:3".into(),
            hostname: "a".into(),
            promote: true,
        };
        let membership = Membership::new(
            vec![BTreeSet::from([1]), BTreeSet::from([1, 2])],
            BTreeMap::from([(1, info.clone()), (2, info.clone()), (3, info)]),
        )
        .expect("valid");
        let request = AppendEntriesRequest::<TypeConfig> {
            vote: Vote::new_committed(4, 2),
            prev_log_id: Some(log_id(3, 9)),
            entries: vec![
                Entry {
                    log_id: log_id(4, 10),
                    payload: EntryPayload::Blank,
                },
                Entry {
                    log_id: log_id(4, 11),
                    payload: EntryPayload::Normal(EncodedProposal {
                        bytes: Bytes::from_static(b"x"),
                    }),
                },
                Entry {
                    log_id: log_id(4, 12),
                    payload: EntryPayload::Membership(membership),
                },
            ],
            leader_commit: None,
        };
        let back = append_from_proto(append_to_proto(&request, None)).expect("valid");
        assert_eq!(back.vote, request.vote);
        assert_eq!(back.prev_log_id, request.prev_log_id);
        assert_eq!(back.entries, request.entries);
        assert_eq!(back.leader_commit, None);
    }

    #[test]
    fn a_message_without_its_vote_is_refused() {
        let request = proto::AppendRequest::default();
        assert_eq!(
            append_from_proto(request).expect_err("no vote"),
            ConvertError::Missing("vote")
        );
        let bad = proto::Member {
            node_id: 1,
            incarnation: Bytes::from_static(b"short"),
        };
        assert_eq!(
            member_from_proto(&bad).expect_err("no id"),
            ConvertError::NotAnId {
                field: "incarnation",
                len: 5
            }
        );
    }
}
