//! `/regency/members`: who belongs to the cluster, how they are, and changes of that.
//!
//! | call | does |
//! |---|---|
//! | `GET /regency/members` | the members as this master knows them; on the leader, how they are |
//! | `GET /regency/members/health` | the leader's judgement |
//! | `POST /regency/members` | adds a learner |
//! | `POST /regency/members/promote` | gives votes |
//! | `POST /regency/members/remove` | takes members away |
//! | `POST /regency/members/replace` | a learner gets the vote of a member that leaves |
//! | `POST /regency/members/transfer-leader` | hands leadership over |
//!
//! What only the leader can do is answered by others with 307 to it, 503 when nobody leads. A
//! refusal is 409 with a word for programs and a sentence for people; a change may be repeated.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use regency_raft_store::members::decide::{Change, MemberHealth};
use regency_raft_store::{MemberError, Members, PeerSpec};
use regency_types::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::answer;
use crate::api::cx::{ApiCx, Where};
use crate::api::status::{DiskBody, SnapshotBody};

pub(super) fn routes(router: Router<ApiCx>) -> Router<ApiCx> {
    router
        .route("/regency/members", get(list).post(add))
        .route("/regency/members/health", get(health))
        .route("/regency/members/promote", post(promote))
        .route("/regency/members/remove", post(remove))
        .route("/regency/members/replace", post(replace))
        .route("/regency/members/transfer-leader", post(transfer_leader))
}

/// A learner to add, as other masters, clients and agents reach it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    id: u64,
    raft: String,
    http: String,
    agent: String,
    /// Whether it gets a vote by itself once it is stable.
    #[serde(default)]
    promote: bool,
}

/// Members to promote or to remove.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    ids: BTreeSet<u64>,
    /// The same again, to end at an even number of voters.
    #[serde(default)]
    force: BTreeSet<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    old: u64,
    /// A learner.
    new: u64,
    #[serde(default)]
    force: BTreeSet<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferLeader {
    /// The voter that has most of the log when it is left out.
    #[serde(default)]
    to: Option<u64>,
}

/// The members, as one master knows them.
#[derive(Debug, Serialize)]
struct MembersBody {
    cluster_id: Option<String>,
    /// Who answers.
    node_id: u64,
    term: u64,
    leader: Option<u64>,
    /// Index of the entry that made the membership what it is.
    membership_index: Option<u64>,
    /// Whether a change of voters is not finished.
    joint: bool,
    /// What needs a higher one is not used before all members support it.
    feature_level: u32,
    members: Vec<MemberBody>,
    /// Numbers of members that left; they are never used again.
    former_ids: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct MemberBody {
    id: u64,
    incarnation: String,
    hostname: String,
    raft: String,
    http: String,
    agent: String,
    voter: bool,
    leader: bool,
    /// A learner that gets a vote by itself once it is stable.
    promote: bool,
    /// The rest is known to the leader only.
    alive: Option<bool>,
    lag_entries: Option<u64>,
    last_contact_ms: Option<u64>,
    healthy: Option<bool>,
    /// Why not.
    reason: Option<String>,
    /// For how long this leader has seen it as it is.
    lasting_ms: Option<u64>,
    /// Room on its disk.
    disk: Option<DiskBody>,
    /// Of the program it runs.
    version: Option<String>,
    /// The highest feature level that it supports, or is held at.
    feature_level_max: Option<u32>,
    /// The snapshot on its way there.
    snapshot_sending: Option<SnapshotBody>,
}

#[derive(Debug, Serialize)]
struct HealthBody {
    healthy: bool,
    /// In words; empty when healthy.
    problems: Vec<String>,
    voters: usize,
    voters_alive: usize,
    /// How many voters must answer.
    quorum: usize,
    /// How many more voters may fail now.
    failure_tolerance: usize,
    /// How many when all are well.
    failure_tolerance_at_best: usize,
    /// How many entries a voter may be behind and count as healthy.
    lag_entries_max: u64,
    #[serde(flatten)]
    members: MembersBody,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    /// A word for programs.
    error: &'static str,
    /// A sentence for people.
    message: String,
}

async fn list(State(cx): State<ApiCx>) -> Response<Body> {
    json(&members(&cx))
}

async fn health(State(cx): State<ApiCx>, uri: Uri) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(&cx, &uri).await {
        return elsewhere;
    }
    let (now, mut health) = cx.consensus.health();
    let ours = cx.consensus.timing();
    for (node, theirs) in cx.consensus.timing_disagreements() {
        health.problems.push(format!(
            "node {node} runs with {theirs}, the leader with {ours}; all must be the same"
        ));
    }
    health.problems.extend(cx.consensus.disk_alarms());
    json(&HealthBody {
        healthy: health.problems.is_empty(),
        problems: health.problems,
        voters: health.voters,
        voters_alive: health.voters_alive,
        quorum: health.quorum,
        failure_tolerance: health.tolerates,
        failure_tolerance_at_best: health.tolerates_at_best,
        lag_entries_max: cx.consensus.lag_entries_max(),
        members: body(&cx, now, &health.members),
    })
}

async fn add(State(cx): State<ApiCx>, uri: Uri, body: Bytes) -> Response<Body> {
    let add: Add = match read(&body) {
        Ok(add) => add,
        Err(refused) => return *refused,
    };
    if let Err(message) = check_addresses(&add) {
        return refuse(StatusCode::BAD_REQUEST, "malformed", message);
    }
    if let Some(elsewhere) = elsewhere(&cx, &uri).await {
        return elsewhere;
    }
    let spec = PeerSpec {
        id: NodeId(add.id),
        raft: add.raft,
        http: add.http,
        agent: add.agent,
    };
    let added = if add.promote {
        cx.consensus.add_candidate(&spec).await
    } else {
        cx.consensus.add_learner(&spec).await
    };
    done(&cx, &uri, added)
}

async fn promote(State(cx): State<ApiCx>, uri: Uri, body: Bytes) -> Response<Body> {
    let ids: Ids = match read(&body) {
        Ok(ids) => ids,
        Err(refused) => return *refused,
    };
    let change = Change {
        promote: nodes(ids.ids),
        ..Change::default()
    };
    carry_out(&cx, &uri, &change, ids.force).await
}

async fn remove(State(cx): State<ApiCx>, uri: Uri, body: Bytes) -> Response<Body> {
    let ids: Ids = match read(&body) {
        Ok(ids) => ids,
        Err(refused) => return *refused,
    };
    let change = Change {
        remove: nodes(ids.ids),
        ..Change::default()
    };
    carry_out(&cx, &uri, &change, ids.force).await
}

async fn replace(State(cx): State<ApiCx>, uri: Uri, body: Bytes) -> Response<Body> {
    let replace: Replace = match read(&body) {
        Ok(replace) => replace,
        Err(refused) => return *refused,
    };
    let change = Change {
        promote: BTreeSet::from([NodeId(replace.new)]),
        remove: BTreeSet::from([NodeId(replace.old)]),
    };
    carry_out(&cx, &uri, &change, replace.force).await
}

async fn transfer_leader(State(cx): State<ApiCx>, uri: Uri, body: Bytes) -> Response<Body> {
    let transfer: TransferLeader = match read(&body) {
        Ok(transfer) => transfer,
        Err(refused) => return *refused,
    };
    if let Some(elsewhere) = elsewhere(&cx, &uri).await {
        return elsewhere;
    }
    let handed_over = cx.consensus.hand_over(transfer.to.map(NodeId)).await;
    done(&cx, &uri, handed_over.map(drop))
}

async fn carry_out(cx: &ApiCx, uri: &Uri, change: &Change, force: BTreeSet<u64>) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri).await {
        return elsewhere;
    }
    let changed = cx.consensus.change_members(change, &nodes(force)).await;
    done(cx, uri, changed)
}

/// The answer of a master that does not lead.
async fn elsewhere(cx: &ApiCx, uri: &Uri) -> Option<Response<Body>> {
    match cx.await_leader().await {
        Where::Here(_) => None,
        Where::There(leader) => Some(answer::redirect(&leader.http, uri)),
        Where::Nowhere => Some(nobody_leads()),
    }
}

/// The members after a change, or why it was not made.
fn done(cx: &ApiCx, uri: &Uri, result: Result<(), MemberError>) -> Response<Body> {
    let error = match result {
        Ok(()) => return json(&members(cx)),
        Err(error) => error,
    };
    let code = match &error {
        // Leadership was lost, or given away for this change.
        MemberError::NotLeader => {
            let own = cx.consensus.node();
            let leader = cx.consensus.leadership().borrow().leader.clone();
            return match leader.filter(|leader| leader.node != own) {
                Some(leader) => answer::redirect(&leader.http, uri),
                None => nobody_leads(),
            };
        }
        MemberError::OutcomeUnknown(_) => StatusCode::SERVICE_UNAVAILABLE,
        MemberError::Silent { .. }
        | MemberError::OtherNode { .. }
        | MemberError::OtherCluster { .. }
        | MemberError::IdTaken { .. }
        | MemberError::TooOld { .. }
        | MemberError::IdUsed { .. }
        | MemberError::Objection(_)
        | MemberError::NoHeir(_)
        | MemberError::NotHandedOver(_)
        | MemberError::OtherTiming { .. }
        | MemberError::InProgress => StatusCode::CONFLICT,
    };
    tracing::info!(%error, path = uri.path(), "a change of the membership was not made");
    refuse(code, error.code(), error.to_string())
}

fn members(cx: &ApiCx) -> MembersBody {
    let (now, health) = cx.consensus.health();
    body(cx, now, &health.members)
}

fn body(cx: &ApiCx, now: Members, health: &[MemberHealth]) -> MembersBody {
    let leadership = cx.consensus.leadership().borrow().clone();
    let leader = leadership.leader.map(|leader| leader.node);
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    MembersBody {
        cluster_id: cx.consensus.cluster_id().map(|id| id.to_string()),
        node_id: cx.consensus.node().0,
        term: leadership.term.0,
        leader: leader.map(|node| node.0),
        membership_index: now.index,
        joint: now.joint,
        feature_level: cx.consensus.feature_level(),
        members: now
            .members
            .into_iter()
            .zip(health)
            .map(|(member, health)| (cx.consensus.program(member.node), member, health))
            .map(|(program, member, health)| MemberBody {
                id: member.node.0,
                incarnation: member.incarnation.to_string(),
                hostname: member.hostname,
                raft: member.raft,
                http: member.http,
                agent: member.agent,
                voter: member.voter,
                leader: leader == Some(member.node),
                alive: member.alive,
                lag_entries: member.lag_entries,
                last_contact_ms: member.last_contact.map(ms),
                promote: member.promote && !member.voter,
                healthy: now.leads.then_some(health.reason.is_none()),
                reason: health.reason.clone().filter(|_| now.leads),
                lasting_ms: health.lasting.map(ms).filter(|_| now.leads),
                disk: cx.consensus.disk_room(member.node).map(DiskBody::from),
                feature_level_max: program.as_ref().map(|p| p.feature_level_max),
                version: program.map(|p| p.version),
                snapshot_sending: cx
                    .consensus
                    .snapshot_sending(member.node)
                    .map(SnapshotBody::from),
            })
            .collect(),
        former_ids: now.former.iter().map(|node| node.0).collect(),
    }
}

fn nodes(ids: BTreeSet<u64>) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Response<Body>>> {
    // Serde would take the values of a list for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        let message = "the body is not the JSON object that is expected".to_owned();
        return Err(Box::new(refuse(
            StatusCode::BAD_REQUEST,
            "malformed",
            message,
        )));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        // Of a field that is wrong, serde's own words say the type only.
        match error.path().iter().next() {
            None => error.inner().to_string(),
            Some(_) => format!("'{}': {}", error.path(), error.inner()),
        }
    });
    let read = read.and_then(|read| reader.end().map(|()| read).map_err(|e| e.to_string()));
    read.map_err(|error| {
        let message = format!("the body is not the JSON that is expected: {error}");
        Box::new(refuse(StatusCode::BAD_REQUEST, "malformed", message))
    })
}

fn check_addresses(add: &Add) -> Result<(), String> {
    if add.id == 0 {
        return Err("'id' is 0; ids are numbers from 1".to_owned());
    }
    for (field, value) in [
        ("raft", &add.raft),
        ("http", &add.http),
        ("agent", &add.agent),
    ] {
        let parts = value.rsplit_once(':');
        let good = parts.is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !good {
            return Err(format!("'{field}' is '{value}', not of the form HOST:PORT"));
        }
    }
    Ok(())
}

fn json(body: &impl Serialize) -> Response<Body> {
    axum::Json(body).into_response()
}

fn nobody_leads() -> Response<Body> {
    let message = "no leader is known; is a majority of the voters running?".to_owned();
    refuse(StatusCode::SERVICE_UNAVAILABLE, "no_leader", message)
}

fn refuse(code: StatusCode, error: &'static str, message: String) -> Response<Body> {
    let mut response = json(&ErrorBody { error, message });
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_wrong_body_is_refused_with_the_field() {
        let wrong = |text: &str| read::<Ids>(text.as_bytes()).expect_err(text).status();
        for text in ["", "[]", r#"{"ids": 1}"#, r#"{"ids": [1], "forse": [1]}"#] {
            assert_eq!(wrong(text), StatusCode::BAD_REQUEST, "{text}");
        }
        let Err(refused) = read::<Ids>(br#"{"ids": [1, "x"]}"#) else {
            panic!("a name is no number");
        };
        let body = refused.into_body().collect().await;
        let body = body.expect("a body").to_bytes();
        assert!(
            String::from_utf8_lossy(&body).contains("'ids[1]'"),
            "{body:?}"
        );
        let ids: Ids = read(br#"{"ids": [3, 2]}"#).expect("good");
        assert_eq!(ids.ids, BTreeSet::from([2, 3]));
        assert!(ids.force.is_empty());
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        let add = |id, raft: &str| Add {
            id,
            raft: raft.to_owned(),
            http: "h:2".to_owned(),
            agent: "[::1]:3".to_owned(),
            promote: false,
        };
        assert_eq!(check_addresses(&add(1, "h.example:1")), Ok(()));
        assert!(check_addresses(&add(0, "h:1")).is_err());
        for bad in ["", "h", ":1", "h:", "h:0", "h:99999"] {
            let error = check_addresses(&add(1, bad)).expect_err(bad);
            assert!(error.contains("'raft'"), "{error}");
        }
    }
}
