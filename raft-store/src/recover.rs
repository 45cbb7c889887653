//! What an operator does to a stopped master when nothing else helps: make it go on alone, when the
//! majority is lost for good ([`Recovery`]), and keep it from applying an entry ([`skip`]).

mod replace;
pub mod skip;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use prost::Message as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_runtime::IdMint;
use regency_types::{ClusterId, Incarnation, NodeId};

use crate::convert;
use crate::engine::{self, EngineError};
use crate::identity::{self, Content, IdentityError};
use crate::log_dir;
use crate::offline::{DataDir, OfflineError, copy_all};
use crate::record::{Kind, Position, Record};
use crate::snapshot::{Loaded, SnapshotError, SnapshotMember, SnapshotStore};
use crate::types::{Membership, Vote};

use replace::Replacement;

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The directory cannot be read.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// Its identity cannot be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log cannot be written.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A snapshot cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The directory never belonged to a cluster.
    #[error("{0} belongs to no cluster; there is nothing to recover")]
    NoCluster(PathBuf),
    /// The directory belonged to a cluster once that does not count it as a member.
    #[error(
        "the cluster does not know node {node} with this directory as a member; recover a master \
         that is one"
    )]
    NotMember {
        /// The master.
        node: NodeId,
    },
    /// There is nobody to go on without.
    #[error("node {node} is the only member already; start it")]
    Alone {
        /// The master.
        node: NodeId,
    },
    /// Entries between the snapshot and the log are missing.
    #[error(
        "the log begins after entry {purged}, but the newest readable snapshot ends at \
         {snapshot:?}: this master lost part of its state; recover another one, or restore a saved \
         snapshot"
    )]
    StateLost {
        /// Last entry that was removed from the log.
        purged: u64,
        /// Last entry in the newest readable snapshot.
        snapshot: Option<u64>,
    },
    /// The log or the snapshots lie elsewhere.
    #[error(
        "{0} is a link, or on another file system than its directory; put it into the directory first"
    )]
    Elsewhere(PathBuf),
    /// An entry that cannot be skipped.
    #[error("entry {index} cannot be skipped: {why}")]
    NotSkippable {
        /// Its index.
        index: u64,
        /// Why not, and what to do.
        why: String,
    },
    /// The disk or file system failed.
    #[error("cannot use {path}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RecoverError {
    let path = path.to_path_buf();
    move |source| RecoverError::Io { path, source }
}

/// What would happen to a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryPlan {
    /// The master that goes on alone.
    pub node: NodeId,
    /// Its directory.
    pub incarnation: Incarnation,
    /// The cluster that ends.
    pub cluster: ClusterId,
    /// Term and index of the last entry in the log. All up to it will count.
    pub last: Option<(u64, u64)>,
    /// Term and index of the last entry that is noted as committed.
    pub committed: Option<(u64, u64)>,
    /// Index of the last entry in the newest snapshot.
    pub snapshot: Option<u64>,
    /// Whether the master had a vote.
    pub voter: bool,
    /// Members that are left out.
    pub drops: Vec<SnapshotMember>,
}

/// A directory that may go on alone. No master can use it while this lives.
#[derive(Debug)]
pub struct Recovery {
    dir: PathBuf,
    data: DataDir,
    plan: RecoveryPlan,
    own: Membership,
    newest: Option<Loaded>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The new cluster, of one member.
    pub cluster: ClusterId,
    /// What was in the directory before.
    pub kept: PathBuf,
}

impl Recovery {
    /// Looks at a directory and changes nothing. Blocks on the disk.
    ///
    /// # Errors
    /// When the directory cannot be read, or its master cannot go on alone.
    pub fn plan(dir: &Path) -> Result<Self, RecoverError> {
        let data = DataDir::open(dir)?;
        let facts = data.facts().clone();
        let cluster = facts
            .cluster
            .ok_or_else(|| RecoverError::NoCluster(dir.to_path_buf()))?;
        let snapshots = dir.join("snapshots");
        let newest = SnapshotStore::look(&snapshots).load_newest(Some(cluster))?;
        let newest = newest.map(|(loaded, _)| loaded);
        let snapshot = newest.as_ref().and_then(|loaded| loaded.meta.last_log_id);
        let snapshot = snapshot.map(|at| at.index);
        if let Some((_, purged)) = facts.purged
            && snapshot.is_none_or(|snapshot| snapshot < purged)
        {
            return Err(RecoverError::StateLost { purged, snapshot });
        }
        let membership = membership(dir, &data, newest.as_ref())?;
        let own = membership
            .get_node(&facts.node.0)
            .filter(|own| own.incarnation == facts.incarnation)
            .cloned()
            .ok_or(RecoverError::NotMember { node: facts.node })?;
        let mut drops = SnapshotMember::all(&membership);
        let voter = drops
            .iter()
            .any(|member| member.node == facts.node && member.voter);
        drops.retain(|member| member.node != facts.node);
        if drops.is_empty() && voter {
            return Err(RecoverError::Alone { node: facts.node });
        }
        let own = Membership::new(
            vec![BTreeSet::from([facts.node.0])],
            BTreeMap::from([(facts.node.0, own)]),
        )
        .map_err(|error| bad(dir, &error))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            plan: RecoveryPlan {
                node: facts.node,
                incarnation: facts.incarnation,
                cluster,
                // An engine without entries says where they would begin.
                last: facts.last.or(facts.purged),
                committed: facts.committed,
                snapshot,
                voter,
                drops,
            },
            data,
            own,
            newest,
        })
    }

    /// What would happen.
    #[must_use]
    pub fn facts(&self) -> &RecoveryPlan {
        &self.plan
    }

    /// Makes this master the only member of a new cluster, with all it has. Interrupted, it leaves a
    /// directory that no master starts with, until [`finish`] is called.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn run(self, mint: &dyn IdMint, version: &str) -> Result<Recovered, RecoverError> {
        let cluster = mint.cluster_id();
        let identity = self.data.identity();
        let mut parents = identity.parents.clone();
        parents.push(self.plan.cluster);
        parents.dedup();
        let replacement = Replacement::begin(&self.dir, &format!("recovery-{cluster}"))?;
        let log = replacement.part("log");
        let old = log_dir::settle(&self.dir, identity.engine).map_err(io_error(&self.dir))?;
        copy_all(&old, &log)?;
        self.append(&log)?;
        if let Some(newest) = &self.newest {
            let store = SnapshotStore::open(&replacement.part("snapshots"), version)?;
            store.write_descended(
                cluster,
                &parents,
                &newest.meta,
                &newest.former,
                &newest.state,
            )?;
        }
        let next = Content {
            cluster: Some(cluster),
            parents,
            ..identity.clone()
        };
        let kept = replacement.commit(identity, &next)?;
        Ok(Recovered { cluster, kept })
    }

    /// Adds the entry by which this master is the only member.
    fn append(&self, log: &Path) -> Result<(), RecoverError> {
        let (mut engine, found) = engine::open(self.plan_engine(), log)?;
        let last = found.last.map_or((0, None), |at| (at.term, Some(at.index)));
        let voted = found.vote.as_ref().map_or(0, |vote| vote.leader_id.term);
        let term = voted.max(last.0) + 1;
        let entry = Record {
            kind: Kind::Membership,
            at: Position {
                term,
                index: last.1.map_or(0, |index| index + 1),
            },
            payload: convert::membership_to_proto(&self.own)
                .encode_to_vec()
                .into(),
        };
        engine
            .save_vote(&Vote::new(term, self.plan.node.0))
            .and_then(|()| engine.append(&[entry]))
            .and_then(|()| engine.sync())
            .map_err(io_error(log))
    }

    fn plan_engine(&self) -> crate::config::EngineKind {
        self.data.facts().engine
    }
}

/// Finishes a recovery that was interrupted after the directory had begun to change. `None` when
/// there is none.
///
/// # Errors
/// When the directory is in use or the disk fails.
pub fn finish(dir: &Path) -> Result<Option<Recovered>, RecoverError> {
    let _lock = identity::lock(dir, false)?;
    let Some(identity) = identity::read(dir)? else {
        return Ok(None);
    };
    let Some(replacement) = Replacement::interrupted(dir, &identity) else {
        return Ok(None);
    };
    let (next, kept) = replacement.finish()?;
    Ok(next.cluster.map(|cluster| Recovered { cluster, kept }))
}

/// The newest membership that the directory knows, committed or not, as Raft counts.
fn membership(
    dir: &Path,
    data: &DataDir,
    newest: Option<&Loaded>,
) -> Result<Membership, RecoverError> {
    let mut found = newest.map(|loaded| loaded.meta.last_membership.membership().clone());
    data.records(|record| {
        if record.kind == Kind::Membership {
            let message = proto::Membership::decode(record.payload.clone())?;
            let membership = convert::membership_from_proto(&message);
            found = Some(membership.map_err(io::Error::other)?);
        }
        Ok::<_, io::Error>(())
    })
    .map_err(io_error(&dir.join("log")))?;
    found.ok_or_else(|| RecoverError::NoCluster(dir.to_path_buf()))
}

fn bad(dir: &Path, error: &dyn std::fmt::Display) -> RecoverError {
    io_error(dir)(io::Error::new(
        io::ErrorKind::InvalidData,
        error.to_string(),
    ))
}
