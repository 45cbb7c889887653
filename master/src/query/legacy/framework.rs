//! `/frameworks`, and frameworks within other answers.

use prost::Message;
use regency_state::State;
use regency_state::model::{Framework, Task};
use regency_types::{TaskState, WallTime};
use regency_wire::json::AsJson;
use regency_wire::v1::resource::AllocationInfo;
use regency_wire::v1::scheduler::OfferConstraints;
use regency_wire::v1::{FrameworkInfo, Label};
use serde::Serialize;

use super::List;
use super::executor::ExecutorJson;
use super::resources::Model;
use super::task::TaskJson;
use crate::query::View;
use crate::query::resource::allocation;
use crate::query::usage::{Usage, total};
use crate::query::v1::offer_constraints;

/// What `/state-summary` shows of a framework, and the others begin with.
#[derive(Serialize)]
pub(super) struct FrameworkShort<'a> {
    id: &'a str,
    name: &'a str,
    used_resources: Model,
    offered_resources: Model,
    capabilities: Vec<&'static str>,
    hostname: String,
    webui_url: String,
    active: bool,
    connected: bool,
    /// Known but not yet back since a change of leader: here there are none, ever.
    recovered: bool,
    #[serde(skip)]
    info: FrameworkInfo,
}

impl<'a> FrameworkShort<'a> {
    pub(super) fn new(view: &View<'_>, framework: &'a Framework) -> Self {
        let info = FrameworkInfo::decode(framework.spec.info.clone()).unwrap_or_default();
        let usage = Usage::of_framework(view.state, framework);
        let connected = view.is_connected(framework);
        Self {
            id: framework.id.as_str(),
            name: &framework.spec.name,
            used_resources: Model(total(&usage.used)),
            offered_resources: Model(total(&usage.offered)),
            capabilities: info
                .capabilities
                .iter()
                .map(|capability| capability.r#type().as_str_name())
                .collect(),
            hostname: info.hostname.clone().unwrap_or_default(),
            webui_url: info.webui_url.clone().unwrap_or_default(),
            active: connected,
            connected,
            recovered: false,
            info,
        }
    }

    /// As it last was: whoever ended uses nothing and is connected to nothing.
    fn ended(view: &View<'_>, framework: &'a Framework) -> Self {
        Self {
            active: false,
            connected: false,
            ..Self::new(view, framework)
        }
    }
}

#[derive(Serialize)]
struct FrameworkFull<'a, T, U, C, O, E> {
    #[serde(flatten)]
    short: FrameworkShort<'a>,
    user: &'a str,
    failover_timeout: f64,
    checkpoint: bool,
    registered_time: f64,
    unregistered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    /// Used and offered together.
    resources: Model,
    /// For whoever has but one.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'a str>>,
    tasks: T,
    unreachable_tasks: U,
    completed_tasks: C,
    offers: O,
    executors: E,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Label>>,
    offer_constraints: Constraints,
}

/// In the form of the scheduler API.
struct Constraints(OfferConstraints);

impl Serialize for Constraints {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AsJson(&self.0).serialize(serializer)
    }
}

#[derive(Serialize)]
struct OfferJson<'a> {
    id: String,
    framework_id: &'a str,
    allocation_info: AllocationInfo,
    slave_id: &'a str,
    resources: Model,
}

fn full<'a>(
    view: &View<'a>,
    framework: &'a Framework,
    unregistered: Option<WallTime>,
) -> impl Serialize + 'a {
    let state = view.state;
    let mut short = match unregistered {
        None => FrameworkShort::new(view, framework),
        Some(_) => FrameworkShort::ended(view, framework),
    };
    let info = std::mem::take(&mut short.info);
    let spec = &framework.spec;
    let capabilities = &spec.capabilities;
    let mut roles: Vec<&str> = spec.roles.iter().map(String::as_str).collect();
    let role = (!capabilities.multi_role).then(|| roles.pop()).flatten();
    let json = move |task: &'a Task| TaskJson::new(task, capabilities);
    FrameworkFull {
        resources: Model(&short.used_resources.0 + &short.offered_resources.0),
        short,
        user: &spec.user,
        // As it was asked for; some ask for less than nothing.
        failover_timeout: info.failover_timeout(),
        checkpoint: spec.checkpoint,
        registered_time: framework.registered.as_secs_f64(),
        unregistered_time: unregistered.map_or(0.0, WallTime::as_secs_f64),
        reregistered_time: framework.reregistered.map(WallTime::as_secs_f64),
        principal: spec.principal.as_deref(),
        role,
        roles: capabilities.multi_role.then_some(roles),
        tasks: List(move || live(state, framework, false).map(json)),
        unreachable_tasks: List(move || live(state, framework, true).map(json)),
        completed_tasks: List(move || framework.completed_tasks.iter().map(move |t| json(t))),
        offers: List(move || offers(state, framework)),
        executors: List(move || {
            let executors = state.executors_of(&framework.id);
            executors.map(|(agent, executor)| ExecutorJson::new(agent, executor))
        }),
        labels: info.labels.map(|labels| labels.labels),
        offer_constraints: Constraints(offer_constraints(framework)),
    }
}

/// The tasks that are not completed: those that are unreachable, or the others.
fn live<'a>(
    state: &'a State,
    framework: &'a Framework,
    unreachable: bool,
) -> impl Iterator<Item = &'a Task> {
    state
        .tasks_of(framework)
        .map(AsRef::as_ref)
        .filter(move |task| (task.state == TaskState::Unreachable) == unreachable)
}

fn offers<'a>(state: &'a State, framework: &'a Framework) -> impl Iterator<Item = OfferJson<'a>> {
    framework.offers.iter().filter_map(move |id| {
        let offer = state.offer(*id)?;
        Some(OfferJson {
            id: state.cluster()?.offer_id(*id),
            framework_id: offer.framework.as_str(),
            allocation_info: allocation(&offer.role),
            slave_id: offer.agent.as_str(),
            resources: Model(offer.resources.clone()),
        })
    })
}

/// Frameworks that have not ended, all or the one with this id.
pub(super) fn present<'a>(view: &'a View<'a>, id: Option<&'a str>) -> impl Serialize + 'a {
    List(move || {
        view.state
            .frameworks()
            .filter(move |framework| id.is_none_or(|id| framework.id.as_str() == id))
            .map(move |framework| full(view, framework, None))
    })
}

/// Frameworks that ended, all or the one with this id.
pub(super) fn completed<'a>(view: &'a View<'a>, id: Option<&'a str>) -> impl Serialize + 'a {
    List(move || {
        view.state
            .completed_frameworks()
            .filter(move |ended| id.is_none_or(|id| ended.framework.id.as_str() == id))
            .map(move |ended| full(view, &ended.framework, Some(ended.unregistered)))
    })
}

/// The answer of `/frameworks`: all, or the one with this id.
pub fn frameworks<'a>(view: &'a View<'a>, framework_id: Option<&'a str>) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Frameworks<P, C> {
        frameworks: P,
        completed_frameworks: C,
        unregistered_frameworks: [(); 0],
    }
    Frameworks {
        frameworks: present(view, framework_id),
        completed_frameworks: completed(view, framework_id),
        unregistered_frameworks: [],
    }
}
