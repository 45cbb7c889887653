//! Why bytes are not what they should be.

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Damaged: no version of this program writes this.
    #[error("{field} is malformed: {reason}")]
    Malformed {
        /// Which field, as `Message.field` of the .proto file.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A choice that this version does not know: a newer program wrote it.
    #[error("{what} is not known to this version")]
    Unknown {
        /// Which choice, as `Message.field` of the .proto file.
        what: &'static str,
    },
    /// It says itself that this version cannot understand it.
    #[error("{what} needs a reader of version {min_reader_version}, this one has {reader_version}")]
    TooNew {
        /// Which message.
        what: &'static str,
        /// The lowest version that understands it.
        min_reader_version: u32,
        /// This version.
        reader_version: u32,
    },
}

impl StoredError {
    pub(crate) fn malformed(field: &'static str, reason: impl ToString) -> Self {
        Self::Malformed {
            field,
            reason: reason.to_string(),
        }
    }
}
