//! Calls of every kind between masters are refused when the caller, the one called or the cluster
//! is not who it should be.

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::Cluster;
use regency_raft_store::Consensus;
use regency_raft_store::members::decide::Change;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_rpc::proto::regency::raft::v1::raft_client::RaftClient;
use regency_rpc::{ChannelSettings, channel};
use regency_types::NodeId;
use tonic::transport::Channel;
use tonic::{Code, Status};

const PROTO: &str = include_str!("../../proto/internal/raft.proto");
/// Every call that carries an envelope.
const CALLS: [&str; 9] = [
    "Append",
    "Vote",
    "PreVote",
    "TransferLeader",
    "InstallSnapshot",
    "SnapshotOffset",
    "ReadIndex",
    "Attend",
    "StateHash",
];

#[test]
fn every_call_that_masters_make_is_tried_here() {
    let calls = PROTO.lines().filter_map(|line| {
        let call = line.trim().strip_prefix("rpc ")?;
        call.split_once('(').map(|(name, _)| name)
    });
    let expected: BTreeSet<&str> = CALLS.into_iter().chain(["Identify"]).collect();
    assert_eq!(calls.collect::<BTreeSet<&str>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_another_cluster_or_a_stranger_is_refused_whatever_it_is() {
    let mut cluster = Cluster::new(3);
    let all: Vec<_> = (0..3).map(|i| cluster.peer(i).clone()).collect();
    cluster.set_peers(all[..1].to_vec());
    cluster.start(0).await;
    cluster.write(1).await;
    cluster.set_peers(all.clone());
    // Two learners, of which one leaves.
    for i in [1, 2] {
        cluster.start(i).await;
        let added = cluster.master(0).add_learner(&all[i]).await;
        added.expect("added");
    }
    let remove = Change {
        remove: BTreeSet::from([NodeId(3)]),
        ..Change::default()
    };
    let removed = cluster
        .master(0)
        .change_members(&remove, &BTreeSet::new())
        .await;
    removed.expect("removed");

    let good = proto::Envelope {
        cluster_id: id(cluster.master(0).cluster_id().expect("founded").0),
        sender: Some(member(cluster.master(1))),
        target: Some(member(cluster.master(0))),
    };
    let mut other_cluster = good.clone();
    other_cluster.cluster_id = id(77);
    let mut wiped_sender = good.clone();
    wiped_sender.sender = Some(proto::Member {
        node_id: 2,
        incarnation: id(78),
    });
    let mut wiped_target = good.clone();
    wiped_target.target = Some(proto::Member {
        node_id: 1,
        incarnation: id(79),
    });
    let mut other_target = good.clone();
    other_target.target = good.sender.clone();
    let mut removed_sender = good.clone();
    removed_sender.sender = Some(member(cluster.master(2)));
    let mut wiped_removed = good.clone();
    wiped_removed.sender = Some(proto::Member {
        node_id: 3,
        incarnation: id(80),
    });

    let channel = channel(&all[0].raft, &ChannelSettings::default()).expect("an address");
    let before = cluster.master(0).status();
    for name in CALLS {
        let call = |envelope: &proto::Envelope| call(&channel, name, Some(envelope.clone()));
        for (envelope, why) in [
            (&other_cluster, "the call is of cluster"),
            (&wiped_sender, "node 2 calls with another data directory"),
            (&wiped_target, "this master is not that member"),
            (&other_target, "the call is for node 2, this is node 1"),
            (&removed_sender, "node 3 was removed from this cluster"),
            (&wiped_removed, "node 3 was removed from this cluster"),
        ] {
            let refused = call(envelope).await.expect_err(name);
            assert_eq!(
                refused.code(),
                Code::FailedPrecondition,
                "{name}: {refused}"
            );
            assert!(refused.message().contains(why), "{name}: {refused}");
        }
        let bare = self::call(&channel, name, None).await.expect_err(name);
        assert!(bare.message().contains("envelope"), "{name}: {bare}");
        // The gate is what refused: with the right envelope it is passed.
        if let Err(other) = call(&good).await {
            assert_ne!(other.code(), Code::FailedPrecondition, "{name}: {other}");
        }
    }
    let after = cluster.master(0).status();
    assert_eq!(
        (after.term, after.leader, after.last_log_index),
        (before.term, before.leader, before.last_log_index),
        "nothing of all that had an effect"
    );
}

/// Makes one call that would change nothing, and tells whether it was let in.
async fn call(
    channel: &Channel,
    name: &str,
    envelope: Option<proto::Envelope>,
) -> Result<(), Status> {
    let mut client = RaftClient::new(channel.clone());
    // A term that is over: it is answered, and nothing comes of it.
    let vote = Some(proto::Vote {
        term: 0,
        node_id: 2,
        committed: false,
    });
    match name {
        "Append" => {
            let request = proto::AppendRequest {
                envelope,
                vote,
                ..Default::default()
            };
            let answers = client.append(futures::stream::iter([request])).await?;
            answers.into_inner().message().await.map(drop)
        }
        "Vote" | "PreVote" => {
            let request = proto::VoteRequest {
                envelope,
                vote,
                ..Default::default()
            };
            match name {
                "Vote" => client.vote(request).await.map(drop),
                _ => client.pre_vote(request).await.map(drop),
            }
        }
        "TransferLeader" => {
            let request = proto::TransferLeaderRequest {
                envelope,
                from_leader: vote,
                to_node_id: 2,
                last_log_id: None,
            };
            client.transfer_leader(request).await.map(drop)
        }
        "InstallSnapshot" => {
            let head = proto::SnapshotHead {
                envelope,
                // Without a vote it is malformed, which is found only behind the gate.
                ..Default::default()
            };
            let message = proto::SnapshotMessage {
                message: Some(proto::snapshot_message::Message::Head(head)),
            };
            let sent = client.install_snapshot(futures::stream::iter([message]));
            sent.await.map(drop)
        }
        "SnapshotOffset" => {
            let request = proto::SnapshotOffsetRequest {
                envelope,
                // Without an entry it is malformed as well.
                ..Default::default()
            };
            client.snapshot_offset(request).await.map(drop)
        }
        "ReadIndex" => {
            let request = proto::ReadIndexRequest { envelope };
            client.read_index(request).await.map(drop)
        }
        "Attend" => {
            let request = proto::AttendRequest { envelope };
            client.attend(request).await.map(drop)
        }
        "StateHash" => {
            let request = proto::StateHashRequest { envelope, index: 1 };
            client.state_hash(request).await.map(drop)
        }
        other => panic!("{other} is not tried here"),
    }
}

fn member(master: &Consensus) -> proto::Member {
    proto::Member {
        node_id: master.node().0,
        incarnation: id(master.incarnation().0),
    }
}

fn id(id: u128) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}
