//! Which program this is.

use regency_wire::v1::VersionInfo;
use serde_json::{Value, json};

/// The Mesos version whose behaviour clients may count on; they read it as three integers.
pub(super) const MESOS_VERSION: &str = "1.11.0";
/// Our own.
pub(super) const OWN: &str = env!("CARGO_PKG_VERSION");

/// The answer of `/version`.
pub(super) fn version() -> Value {
    json!({
        "version": MESOS_VERSION,
        "regency_version": OWN,
    })
}

/// The answer to GET_VERSION.
pub(super) fn version_info() -> VersionInfo {
    VersionInfo {
        version: MESOS_VERSION.to_owned(),
        ..VersionInfo::default()
    }
}
