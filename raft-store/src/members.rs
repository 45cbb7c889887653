//! Changing who belongs to the cluster.
//!
//! A new master first learns everything without a vote, then it gets one. A change of who votes is
//! one step of joint consensus from the present voters to the next ones, so that a replacement
//! never leaves an even number in between. What may be done is decided by [`decide`] alone; this
//! file finds out how things are and carries out.
//!
//! A node id stands for one data directory for ever, also after its member left: see `former`.

pub mod autopilot;
pub mod decide;
pub(crate) mod former;
mod removed;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Instant as _, ServerState};
use regency_types::{Incarnation, NodeId};

use self::decide::{Change, Objection, Seat};
pub use self::removed::Removed;
use crate::config::PeerSpec;
use crate::consensus::{Consensus, TransferError};
use crate::convert;
use crate::level::Program;
use crate::network::identify;
use crate::roll_call::timing_from_proto;
use crate::timing::Timing;
use crate::types::{LogId, MemberInfo, TypeConfig};

const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a change may take to be committed before its outcome counts as unknown.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a leader looks again before it says that members are silent or behind: one that was
/// just elected has not heard from everybody yet.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why the membership was not changed, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Only the leader changes the membership.
    #[error("this master does not lead")]
    NotLeader,
    /// The master to add does not answer.
    #[error("node {node} does not answer at {address}: {why}")]
    Silent {
        /// Which.
        node: NodeId,
        /// Where it should.
        address: String,
        /// What happened.
        why: String,
    },
    /// Another master answers at the address.
    #[error("{address} is answered by node {found}, not by node {expected}")]
    OtherNode {
        /// Where.
        address: String,
        /// Who answers.
        found: NodeId,
        /// Who should.
        expected: NodeId,
    },
    /// The master to add belongs to another cluster.
    #[error("node {node} belongs to cluster {cluster} already; give it an empty directory")]
    OtherCluster {
        /// Which.
        node: NodeId,
        /// To which.
        cluster: String,
    },
    /// The master to add has another timing.
    #[error(
        "node {node} runs with {theirs}, this cluster with {ours}; start it with the same --timing, \
         --heartbeat-interval and --election-timeout-min|max as the others, then repeat"
    )]
    OtherTiming {
        /// Which.
        node: NodeId,
        /// Its times.
        theirs: Timing,
        /// Those of the leader.
        ours: Timing,
    },
    /// The master to add does not know what the cluster uses.
    #[error(
        "node {node} supports feature level {supported} at most, this cluster is at {level}; start it \
         with a newer version, or without --feature-level-max"
    )]
    TooOld {
        /// Which.
        node: NodeId,
        /// What it supports.
        supported: u32,
        /// What the cluster uses.
        level: u32,
    },
    /// The number is taken by another data directory.
    #[error(
        "node id {node} stands for another data directory ({known}) in this cluster; give the new \
         master a node id never used before"
    )]
    IdTaken {
        /// The number.
        node: NodeId,
        /// Whose it is.
        known: Incarnation,
    },
    /// The number was that of a member that left.
    #[error(
        "node id {node} was used before in this cluster, by a member that was removed (its data \
         directory was {known}); give the new master an empty directory and a node id never used \
         before"
    )]
    IdUsed {
        /// The number.
        node: NodeId,
        /// Whose it was.
        known: Incarnation,
    },
    /// The change is not allowed as things are.
    #[error(transparent)]
    Objection(#[from] Objection),
    /// The leader is to be removed, and nobody that stays can lead.
    #[error(
        "node {0} leads and no other voter that stays answers; promote another master first, \
         then remove this one"
    )]
    NoHeir(NodeId),
    /// Leadership was to be handed over first, and was not.
    #[error("nothing was changed, leadership was not handed over: {0}")]
    NotHandedOver(#[from] TransferError),
    /// Another change is not finished, or was made meanwhile.
    #[error("another change of the membership is in progress; look at the members and repeat")]
    InProgress,
    /// It may or may not have happened; the status tells.
    #[error("the outcome of the change is unknown, look at the members: {0}")]
    OutcomeUnknown(String),
}

impl MemberError {
    /// A word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotLeader => "not_leader",
            Self::Silent { .. } => "silent",
            Self::OtherNode { .. } => "other_node",
            Self::OtherCluster { .. } => "other_cluster",
            Self::OtherTiming { .. } => "other_timing",
            Self::IdTaken { .. } => "id_taken",
            Self::TooOld { .. } => "too_old",
            Self::IdUsed { .. } => "id_used",
            Self::Objection(objection) => objection.code(),
            Self::NoHeir(_) => "no_heir",
            Self::NotHandedOver(_) => "not_handed_over",
            Self::InProgress => "in_progress",
            Self::OutcomeUnknown(_) => "outcome_unknown",
        }
    }
}

/// Who belongs to the cluster, as one master knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// Whether this master leads; only then it knows who answers.
    pub leads: bool,
    /// Index of the entry that made the membership what it is.
    pub index: Option<u64>,
    /// Whether a change of voters is under way: the members are shown as they will be after it.
    pub joint: bool,
    /// Everybody, by number.
    pub members: Vec<MemberView>,
    /// Numbers of members that left, which are never used again; as far as this master applied
    /// the log.
    pub former: Vec<NodeId>,
}

/// One of [`Members`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its number.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Its advertised host name.
    pub hostname: String,
    /// Where it speaks to other masters.
    pub raft: String,
    /// Where it speaks to clients.
    pub http: String,
    /// Where it speaks to agents.
    pub agent: String,
    /// Whether it has a vote; learners have none.
    pub voter: bool,
    /// Whether it was added to get a vote by itself once it is stable.
    pub promote: bool,
    /// As leader: whether it answered lately.
    pub alive: Option<bool>,
    /// As leader: how many entries it is behind.
    pub lag_entries: Option<u64>,
    /// As leader: how long ago it answered. `None` also when it never did since this master leads.
    pub last_contact: Option<Duration>,
}

impl Members {
    /// As decisions see them.
    #[must_use]
    pub fn seats(&self) -> Vec<Seat> {
        let seat = |member: &MemberView| Seat {
            node: member.node,
            voter: member.voter,
            alive: member.alive.unwrap_or(false),
            lag_entries: member.lag_entries,
        };
        self.members.iter().map(seat).collect()
    }

    /// Learners that are to get a vote without being named again.
    fn wanted(&self) -> BTreeSet<NodeId> {
        let wanted = self.members.iter().filter(|m| m.promote && !m.voter);
        wanted.map(|member| member.node).collect()
    }

    fn voters(&self) -> BTreeSet<NodeId> {
        let voters = self.members.iter().filter(|member| member.voter);
        voters.map(|member| member.node).collect()
    }
}

type ChangeError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

fn change_error(error: ChangeError) -> MemberError {
    use openraft::errors::ChangeMembershipError as Change;
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MemberError::NotLeader,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(Change::InProgress(_))) => {
            MemberError::InProgress
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => MemberError::InProgress,
        other => MemberError::OutcomeUnknown(other.to_string()),
    }
}

impl Consensus {
    /// Who belongs to the cluster; on the leader also how they are.
    #[must_use]
    pub fn members(&self) -> Members {
        self.members_at().0
    }

    /// The same, with the term of this master.
    fn members_in_term(&self) -> (Members, u64) {
        let term = self.raft().metrics().borrow_watched().current_term;
        (self.members(), term)
    }

    /// The same, with the entry that a change has to be based on.
    fn members_at(&self) -> (Members, Option<LogId>) {
        let silence_max = self.autopilot_config().silence_max(&self.timing());
        let own = self.node();
        let former = self.state().get().former.clone();
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader;
        let at = *metrics.membership_config.log_id();
        let membership = metrics.membership_config.membership();
        let configs = membership.get_joint_config();
        let voters = configs.last().cloned().unwrap_or_default();
        let next = |index: Option<u64>| index.map_or(0, |index| index + 1);
        let view = |(node, info): (&u64, &MemberInfo)| {
            let is_own = *node == own.0;
            let heard = metrics.heartbeat.as_ref().and_then(|all| *all.get(node)?);
            let last_contact = match heard {
                _ if leads && is_own => Some(Duration::ZERO),
                heard => heard.map(|at| at.elapsed()),
            };
            let matched = metrics.replication.as_ref().and_then(|all| all.get(node));
            let lag = matched.map(|matched| {
                let matched = next(matched.as_ref().map(|at| at.index));
                next(metrics.last_log_index).saturating_sub(matched)
            });
            MemberView {
                node: NodeId(*node),
                incarnation: info.incarnation,
                hostname: info.hostname.clone(),
                raft: self.peers().raft_address(NodeId(*node), info),
                http: info.http.clone(),
                agent: info.agent.clone(),
                voter: voters.contains(node),
                promote: info.promote,
                alive: leads.then(|| last_contact.is_some_and(|age| age <= silence_max)),
                lag_entries: if leads && is_own { Some(0) } else { lag },
                last_contact,
            }
        };
        let members = Members {
            leads,
            index: at.map(|at| at.index),
            joint: configs.len() > 1,
            members: membership.nodes().map(view).collect(),
            former: former.iter().map(|member| member.node).collect(),
        };
        (members, at)
    }

    /// Adds a master that is started and waits to be added, as a learner: it is sent everything
    /// and has no vote. Returns when the cluster knows it, which is before it caught up. Does
    /// nothing when it is a member already. As leader only.
    ///
    /// # Errors
    /// When this master does not lead, or the other one is not who it should be.
    pub async fn add_learner(&self, spec: &PeerSpec) -> Result<(), MemberError> {
        self.add(spec, false).await
    }

    /// As [`Self::add_learner`], and has the leader's autopilot give it a vote once it is stable.
    /// May be asked for again for one that was added without.
    ///
    /// # Errors
    /// As [`Self::add_learner`].
    pub async fn add_candidate(&self, spec: &PeerSpec) -> Result<(), MemberError> {
        self.add(spec, true).await
    }

    async fn add(&self, spec: &PeerSpec, promote: bool) -> Result<(), MemberError> {
        self.finish_change().await?;
        let (members, at) = self.leading()?;
        self.refuse_former(spec.id, at).await?;
        let mut info = self.look_at(spec).await?;
        info.promote = promote;
        let known = members.members.iter().find(|known| known.node == spec.id);
        let change = match known {
            // It is the same data directory, as was just seen.
            Some(known) if promote && !known.promote && !known.voter => {
                ChangeMembers::SetNodes(BTreeMap::from([(spec.id.0, info)]))
            }
            Some(_) => return Ok(()),
            None => ChangeMembers::AddNodes(BTreeMap::from([(spec.id.0, info)])),
        };
        self.write_change(change, true, at).await?;
        tracing::info!(peer = %spec.id, address = spec.raft, promote, "added a master as a learner");
        // A courtesy to whoever looks next: a member that was never heard counts as dead.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.never_heard(spec.id) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    fn never_heard(&self, node: NodeId) -> bool {
        let members = self.members();
        let mut members = members.members.iter();
        members.any(|member| member.node == node && member.last_contact.is_none())
    }

    /// Gives votes, takes members away, or both as one step: a replacement. Does nothing when
    /// everything is so already. `forced` names the members that are changed when the number of
    /// voters may become even. As leader only.
    ///
    /// A leader that is to leave hands leadership over, changes nothing, and answers
    /// [`MemberError::NotLeader`]: the next leader has to be asked.
    ///
    /// # Errors
    /// When this master does not lead (any more), or the change is not allowed. Only
    /// [`MemberError::OutcomeUnknown`] leaves open whether something was changed; repeating the
    /// change is safe then.
    pub async fn change_members(
        &self,
        change: &Change,
        forced: &BTreeSet<NodeId>,
    ) -> Result<(), MemberError> {
        let completed = self.finish_change().await?;
        let mut change = change.clone();
        let mut forced = forced.clone();
        if completed {
            // Whoever left with that is not unknown, but gone as asked for.
            let members = self.leading()?.0;
            let is_there = |node: &NodeId| members.members.iter().any(|m| m.node == *node);
            change.remove.retain(is_there);
            forced.retain(is_there);
            if change.names().is_empty() {
                return Ok(());
            }
        }
        let (change, forced) = (&change, &forced);
        let (members, at, voters) = self.decide(change, forced).await?;
        if change.remove.contains(&self.node()) {
            return Err(self.step_aside(&members, &voters).await);
        }
        let before = members.voters();
        let learners: BTreeSet<u64> = change.remove.difference(&before).map(|n| n.0).collect();
        let mut at = at;
        if !learners.is_empty() {
            self.write_change(ChangeMembers::RemoveNodes(learners), true, at)
                .await?;
            at = self.leading()?.1;
        }
        if voters != before {
            let voters = voters.iter().map(|node| node.0).collect();
            self.write_change(ChangeMembers::ReplaceAllVoters(voters), false, at)
                .await?;
        }
        let ids = |all: &BTreeSet<NodeId>| decide::Ids(all.clone()).to_string();
        tracing::info!(
            promoted = ids(&change.promote),
            removed = ids(&change.remove),
            voters = ids(&voters),
            "changed the membership"
        );
        Ok(())
    }

    /// Hands leadership to the best other voter, or to the one named. Gives the new leader's
    /// number as asked for; another one may win all the same. As leader only.
    ///
    /// # Errors
    /// When this master does not lead, or nobody took over.
    pub async fn hand_over(&self, to: Option<NodeId>) -> Result<NodeId, MemberError> {
        let (members, _) = self.leading()?;
        let heir = match to {
            Some(to) => to,
            None => self.heir(&members, &members.voters())?,
        };
        match self.transfer_leader(heir).await {
            Ok(()) => Ok(heir),
            Err(TransferError::NotLeader) => Err(MemberError::NotLeader),
            Err(error) => Err(error.into()),
        }
    }

    /// The members, while this master leads.
    fn leading(&self) -> Result<(Members, Option<LogId>), MemberError> {
        let (members, at) = self.members_at();
        if members.leads {
            Ok((members, at))
        } else {
            Err(MemberError::NotLeader)
        }
    }

    /// Completes a change of voters that an earlier leader left half-way. Tells whether there was
    /// one.
    async fn finish_change(&self) -> Result<bool, MemberError> {
        let (members, at) = self.leading()?;
        if !members.joint {
            return Ok(false);
        }
        self.write_change(ChangeMembers::AddVoterIds(BTreeSet::new()), false, at)
            .await?;
        tracing::info!("completed a change of the membership that was left half-way");
        Ok(true)
    }

    /// Decides, and looks again for a moment where that may help.
    async fn decide(
        &self,
        change: &Change,
        forced: &BTreeSet<NodeId>,
    ) -> Result<(Members, Option<LogId>, BTreeSet<NodeId>), MemberError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (members, at) = self.leading()?;
            let lag_entries_max = self.autopilot_config().max_trailing_entries;
            match decide::check(&members.seats(), change, forced, lag_entries_max) {
                Ok(voters) => return Ok((members, at, voters)),
                Err(objection)
                    if objection.may_pass() && tokio::time::Instant::now() < deadline => {}
                Err(objection) => return Err(objection.into()),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The voter among `staying` that answers and has most of the log, besides this master.
    fn heir(&self, members: &Members, staying: &BTreeSet<NodeId>) -> Result<NodeId, MemberError> {
        let own = self.node();
        let candidates = members.members.iter().filter(|member| {
            member.node != own
                && member.voter
                && member.alive == Some(true)
                && staying.contains(&member.node)
        });
        candidates
            .min_by_key(|member| (member.lag_entries.unwrap_or(u64::MAX), member.node))
            .map(|member| member.node)
            .ok_or(MemberError::NoHeir(own))
    }

    /// Hands leadership to somebody who stays. Tells what to answer.
    async fn step_aside(&self, members: &Members, staying: &BTreeSet<NodeId>) -> MemberError {
        let heir = match self.heir(members, staying) {
            Ok(heir) => heir,
            Err(error) => return error,
        };
        tracing::info!(heir = %heir, "this leader is to be removed and hands leadership over");
        match self.transfer_leader(heir).await {
            Ok(()) | Err(TransferError::NotLeader) => MemberError::NotLeader,
            Err(error) => error.into(),
        }
    }

    /// Writes a change, if the membership is still the one made at `at`.
    async fn write_change(
        &self,
        change: ChangeMembers<u64, MemberInfo>,
        retain: bool,
        at: Option<LogId>,
    ) -> Result<(), MemberError> {
        let unchanged = Precondition::LastMembershipLogId {
            last_membership_log_id: at,
        };
        let writing = self
            .raft()
            .change_membership_if(change, retain, [unchanged]);
        match tokio::time::timeout(CHANGE_TIMEOUT, writing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(change_error(error)),
            Err(_) => Err(MemberError::OutcomeUnknown(format!(
                "not committed within {CHANGE_TIMEOUT:?}"
            ))),
        }
    }

    /// Refuses the number of a member that left before the membership of `at`.
    async fn refuse_former(&self, node: NodeId, at: Option<LogId>) -> Result<(), MemberError> {
        // Who left is known as far as entries are applied.
        let index = at.map_or(0, |at| at.index);
        let applied = self.state().wait_for(index, CHANGE_TIMEOUT).await;
        let applied = applied.map_err(|_| MemberError::InProgress)?;
        match applied.former.get(node) {
            Some(known) => Err(MemberError::IdUsed { node, known }),
            None => Ok(()),
        }
    }

    /// Asks the master to add who it is, and whether it may be added.
    async fn look_at(&self, spec: &PeerSpec) -> Result<MemberInfo, MemberError> {
        let silent = |why| MemberError::Silent {
            node: spec.id,
            address: spec.raft.clone(),
            why,
        };
        let own = self.member();
        let answer = identify(self.peers(), own, &spec.raft, IDENTIFY_TIMEOUT)
            .await
            .map_err(silent)?;
        let member = answer
            .member
            .as_ref()
            .ok_or(convert::ConvertError::Missing("member"))
            .and_then(convert::member_from_proto)
            .map_err(|error| silent(error.to_string()))?;
        if member.node != spec.id {
            return Err(MemberError::OtherNode {
                address: spec.raft.clone(),
                found: member.node,
                expected: spec.id,
            });
        }
        if !answer.cluster_id.is_empty() {
            let theirs = convert::cluster_from_proto(&answer.cluster_id)
                .map_err(|error| silent(error.to_string()))?;
            if self.cluster_id() != Some(theirs) {
                return Err(MemberError::OtherCluster {
                    node: spec.id,
                    cluster: theirs.to_string(),
                });
            }
        }
        let supported = Program::of(&answer).feature_level_max;
        let level = self.feature_level();
        if supported < level {
            return Err(MemberError::TooOld {
                node: spec.id,
                supported,
                level,
            });
        }
        let known: BTreeMap<u64, Incarnation> = {
            let server = self.raft().server_metrics();
            let server = server.borrow_watched();
            let nodes = server.membership_config.membership().nodes();
            nodes
                .map(|(node, info)| (*node, info.incarnation))
                .collect()
        };
        if let Some(known) = known
            .get(&spec.id.0)
            .filter(|known| **known != member.incarnation)
        {
            return Err(MemberError::IdTaken {
                node: spec.id,
                known: *known,
            });
        }
        let ours = self.timing();
        if let Some(theirs) = timing_from_proto(answer.timing.as_ref())
            && !theirs.agrees_with(&ours)
        {
            return Err(MemberError::OtherTiming {
                node: spec.id,
                theirs,
                ours,
            });
        }
        Ok(MemberInfo {
            incarnation: member.incarnation,
            raft: spec.raft.clone(),
            http: spec.http.clone(),
            agent: spec.agent.clone(),
            hostname: answer.hostname,
            promote: false,
        })
    }
}
