//! What a call must satisfy by itself, before anybody looks at the state of the cluster.
//!
//! Mesos answers these with a 400 and one fixed sentence, which clients' users know and search
//! for; the texts are therefore Mesos' own. Whether a framework, an agent or an offer exists is
//! not asked here.

pub mod agent;
pub mod executor;
pub mod operator;
pub mod scheduler;
pub mod task;

/// Length in bytes of a uuid on the wire.
const UUID_BYTES: usize = 16;

/// A call that is not valid by itself; the text is fit for a 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to validate {api}::Call: {reason}")]
pub struct InvalidCall {
    /// The API the call belongs to, such as `scheduler`.
    pub api: &'static str,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A part that calls of this type have is not there. A `type` that is not known here counts
    /// as none.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
    /// The framework id of the call and that of the framework info in it are not the same.
    #[error("'framework_id' differs from '{0}'")]
    FrameworkIdDiffers(&'static str),
    /// What should be a uuid has not 16 bytes.
    #[error("Not a valid UUID")]
    BadUuid,
    /// The principal in the framework info is not the one that was authenticated.
    #[error(
        "Authenticated principal '{authenticated}' does not match principal '{declared}' set in \
         `FrameworkInfo`"
    )]
    PrincipalDiffers {
        /// Who sent the call.
        authenticated: String,
        /// Whom the framework info names.
        declared: String,
    },
    /// A field has a value that it must not have.
    #[error("Not expecting '{field}' to be {value}")]
    BadValue {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
}

/// Asks for an optional part of a call.
fn present<T>(part: Option<&T>, name: &'static str) -> Result<(), Reason> {
    part.map(|_| ()).ok_or(Reason::Missing(name))
}

/// Asks for a uuid of the right length.
fn uuid(bytes: &[u8]) -> Result<(), Reason> {
    if bytes.len() == UUID_BYTES {
        Ok(())
    } else {
        Err(Reason::BadUuid)
    }
}
