//! What a framework says of itself anew, with UPDATE_FRAMEWORK or a further SUBSCRIBE.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Response, StatusCode, Uri};
use regency_allocator::constraints::AgentFacts;
use regency_state::model::Framework;
use regency_state::{Command, State, UpdateFramework};
use regency_types::{AgentId, FrameworkId, OfferId};
use regency_wire::v1::scheduler::call;

use super::framework_info::{self, Parsed, Said};
use crate::api::answer;
use crate::leader::{Leader, LeaderConfig, fits};
use crate::offer_constraints;

/// UPDATE_FRAMEWORK. The one call whose answer tells what became of it: 200 or 400.
pub(super) async fn update(
    leader: &Leader,
    uri: &Uri,
    framework: FrameworkId,
    call: &call::UpdateFramework,
) -> Response<Body> {
    let parsed = match framework_info::read(Said::from(call), leader.config.pattern_limits) {
        Ok(parsed) => parsed,
        Err(error) => return answer::text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let applied = leader.state();
    let known = applied.state.framework(&framework);
    let kept = known.map_or_else(Vec::new, |known| {
        fitting(&applied.state, known, &parsed, &leader.config)
    });
    let command = Command::UpdateFramework(UpdateFramework {
        framework,
        spec: parsed.spec,
        suppressed: call.suppressed_roles.clone(),
        kept,
    });
    match leader.consensus.propose(command).await {
        Ok(Ok(_)) => Response::new(Body::empty()),
        Ok(Err(refusal)) => answer::text(StatusCode::BAD_REQUEST, refusal.to_string()),
        Err(error) => answer::no_verdict(&error, uri),
    }
}

/// For a framework that is known and describes itself anew with a further SUBSCRIBE: its outstanding
/// offers that fit. `None` where it says what it said before.
pub(super) fn kept(state: &State, parsed: &Parsed, config: &LeaderConfig) -> Option<Vec<OfferId>> {
    let known = state.framework(parsed.framework.as_ref()?)?;
    let (old, new) = (&known.spec, &parsed.spec);
    let anew =
        old.capabilities != new.capabilities || old.offer_constraints != new.offer_constraints;
    anew.then(|| fitting(state, known, parsed, config))
}

/// The outstanding offers that could be made to the framework as it describes itself now.
fn fitting(
    state: &State,
    framework: &Framework,
    now: &Parsed,
    config: &LeaderConfig,
) -> Vec<OfferId> {
    let mut facts: BTreeMap<AgentId, AgentFacts> = BTreeMap::new();
    let offers = framework.offers.iter().filter_map(|id| state.offer(*id));
    offers
        .filter(|offer| {
            let Some(agent) = state.agent(&offer.agent) else {
                return false;
            };
            let able = &now.spec.capabilities;
            if !fits(agent, &offer.role, &offer.resources, able, config) {
                return false;
            }
            now.constraints.get(&offer.role).is_none_or(|constraints| {
                let facts = facts
                    .entry(agent.id.clone())
                    .or_insert_with(|| offer_constraints::facts(agent));
                constraints.admit(facts)
            })
        })
        .map(|offer| offer.id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_allocator::constraints::PatternLimits;
    use regency_state::model::Capabilities;
    use regency_wire::v1::FrameworkInfo;
    use regency_wire::v1::scheduler::OfferConstraints;

    fn parsed(framework: &FrameworkId, capabilities: &str, constraints: &str) -> Parsed {
        let info: FrameworkInfo = regency_wire::json::from_slice(
            format!(
                r#"{{"user":"root","name":"golden","principal":"golden-principal","role":"eng",
                    "id":{{"value":"{framework}"}},"failover_timeout":60.0,
                    "capabilities":[{capabilities}]}}"#
            )
            .as_bytes(),
        )
        .expect("it reads");
        let constraints: OfferConstraints =
            regency_wire::json::from_slice(constraints.as_bytes()).expect("it reads");
        let said = Said {
            info: &info,
            suppressed: &[],
            constraints: Some(&constraints),
        };
        framework_info::read(said, PatternLimits::NONE).expect("it is taken")
    }

    fn hostname(pattern: &str) -> String {
        format!(
            r#"{{"role_constraints":{{"eng":{{"groups":[{{"attribute_constraints":[{{
                "selector":{{"pseudoattribute_type":"HOSTNAME"}},
                "predicate":{{"text_matches":{{"regex":"{pattern}"}}}}}}]}}]}}}}}}"#
        )
    }

    /// Two agents, the second one with a GPU, and a framework that holds an offer of each.
    fn world() -> (Cluster, FrameworkId, [OfferId; 2]) {
        let mut cluster = Cluster::new();
        let agents = [
            cluster.agent(1, "cpus:2;mem:64"),
            cluster.agent(2, "cpus:2;mem:64;gpus:1"),
        ];
        let framework = cluster.subscribe(
            "eng",
            Capabilities {
                gpu_resources: true,
                ..Capabilities::default()
            },
        );
        let offers = agents.map(|agent| cluster.offer(&framework, "eng", &agent, "cpus:1"));
        (cluster, framework, offers)
    }

    #[test]
    fn an_offer_fits_while_capabilities_and_constraints_would_let_it_be_made() {
        let (cluster, framework, [one, two]) = world();
        let config = LeaderConfig::for_tests();
        let known = cluster.state.framework(&framework).expect("known");
        let fitting = |capabilities: &str, constraints: &str| {
            let now = parsed(&framework, capabilities, constraints);
            fitting(&cluster.state, known, &now, &config)
        };
        let gpus = r#"{"type":"GPU_RESOURCES"}"#;
        assert_eq!(fitting(gpus, "{}"), [one, two]);
        assert_eq!(fitting("", "{}"), [one]);
        assert_eq!(fitting(gpus, &hostname("agent2.*")), [two]);
        assert_eq!(fitting("", &hostname("agent2.*")), []);
    }

    #[test]
    fn a_subscription_that_repeats_itself_keeps_all() {
        let (cluster, framework, [one, _]) = world();
        let config = LeaderConfig::for_tests();
        let kept = |capabilities: &str, constraints: &str| {
            let mut now = parsed(&framework, capabilities, constraints);
            if constraints == "{}" {
                now.spec.offer_constraints = bytes::Bytes::new();
            }
            kept(&cluster.state, &now, &config)
        };
        assert_eq!(kept(r#"{"type":"GPU_RESOURCES"}"#, "{}"), None);
        assert_eq!(kept("", "{}"), Some(vec![one]));
        assert_eq!(kept("", &hostname("x")), Some(vec![]));
    }
}
