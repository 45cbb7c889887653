//! Ids: newtypes whose constructors validate. Nothing is minted here.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest user-supplied id in bytes (Mesos 1.11).
pub const ID_BYTES_MAX: usize = 255;

/// Why a string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The string is empty.
    #[error("an id must not be empty")]
    Empty,
    /// The string is longer than [`ID_BYTES_MAX`].
    #[error("an id must not be longer than {ID_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// The string is `.` or `..`, which would name a directory of the sandbox tree.
    #[error("'{0}' is disallowed as an id")]
    Reserved(String),
    /// The string holds a control character or a path separator.
    #[error("'{0}' contains invalid characters")]
    BadCharacter(String),
}

/// Checks that Mesos would take the string as an id.
///
/// # Errors
/// What is wrong with it.
pub fn validate_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong(text.len()));
    }
    if text == "." || text == ".." {
        return Err(IdError::Reserved(text.to_owned()));
    }
    if text
        .chars()
        .any(|c| c.is_control() || c == '/' || c == '\\')
    {
        return Err(IdError::BadCharacter(text.to_owned()));
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// An id from a string that came from outside.
            ///
            /// # Errors
            /// When Mesos would refuse the string as an id.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                validate_id(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as a string.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
    };
}

text_id!(
    /// A framework's id: `<cluster id>-NNNN` for those of this cluster; foreign ones are adopted
    /// as Mesos does.
    FrameworkId
);
text_id!(
    /// An agent's id: `<cluster id>-S<n>` for those of this cluster.
    AgentId
);
text_id!(
    /// A task's id, chosen by its framework and unique within it.
    TaskId
);
text_id!(
    /// An executor's id, chosen by its framework and unique within it and an agent.
    ExecutorId
);

text_id!(
    /// An operation's id, chosen by its framework and unique within it.
    OperationId
);

/// An operation within its framework.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationKey {
    /// The framework that asked for it.
    pub framework: FrameworkId,
    /// The id that framework gave it.
    pub operation: OperationId,
}

impl fmt::Display for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.operation)
    }
}

/// A task within its framework.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    /// The framework that launched it.
    pub framework: FrameworkId,
    /// The id that framework gave it.
    pub task: TaskId,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.task)
    }
}

/// Number of an offer of this cluster, from a replicated counter and never used again. Clients
/// see `<cluster id>-O<n>`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct OfferId(pub u64);

/// Number of a master within the raft membership.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub u128);

        impl $name {
            /// From the 16 raw bytes Mesos uses for uuids; `None` when there are not 16.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
            }

            /// The 16 raw bytes.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                uuid::Uuid::from_u128(self.0).hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Ok(Self(uuid::Uuid::parse_str(text)?.as_u128()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = uuid::Error;
            fn try_from(text: String) -> Result<Self, uuid::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

uuid_id!(
    /// Identity of a cluster, minted once at bootstrap and anew at a restore from backup.
    ClusterId
);
uuid_id!(
    /// Identity of a master's data directory, minted when the directory is first used. A member
    /// of the cluster is a node id *with* its incarnation, so a wiped master is a stranger.
    Incarnation
);
uuid_id!(
    /// Identity of an agent's checkpoint directory, minted when the directory is first used.
    AgentEpoch
);
uuid_id!(
    /// Identity of one boot of an agent's machine, as its kernel gives it.
    BootId
);
uuid_id!(
    /// Identity of one subscription of a framework; the `Mesos-Stream-Id` header.
    StreamId
);
uuid_id!(
    /// Identity of one status update.
    UpdateUuid
);

impl ClusterId {
    /// The visible id of framework number `n`.
    ///
    /// # Panics
    /// Never: a uuid with digits is a valid id.
    #[must_use]
    pub fn framework_id(self, n: u64) -> FrameworkId {
        FrameworkId::new(format!("{self}-{n:04}")).expect("a uuid with digits is a valid id")
    }

    /// The visible id of agent number `n`.
    ///
    /// # Panics
    /// Never: a uuid with digits is a valid id.
    #[must_use]
    pub fn agent_id(self, n: u64) -> AgentId {
        AgentId::new(format!("{self}-S{n}")).expect("a uuid with digits is a valid id")
    }

    /// The visible id of an offer.
    #[must_use]
    pub fn offer_id(self, offer: OfferId) -> String {
        format!("{self}-O{}", offer.0)
    }

    /// The offer whose visible id is `text`; `None` when it is not an offer id of this cluster in
    /// the one form [`Self::offer_id`] gives.
    #[must_use]
    pub fn parse_offer_id(self, text: &str) -> Option<OfferId> {
        let n = text.strip_prefix(&self.to_string())?.strip_prefix("-O")?;
        let offer = OfferId(n.parse().ok()?);
        (self.offer_id(offer) == text).then_some(offer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_mesos_refuses_are_refused() {
        assert_eq!(TaskId::new(""), Err(IdError::Empty));
        assert!(matches!(TaskId::new(".."), Err(IdError::Reserved(_))));
        assert!(matches!(TaskId::new("a/b"), Err(IdError::BadCharacter(_))));
        assert!(matches!(TaskId::new("a\nb"), Err(IdError::BadCharacter(_))));
        assert_eq!(TaskId::new("x".repeat(256)), Err(IdError::TooLong(256)));
        assert!(TaskId::new("x".repeat(255)).is_ok());
        assert!(TaskId::new("spark 1:ä").is_ok());
    }

    #[test]
    fn offer_ids_round_trip_and_foreign_ones_are_unknown() {
        let cluster = ClusterId(0x1234);
        let text = cluster.offer_id(OfferId(17));
        assert_eq!(cluster.parse_offer_id(&text), Some(OfferId(17)));
        assert_eq!(ClusterId(1).parse_offer_id(&text), None);
        assert_eq!(cluster.parse_offer_id(&text.replace("-O17", "-O+17")), None);
        assert_eq!(cluster.parse_offer_id(&text.replace("-O17", "-O017")), None);
    }
}
