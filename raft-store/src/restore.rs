//! A data directory made from a saved snapshot, for a new cluster.
//!
//! The new cluster begins with one member; others join it empty, as they join any cluster. So there
//! is one place where its id is made, and no way to start two clusters that take each other for
//! one. The state is the one that was saved, bit by bit: it changes its cluster by an entry of the
//! log, when the first leader begins.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use regency_runtime::IdMint;
use regency_types::{ClusterId, Incarnation};

use crate::config::{EngineKind, PeerSpec};
use crate::engine::{self, EngineError};
use crate::identity::{self, Content, IdentityError};
use crate::members::former::Former;
use crate::record::Position;
use crate::snapshot::{self, SnapshotError, SnapshotFacts, SnapshotStore};
use crate::types::{Member, MemberInfo, Membership, StoredMembership, Vote};

/// What to restore, and where.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The saved snapshot.
    pub snapshot: PathBuf,
    /// The directory to make. Must be empty or missing.
    pub data_dir: PathBuf,
    /// The one member that the new cluster has at first: whose directory it is.
    pub member: PeerSpec,
    /// What keeps its log.
    pub engine: EngineKind,
    /// Version of this program, noted in what is written.
    pub version: String,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// Id of the new cluster.
    pub cluster: ClusterId,
    /// Identity of the new directory.
    pub incarnation: Incarnation,
    /// The snapshot, as it was saved.
    pub snapshot: SnapshotFacts,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot cannot be used, or the new one not be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The directory holds something.
    #[error(
        "{dir} is not empty, it holds '{found}'; a snapshot is restored into a new directory only"
    )]
    Used {
        /// The directory.
        dir: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// The snapshot holds nothing.
    #[error("snapshot {0} holds no entry; there is nothing to restore")]
    Empty(PathBuf),
    /// What was written is not what was saved.
    #[error("the state in {dir} has digest {found:032x}, saved was {saved:032x}; check the disk")]
    Differs {
        /// The directory.
        dir: PathBuf,
        /// What was read back.
        found: u128,
        /// What should have been.
        saved: u128,
    },
    /// The new member makes no sense.
    #[error("the new member is impossible: {0}")]
    Member(String),
    /// The directory cannot be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log cannot be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The disk or file system failed.
    #[error("cannot write {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Makes a data directory for a new cluster from a saved snapshot, which is verified first. Blocks
/// on the disk. Interrupted, it leaves a directory that no master starts with.
///
/// # Errors
/// When the snapshot is not whole, the directory is used, or the disk fails.
pub fn restore_snapshot(
    request: &RestoreRequest,
    mint: &dyn IdMint,
) -> Result<Restored, RestoreError> {
    let (facts, mut meta, state) = snapshot::verified(&request.snapshot)?;
    let last = meta
        .last_log_id
        .ok_or_else(|| RestoreError::Empty(request.snapshot.clone()))?;
    let dir = &request.data_dir;
    let io_error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RestoreError::Io { path, source }
    };
    std::fs::create_dir_all(dir).map_err(io_error(dir))?;
    check_unused(dir)?;

    let member = Member {
        node: request.member.id,
        incarnation: mint.incarnation(),
    };
    let cluster = mint.cluster_id();
    let mut identity = Content {
        cluster: Some(cluster),
        // A state that was restored and never led is still that of the cluster before.
        parents: BTreeSet::from_iter(state.cluster().into_iter().chain([facts.cluster]))
            .into_iter()
            .collect(),
        unfinished: Some("snapshot restore".to_owned()),
        ..Content::new(member, request.engine)
    };
    let _lock = identity::lock(dir, true)?;
    identity::write(dir, &identity)?;

    let log = dir.join("log");
    let (mut engine, _) = engine::open(request.engine, &log)?;
    let vote = Vote::new(last.leader_id.term, member.node.0);
    engine.save_vote(&vote).map_err(io_error(&log))?;
    engine.sync().map_err(io_error(&log))?;
    engine
        .purge_upto(Position {
            term: last.leader_id.term,
            index: last.index,
        })
        .map_err(io_error(&log))?;
    while engine.tidy().map_err(io_error(&log))? {}
    drop(engine);

    let info = MemberInfo {
        incarnation: member.incarnation,
        hostname: host_of(&request.member.http),
        raft: request.member.raft.clone(),
        http: request.member.http.clone(),
        agent: request.member.agent.clone(),
        promote: false,
    };
    let membership = Membership::new(
        vec![BTreeSet::from([member.node.0])],
        BTreeMap::from([(member.node.0, info)]),
    )
    .map_err(|error| RestoreError::Member(error.to_string()))?;
    meta.last_membership = StoredMembership::new(Some(last), membership);
    let store = SnapshotStore::open(&dir.join("snapshots"), &request.version)?;
    let written = store.write_descended(
        cluster,
        &identity.parents,
        &meta,
        // Ids of the cluster before may be given again: none of its masters can call this one.
        &Former::default(),
        &state,
    )?;
    let found = regency_stored::state_digest(&snapshot::load(&written, Some(cluster))?.state);
    if found != facts.state_digest {
        return Err(RestoreError::Differs {
            dir: dir.clone(),
            found,
            saved: facts.state_digest,
        });
    }
    identity.unfinished = None;
    identity::write(dir, &identity)?;
    Ok(Restored {
        cluster,
        incarnation: member.incarnation,
        snapshot: facts,
    })
}

/// The host in `host:port`.
fn host_of(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']']).to_owned()
}

fn check_unused(dir: &Path) -> Result<(), RestoreError> {
    let io_error = |source| RestoreError::Io {
        path: dir.to_path_buf(),
        source,
    };
    for entry in std::fs::read_dir(dir).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        // The top of a file system has it.
        if name != "lost+found" {
            return Err(RestoreError::Used {
                dir: dir.to_path_buf(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}
