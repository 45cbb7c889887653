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
use crate::durable;
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
    /// Somebody began to change the directory and was interrupted.
    #[error(
        "{path} is not complete: '{work}' was interrupted; run the same command again (a restore: \
         after emptying the directory)"
    )]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// What was interrupted.
        work: String,
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

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) member: Member,
    pub(crate) engine: EngineKind,
    pub(crate) cluster: Option<ClusterId>,
    /// Clusters whose log and state the directory may go on with: it was restored from one of them.
    pub(crate) parents: Vec<ClusterId>,
    /// Entries that are not applied, by index.
    pub(crate) skips: Vec<Skip>,
    /// What was begun in the directory and has to be finished before a master may use it.
    pub(crate) unfinished: Option<String>,
}

impl Content {
    /// A directory without a past.
    pub(crate) fn new(member: Member, engine: EngineKind) -> Self {
        Self {
            member,
            engine,
            cluster: None,
            parents: Vec::new(),
            skips: Vec::new(),
            unfinished: None,
        }
    }
}

/// An entry that an operator decided not to apply. Its index alone would also mean another entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) index: u64,
    /// Of its payload; see [`Skip::digest_of`].
    pub(crate) digest: u128,
}

impl Skip {
    pub(crate) fn digest_of(payload: &[u8]) -> u128 {
        xxhash_rust::xxh3::xxh3_128(payload)
    }
}

/// The identity of an open data directory. Holds the directory's lock as long as it lives.
#[derive(Debug)]
pub(crate) struct Identity {
    dir: PathBuf,
    member: Member,
    cluster: watch::Sender<Option<ClusterId>>,
    /// What the file says. Held while it is written.
    content: Mutex<Content>,
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
        let lock = lock(dir, true)?;
        let content = match read(dir)? {
            Some(content) => content,
            None => {
                let member = Member {
                    node,
                    incarnation: mint.incarnation(),
                };
                let content = Content::new(member, engine);
                write(dir, &content)?;
                content
            }
        };
        if let Some(work) = content.unfinished {
            return Err(IdentityError::Unfinished {
                path: dir.to_path_buf(),
                work,
            });
        }
        if content.member.node != node {
            return Err(IdentityError::OtherNode {
                path: dir.to_path_buf(),
                found: content.member.node,
                expected: node,
            });
        }
        if content.engine != engine {
            return Err(IdentityError::OtherEngine {
                path: dir.to_path_buf(),
                found: content.engine,
                expected: engine,
            });
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            member: content.member,
            cluster: watch::Sender::new(content.cluster),
            content: Mutex::new(content),
            _lock: lock,
        })
    }

    /// Whether the directory may go on with the state of that cluster as its own.
    pub(crate) fn descends_from(&self, cluster: ClusterId) -> bool {
        self.content().parents.contains(&cluster)
    }

    /// The clusters that [`Self::descends_from`] is true of.
    pub(crate) fn parents(&self) -> Vec<ClusterId> {
        self.content().parents.clone()
    }

    /// Entries that are not to be applied.
    pub(crate) fn skips(&self) -> Vec<Skip> {
        self.content().skips.clone()
    }

    /// Forgets the skips up to this index: these entries are gone from the log. Blocks on the disk.
    pub(crate) fn forget_skips(&self, upto: u64) -> Result<(), IdentityError> {
        let mut content = self.content();
        if content.skips.iter().all(|skip| skip.index > upto) {
            return Ok(());
        }
        let mut next = content.clone();
        next.skips.retain(|skip| skip.index > upto);
        write(&self.dir, &next)?;
        *content = next;
        Ok(())
    }

    fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(|e| e.into_inner())
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
        let mut content = self.content();
        match self.cluster() {
            Some(found) if found == cluster => Ok(()),
            Some(found) => Err(IdentityError::OtherCluster {
                found,
                expected: cluster,
            }),
            None => {
                let next = Content {
                    cluster: Some(cluster),
                    ..content.clone()
                };
                write(&self.dir, &next)?;
                *content = next;
                self.cluster.send_replace(Some(cluster));
                tracing::info!(cluster_id = %cluster, "this data directory now belongs to a cluster");
                Ok(())
            }
        }
    }
}

/// Takes the directory for this process; nobody else can use it until the file is closed.
pub(crate) fn lock(dir: &Path, make: bool) -> Result<File, IdentityError> {
    let path = dir.join(LOCK);
    let lock = File::options()
        .create(make)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error("open", &path))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => IdentityError::Locked(dir.to_path_buf()),
        TryLockError::Error(source) => io_error("lock", &path)(source),
    })?;
    Ok(lock)
}

/// What the file in the directory says; `None` when there is none.
pub(crate) fn read(dir: &Path) -> Result<Option<Content>, IdentityError> {
    let path = dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text)
            .map(Some)
            .map_err(|detail| IdentityError::Damaged { path, detail }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(IdentityError::Damaged {
            path,
            detail: "it is no text".to_owned(),
        }),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

fn render(content: &Content) -> String {
    let mut text = format!(
        "{FIRST_LINE}\nnode {}\nincarnation {}\n",
        content.member.node, content.member.incarnation
    );
    // Directories from before there was a choice have no such line.
    if content.engine != EngineKind::Sled {
        let _ = writeln!(text, "log {}", content.engine);
    }
    if let Some(cluster) = content.cluster {
        let _ = writeln!(text, "cluster {cluster}");
    }
    for parent in &content.parents {
        let _ = writeln!(text, "parent {parent}");
    }
    for skip in &content.skips {
        let _ = writeln!(text, "skip {} {:032x}", skip.index, skip.digest);
    }
    if let Some(work) = &content.unfinished {
        let _ = writeln!(text, "unfinished {work}");
    }
    let crc = crc32fast::hash(text.as_bytes());
    let _ = writeln!(text, "crc32 {crc:08x}");
    text
}

fn parse(text: &str) -> Result<Content, String> {
    let mut engine = EngineKind::Sled;
    let (mut parents, mut skips, mut unfinished) = (Vec::new(), Vec::new(), None);
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
            "parent" => parents.push(value.parse::<ClusterId>().map_err(|e| bad(&e))?),
            "skip" => skips.push(parse_skip(value).ok_or_else(|| bad(&"not an entry"))?),
            "unfinished" => unfinished = Some(value.to_owned()),
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
    Ok(Content {
        member,
        engine,
        cluster,
        parents,
        skips,
        unfinished,
    })
}

fn parse_skip(value: &str) -> Option<Skip> {
    let (index, digest) = value.split_once(' ')?;
    Some(Skip {
        index: index.parse().ok()?,
        digest: u128::from_str_radix(digest, 16).ok()?,
    })
}

/// Replaces the file; durable on return.
pub(crate) fn write(dir: &Path, content: &Content) -> Result<(), IdentityError> {
    let path = dir.join(FILE);
    let aside = dir.join("identity.new");
    let mut file = File::create(&aside).map_err(io_error("make", &aside))?;
    failpoint!("identity.made");
    file.write_all(render(content).as_bytes())
        .and_then(|()| {
            failpoint!("identity.written");
            durable::sync_all(&file)
        })
        .map_err(io_error("write", &aside))?;
    failpoint!("identity.synced");
    std::fs::rename(&aside, &path).map_err(io_error("replace", &path))?;
    failpoint!("identity.renamed");
    File::open(dir)
        .and_then(|dir| durable::sync_all(&dir))
        .map_err(io_error("sync", dir))?;
    // The directory itself may be new, too.
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)
            .and_then(|parent| durable::sync_all(&parent))
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
        let content = Content::new(member, EngineKind::Sled);
        let text = render(&content);
        assert!(!text.contains("log"), "{text}");
        assert_eq!(parse(&text), Ok(content));
    }

    #[test]
    fn what_a_directory_went_through_is_read_back_and_unfinished_work_refuses_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mint = CountingIds::default();
        drop(open(dir.path(), 1, &mint).expect("new"));
        let mut content = read(dir.path()).expect("readable").expect("there");
        content.cluster = Some(ClusterId(5));
        content.parents = vec![ClusterId(3), ClusterId(4)];
        let skip = |index| Skip { index, digest: 99 };
        content.skips = vec![skip(7), skip(9)];
        write(dir.path(), &content).expect("written");
        assert_eq!(read(dir.path()).expect("readable"), Some(content.clone()));

        let identity = open(dir.path(), 1, &mint).expect("opens");
        assert!(identity.descends_from(ClusterId(4)) && !identity.descends_from(ClusterId(5)));
        identity.forget_skips(7).expect("written");
        assert_eq!(identity.skips(), [skip(9)]);
        drop(identity);
        assert_eq!(
            read(dir.path()).expect("readable").expect("there").skips,
            [skip(9)]
        );

        content.unfinished = Some("recover".to_owned());
        write(dir.path(), &content).expect("written");
        let text = open(dir.path(), 1, &mint)
            .expect_err("unfinished")
            .to_string();
        assert!(text.contains("'recover'") && !text.contains('\n'), "{text}");
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
