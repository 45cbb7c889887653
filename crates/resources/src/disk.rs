//! What makes one disk different from another.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// Where a disk resource lies and whether it outlives tasks.
///
/// Two of them are the same disk when their sources and persistence *ids* are equal. The mount
/// point and the principal are carried but not compared, as in Mesos: a framework may mount the
/// same volume at another path each time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DiskInfo {
    /// Set on a persistent volume.
    pub persistence: Option<Persistence>,
    /// Where a task sees the volume.
    pub volume: Option<Volume>,
    /// Set on a disk other than the agent's work directory.
    pub source: Option<DiskSource>,
}

/// The identity of a persistent volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Persistence {
    /// Unique per role and agent.
    pub id: String,
    /// Who created it.
    pub principal: Option<String>,
}

/// Where a task sees a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// Path inside the container.
    pub container_path: String,
    /// Path on the host, if one was given.
    pub host_path: Option<String>,
    /// Whether tasks may write.
    pub mode: VolumeMode,
}

/// Whether tasks may write to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of mesos.v1.Volume.Mode")]
pub enum VolumeMode {
    ReadWrite,
    ReadOnly,
}

/// A disk other than the agent's work directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskSource {
    /// What it is.
    pub kind: DiskSourceKind,
    /// Directory or mount point on the agent, for PATH and MOUNT.
    pub root: Option<String>,
    /// The resource provider's name for it.
    pub id: Option<String>,
    /// The storage profile it was made with.
    pub profile: Option<String>,
    /// The vendor of the storage plugin.
    pub vendor: Option<String>,
    /// Free words of the resource provider.
    pub metadata: Vec<(String, Option<String>)>,
}

/// What a disk source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DiskSourceKind {
    /// A directory; divisible.
    Path,
    /// A whole file system; indivisible.
    Mount,
    /// A block device; indivisible.
    Block,
    /// Storage that is not yet a volume.
    Raw,
}

impl DiskInfo {
    /// Whether the disk can only be used whole: a persistent volume, a file system, a device, or
    /// a raw disk that already has an identity.
    #[must_use]
    pub fn is_indivisible(&self) -> bool {
        self.persistence.is_some()
            || self
                .source
                .as_ref()
                .is_some_and(|source| match source.kind {
                    DiskSourceKind::Mount | DiskSourceKind::Block => true,
                    DiskSourceKind::Raw => source.id.is_some(),
                    DiskSourceKind::Path => false,
                })
    }

    fn identity(&self) -> (Option<&str>, Option<&DiskSource>) {
        (
            self.persistence.as_ref().map(|p| p.id.as_str()),
            self.source.as_ref(),
        )
    }
}

impl PartialEq for DiskInfo {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for DiskInfo {}

impl PartialOrd for DiskInfo {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DiskInfo {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl Hash for DiskInfo {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Display for DiskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            let kind = match source.kind {
                DiskSourceKind::Path => "PATH",
                DiskSourceKind::Mount => "MOUNT",
                DiskSourceKind::Block => "BLOCK",
                DiskSourceKind::Raw => "RAW",
            };
            f.write_str(kind)?;
            let parts = [&source.vendor, &source.id, &source.profile, &source.root];
            for part in parts.into_iter().flatten() {
                write!(f, ":{part}")?;
            }
            if self.persistence.is_some() || self.volume.is_some() {
                f.write_str(",")?;
            }
        }
        if let Some(persistence) = &self.persistence {
            f.write_str(&persistence.id)?;
        }
        if let Some(volume) = &self.volume {
            write!(f, ":{}", volume.container_path)?;
        }
        Ok(())
    }
}
