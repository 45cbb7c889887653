//! Who this data directory is.
//!
//! A member of the cluster is a node id with an incarnation: a uuid minted when a data directory
//! is first used. A master that lost its disk therefore comes back as a stranger, which is right:
//! it forgot whom it voted for. The directory also knows its cluster, so that a mistyped path
//! cannot mix two of them, and holds a lock, so that two processes cannot share it.

use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use regency_runtime::IdMint;
use regency_types::{ClusterId, Incarnation, NodeId};
use tokio::sync::watch;

use crate::config::EngineKind;
use crate::failpoint::failpoint;
use crate::types::Member;

pub(crate) const FILE: &str = "identity";
pub(crate) const LOCK: &str = "lock";
const FIRST_LINE: &str = "regency master 1";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk or file system failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process uses the directory.
    #[error("{0} is in use by another process; stop it first")]
    Locked(PathBuf),
    /// The directory was made for another node id.
    #[error(
        "{path} belongs to node {found}, but this master is started as node {expected}; start it \
         as node {found} or give it another directory"
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asked for it.
        expected: NodeId,
    },
    /// The log in the directory is kept by another engine.
    #[error(
        "{path} keeps its log with the engine '{found}', but this master is started with \
         '{expected}'; start it with --log-engine {found}, or change the log first with `regency raft \
         convert --data-dir {path} --to {expected}`"
    )]
    OtherEngine {
        /// The directory.
        path: PathBuf,
        /// What it was made with.
        found: EngineKind,
        /// What was asked for.
        expected: EngineKind,
    },
    /// A peer says that this directory should belong to another cluster.
    #[error(
        "this directory belongs to cluster {found}, not to cluster {expected}; check the list of \
         peers, or give this master an empty directory"
    )]
    OtherCluster {
        /// The cluster it belongs to.
        found: ClusterId,
        /// The cluster it was asked to join.
        expected: ClusterId,
    },
    /// The file is not one that this program wrote.
    #[error(
        "{path} is damaged: {detail}; remove this master from the cluster, move its data directory \
         aside, and add it as a new master with an empty directory, under a node id never used \
         before"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

pub(crate) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_path_buf();
    move |source| IdentityError::Io {
        action,
        path,
        source,
    }
}

/// The identity of an open data directory. Holds the directory's lock as long as it lives.
#[derive(Debug)]
pub(crate) struct Identity {
    dir: PathBuf,
    member: Member,
    engine: EngineKind,
    cluster: watch::Sender<Option<ClusterId>>,
    /// Makes writes of the file exclusive.
    writing: Mutex<()>,
    _lock: File,
}

impl Identity {
    /// Opens the directory for `node` with a log kept by `engine`; makes it, and mints its
    /// incarnation, when it is new.
    pub(crate) fn open(
        dir: &Path,
        node: NodeId,
        engine: EngineKind,
        mint: &dyn IdMint,
    ) -> Result<Self, IdentityError> {
        std::fs::create_dir_all(dir).map_err(io_error("make", dir))?;
        let lock_path = dir.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => IdentityError::Locked(dir.to_path_buf()),
            TryLockError::Error(source) => io_error("lock", &lock_path)(source),
        })?;

        let path = dir.join(FILE);
        let (member, found, cluster) = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text).map_err(|detail| IdentityError::Damaged {
                path: path.clone(),
                detail,
            })?,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(IdentityError::Damaged {
                    path,
                    detail: "it is no text".to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let member = Member {
                    node,
                    incarnation: mint.incarnation(),
                };
                write(dir, member, engine, None)?;
                (member, engine, None)
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        if member.node != node {
            return Err(IdentityError::OtherNode {
                path: dir.to_path_buf(),
                found: member.node,
                expected: node,
            });
        }
        if found != engine {
            return Err(IdentityError::OtherEngine {
                path: dir.to_path_buf(),
                found,
                expected: engine,
            });
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            member,
            engine,
            cluster: watch::Sender::new(cluster),
            writing: Mutex::new(()),
            _lock: lock,
        })
    }

    pub(crate) fn member(&self) -> Member {
        self.member
    }

    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        *self.cluster.borrow()
    }

    /// Changes once, from `None` to the cluster.
    pub(crate) fn watch_cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.cluster.subscribe()
    }

    /// Makes the directory belong to `cluster`; durable on return. Does nothing when it already
    /// does. Blocks on the disk.
    pub(crate) fn join(&self, cluster: ClusterId) -> Result<(), IdentityError> {
        let _writing = self.writing.lock().unwrap_or_else(|e| e.into_inner());
        match self.cluster() {
            Some(found) if found == cluster => Ok(()),
            Some(found) => Err(IdentityError::OtherCluster {
                found,
                expected: cluster,
            }),
            None => {
                write(&self.dir, self.member, self.engine, Some(cluster))?;
                self.cluster.send_replace(Some(cluster));
                tracing::info!(cluster_id = %cluster, "this data directory now belongs to a cluster");
                Ok(())
            }
        }
    }
}

fn render(member: Member, engine: EngineKind, cluster: Option<ClusterId>) -> String {
    let mut text = format!(
        "{FIRST_LINE}\nnode {}\nincarnation {}\n",
        member.node, member.incarnation
    );
    // Directories from before there was a choice have no such line.
    if engine != EngineKind::Sled {
        let _ = writeln!(text, "log {engine}");
    }
    if let Some(cluster) = cluster {
        let _ = writeln!(text, "cluster {cluster}");
    }
    let crc = crc32fast::hash(text.as_bytes());
    let _ = writeln!(text, "crc32 {crc:08x}");
    text
}

/// What the file says.
pub(crate) fn parse(text: &str) -> Result<(Member, EngineKind, Option<ClusterId>), String> {
    let mut engine = EngineKind::Sled;
    let (mut node, mut incarnation, mut cluster, mut crc) = (None, None, None, None);
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(format!("the first line is not '{FIRST_LINE}'"));
    }
    for line in lines {
        let (key, value) = line
            .split_once(' ')
            .ok_or_else(|| format!("line '{line}' has no value"))?;
        let bad = |error: &dyn std::fmt::Display| format!("line '{line}': {error}");
        match key {
            "node" => node = Some(value.parse().map(NodeId).map_err(|e| bad(&e))?),
            "incarnation" => {
                incarnation = Some(value.parse::<Incarnation>().map_err(|e| bad(&e))?);
            }
            "cluster" => cluster = Some(value.parse::<ClusterId>().map_err(|e| bad(&e))?),
            "log" => engine = value.parse().map_err(|e| bad(&e))?,
            "crc32" => crc = Some(value.to_owned()),
            _ => return Err(format!("line '{line}' is unknown")),
        }
    }
    let member = Member {
        node: node.ok_or("there is no node")?,
        incarnation: incarnation.ok_or("there is no incarnation")?,
    };
    let body = text
        .split_once("crc32 ")
        .map(|(body, _)| body)
        .ok_or("there is no checksum")?;
    if crc.as_deref() != Some(&format!("{:08x}", crc32fast::hash(body.as_bytes()))) {
        return Err("the checksum does not match".to_owned());
    }
    Ok((member, engine, cluster))
}

/// Replaces the file; durable on return.
pub(crate) fn write(
    dir: &Path,
    member: Member,
    engine: EngineKind,
    cluster: Option<ClusterId>,
) -> Result<(), IdentityError> {
    let path = dir.join(FILE);
    let aside = dir.join("identity.new");
    let mut file = File::create(&aside).map_err(io_error("make", &aside))?;
    failpoint!("identity.made");
    file.write_all(render(member, engine, cluster).as_bytes())
        .and_then(|()| {
            failpoint!("identity.written");
            file.sync_all()
        })
        .map_err(io_error("write", &aside))?;
    failpoint!("identity.synced");
    std::fs::rename(&aside, &path).map_err(io_error("replace", &path))?;
    failpoint!("identity.renamed");
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error("sync", dir))?;
    // The directory itself may be new, too.
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(io_error("sync", parent))?;
    }
    failpoint!("identity.done");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use regency_runtime::CountingIds;

    fn open(dir: &Path, node: u64, mint: &CountingIds) -> Result<Identity, IdentityError> {
        Identity::open(dir, NodeId(node), EngineKind::Sled, mint)
    }

    #[test]
    fn an_incarnation_lives_as_long_as_its_directory() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mint = CountingIds::default();
        let first = open(dir.path(), 1, &mint).expect("new").member();
        assert_eq!(open(dir.path(), 1, &mint).expect("again").member(), first);
        std::fs::remove_file(dir.path().join(FILE)).expect("wiped");
        assert_ne!(open(dir.path(), 1, &mint).expect("wiped").member(), first);
    }

    #[test]
    fn a_directory_of_another_node_is_refused_with_both_numbers() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mint = CountingIds::default();
        drop(open(dir.path(), 1, &mint).expect("new"));
        let text = open(dir.path(), 2, &mint)
            .expect_err("other node")
            .to_string();
        assert!(text.contains("node 1") && text.contains("node 2"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn a_directory_stays_with_its_log_engine() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mint = CountingIds::default();
        let open = |engine| Identity::open(dir.path(), NodeId(1), engine, &mint);
        let identity = open(EngineKind::Segment).expect("new");
        identity.join(ClusterId(5)).expect("joins");
        drop(identity);
        let text = open(EngineKind::Sled).expect_err("other").to_string();
        assert!(
            text.contains("'segment'") && text.contains("'sled'"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
        open(EngineKind::Segment).expect("the same again");
    }

    #[test]
    fn a_directory_from_before_there_was_a_choice_keeps_its_log_in_sled() {
        let member = Member {
            node: NodeId(1),
            incarnation: CountingIds::default().incarnation(),
        };
        let text = render(member, EngineKind::Sled, None);
        assert!(!text.contains("log"), "{text}");
        assert_eq!(parse(&text), Ok((member, EngineKind::Sled, None)));
    }

    #[test]
    fn two_processes_cannot_share_a_directory() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mint = CountingIds::default();
        let _first = open(dir.path(), 1, &mint).expect("new");
        assert!(matches!(
            open(dir.path(), 1, &mint),
            Err(IdentityError::Locked(_))
        ));
    }

    #[test]
    fn a_cluster_is_joined_once_and_for_ever() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mint = CountingIds::default();
        let identity = open(dir.path(), 1, &mint).expect("new");
        assert_eq!(identity.cluster(), None);
        identity.join(ClusterId(5)).expect("joins");
        identity.join(ClusterId(5)).expect("the same again");
        let text = identity.join(ClusterId(6)).expect_err("other").to_string();
        assert!(text.contains(&ClusterId(5).to_string()), "{text}");
        assert!(text.contains(&ClusterId(6).to_string()), "{text}");
        drop(identity);
        let identity = open(dir.path(), 1, &mint).expect("again");
        assert_eq!(identity.cluster(), Some(ClusterId(5)));
    }

    #[test]
    fn a_changed_file_is_damage() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mint = CountingIds::default();
        drop(open(dir.path(), 1, &mint).expect("new"));
        let path = dir.path().join(FILE);
        let text = std::fs::read_to_string(&path).expect("readable");
        std::fs::write(&path, text.replace("node 1", "node 2")).expect("writable");
        assert!(matches!(
            open(dir.path(), 2, &mint),
            Err(IdentityError::Damaged { .. })
        ));
        // Any bit, also one that makes it no text.
        for at in 0..text.len() {
            for bit in [0, 7] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, bytes).expect("writable");
                let error = open(dir.path(), 1, &mint).expect_err("a flipped bit");
                assert!(
                    error.to_string().contains("new master"),
                    "byte {at}: {error}"
                );
            }
        }
    }
}
