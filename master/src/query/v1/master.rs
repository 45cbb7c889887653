//! GET_MASTER, GET_VERSION, GET_FLAGS and GET_METRICS.

use regency_wire::v1::master::response::{GetFlags, GetMaster, GetMetrics, GetVersion};
use regency_wire::v1::{Flag, Metric, VersionInfo};

use crate::query::master::{elected, leader};
use crate::query::metrics::snapshot;
use crate::query::{MESOS_VERSION, View};

/// The leader, whoever answers. The times are those of the leader's process and are left out
/// where another one answers.
pub(super) fn get(view: &View<'_>) -> GetMaster {
    let elected = elected(view);
    GetMaster {
        master_info: leader(view),
        start_time: elected.map(|_| view.identity.started.as_secs_f64()),
        elected_time: elected.map(|at| at.as_secs_f64()),
    }
}

pub(super) fn version() -> GetVersion {
    GetVersion {
        version_info: VersionInfo {
            version: MESOS_VERSION.to_owned(),
            ..VersionInfo::default()
        },
    }
}

pub(super) fn flags(view: &View<'_>) -> GetFlags {
    GetFlags {
        flags: view
            .identity
            .flags
            .iter()
            .map(|(name, value)| Flag {
                name: name.clone(),
                value: Some(value.clone()),
            })
            .collect(),
    }
}

pub(super) fn metrics(view: &View<'_>) -> GetMetrics {
    GetMetrics {
        metrics: snapshot(view)
            .into_iter()
            .map(|(name, value)| Metric {
                name,
                value: Some(value),
            })
            .collect(),
    }
}
