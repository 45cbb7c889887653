//! `/state`, `/version` and `/flags`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::List;
use super::agent::{AgentJson, is_unreachable, registered};
use super::framework::{completed, present};
use crate::query::master::{CAPABILITIES, elected, leader, own_pid};
use crate::query::{MESOS_VERSION, View};

#[derive(Serialize)]
struct LeaderJson {
    id: String,
    pid: String,
    port: u32,
    hostname: String,
}

#[derive(Serialize)]
struct StateJson<'a, S, F, C> {
    version: &'static str,
    regency_version: &'a str,
    start_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elected_time: Option<f64>,
    id: &'a str,
    pid: String,
    hostname: &'a str,
    capabilities: [&'static str; CAPABILITIES.len()],
    activated_slaves: f64,
    deactivated_slaves: f64,
    unreachable_slaves: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader_info: Option<LeaderJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_log_file: Option<&'a str>,
    flags: &'a BTreeMap<String, String>,
    slaves: S,
    recovered_slaves: [(); 0],
    frameworks: F,
    completed_frameworks: C,
    orphan_tasks: [(); 0],
    unregistered_frameworks: [(); 0],
}

/// The answer of `/state`: everything.
///
/// `id`, `pid` and `hostname` are those of the master that answers, `leader` names the leader:
/// tools find out by comparing them whom they asked.
pub fn state<'a>(view: &'a View<'a>) -> impl Serialize + 'a {
    let identity = view.identity;
    let n_unreachable = view.state.agents().filter(|agent| is_unreachable(agent));
    let n_unreachable = n_unreachable.count();
    let n_registered = registered(view).count();
    let n_active = registered(view)
        .filter(|agent| view.is_active(agent))
        .count();
    let leader = leader(view).map(|info| LeaderJson {
        id: info.id,
        pid: info.pid.unwrap_or_default(),
        port: info.port,
        hostname: info.hostname.unwrap_or_default(),
    });
    StateJson {
        version: MESOS_VERSION,
        regency_version: &identity.version,
        start_time: identity.started.as_secs_f64(),
        elected_time: elected(view).map(|at| at.as_secs_f64()),
        id: &identity.process,
        pid: own_pid(identity),
        hostname: &identity.hostname,
        capabilities: CAPABILITIES.map(|capability| capability.as_str_name()),
        activated_slaves: n_active as f64,
        deactivated_slaves: (n_registered - n_active) as f64,
        unreachable_slaves: n_unreachable as f64,
        leader: leader.as_ref().map(|leader| leader.pid.clone()),
        leader_info: leader,
        cluster: identity.cluster.as_deref(),
        external_log_file: identity.flags.get("external_log_file").map(String::as_str),
        flags: &identity.flags,
        slaves: List(move || registered(view).map(move |agent| AgentJson::new(view, agent))),
        recovered_slaves: [],
        frameworks: present(view, None),
        completed_frameworks: completed(view, None),
        orphan_tasks: [],
        unregistered_frameworks: [],
    }
}

/// The answer of `/version`.
pub fn version<'a>(view: &View<'a>) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Version<'a> {
        version: &'static str,
        regency_version: &'a str,
    }
    Version {
        version: MESOS_VERSION,
        regency_version: &view.identity.version,
    }
}

/// The answer of `/flags`.
pub fn flags<'a>(view: &View<'a>) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Flags<'a> {
        flags: &'a BTreeMap<String, String>,
    }
    Flags {
        flags: &view.identity.flags,
    }
}
