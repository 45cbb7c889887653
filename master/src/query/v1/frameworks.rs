//! GET_FRAMEWORKS.

use prost::Message;
use regency_state::model::Framework;
use regency_types::WallTime;
use regency_wire::v1::FrameworkInfo;
use regency_wire::v1::master::response::{GetFrameworks, get_frameworks};
use regency_wire::v1::scheduler::OfferConstraints;

use crate::query::status::time;
use crate::query::usage::Usage;
use crate::query::{View, maintenance, offer, resource};

/// All frameworks, and those that ended as far as they are kept.
pub(super) fn get(view: &View<'_>) -> GetFrameworks {
    GetFrameworks {
        frameworks: view
            .state
            .frameworks()
            .map(|framework| encode(view, framework, None))
            .collect(),
        completed_frameworks: view
            .state
            .completed_frameworks()
            .map(|ended| encode(view, &ended.framework, Some(ended.unregistered)))
            .collect(),
        recovered_frameworks: Vec::new(),
    }
}

fn encode(
    view: &View<'_>,
    framework: &Framework,
    unregistered: Option<WallTime>,
) -> get_frameworks::Framework {
    let usage = Usage::of_framework(view.state, framework);
    let connected = unregistered.is_none() && view.is_connected(framework);
    get_frameworks::Framework {
        unregistered_time: unregistered.map(time),
        offers: framework
            .offers
            .iter()
            .filter_map(|id| offer::encode(view.state, view.state.offer(*id)?))
            .collect(),
        inverse_offers: framework
            .inverse_offers
            .iter()
            .filter_map(|id| maintenance::inverse_offer(view.state, view.state.inverse_offer(*id)?))
            .collect(),
        allocated_resources: resource::encode_by_role(&usage.used),
        offered_resources: resource::encode_by_role(&usage.offered),
        offer_constraints: Some(offer_constraints(framework)),
        ..described(framework, connected)
    }
}

/// What it says of itself and when it came, without what it has.
pub(super) fn described(framework: &Framework, connected: bool) -> get_frameworks::Framework {
    get_frameworks::Framework {
        framework_info: info(framework),
        active: connected,
        connected,
        recovered: false,
        registered_time: Some(time(framework.registered)),
        // Mesos shows the first subscription here as well.
        reregistered_time: Some(time(framework.reregistered.unwrap_or(framework.registered))),
        offer_constraints: (!framework.spec.offer_constraints.is_empty())
            .then(|| offer_constraints(framework)),
        ..get_frameworks::Framework::default()
    }
}

/// Which agents it wants offers of; empty for all.
pub(in crate::query) fn offer_constraints(framework: &Framework) -> OfferConstraints {
    OfferConstraints::decode(framework.spec.offer_constraints.clone()).unwrap_or_default()
}

/// What it says of itself, with its id.
pub(super) fn info(framework: &Framework) -> FrameworkInfo {
    let said = FrameworkInfo::decode(framework.spec.info.clone()).unwrap_or_default();
    FrameworkInfo {
        user: framework.spec.user.clone(),
        name: framework.spec.name.clone(),
        id: Some((&framework.id).into()),
        checkpoint: Some(framework.spec.checkpoint),
        ..said
    }
}
