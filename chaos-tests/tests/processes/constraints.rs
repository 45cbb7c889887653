//! Offer constraints and UPDATE_FRAMEWORK, with a leader that dies.

use std::time::Duration;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_client::v1::scheduler::OfferConstraints;
use regency_client::v1::{FrameworkInfo, Offer};
use regency_client::{CallError, Framework, FrameworkBuilder, Http};
use serde_json::{Value, json};

/// A role that has no constraints.
const QUIET: &str = "quiet";

/// Offers of agents in racks that match.
fn racks(pattern: &str) -> OfferConstraints {
    let constraint = json!({"selector": {"attribute_name": "rack"},
        "predicate": {"text_matches": {"regex": pattern}}});
    let groups = json!([{"attribute_constraints": [constraint]}]);
    serde_json::from_value(json!({"role_constraints": {"chaos": {"groups": groups}}}))
        .expect("constraints")
}

fn rack(offer: &Offer) -> &str {
    let attribute = offer.attributes.iter().find(|a| a.name == "rack");
    let text = attribute.and_then(|attribute| attribute.text.as_ref());
    text.map_or("", |text| &text.value)
}

/// Whether there are offers, all of this rack.
fn only(scheduler: &Scheduler, name: &str) -> bool {
    let mut racks = scheduler.offers.values().map(rack);
    racks.next() == Some(name) && racks.all(|rack| rack == name)
}

fn builder() -> FrameworkBuilder {
    Framework::builder("constrained").failover_timeout(Duration::from_secs(3600))
}

async fn get(master: &str, path: &str) -> Option<Value> {
    let answer = Http::default().get(master, path, PATIENCE).await.ok()?;
    serde_json::from_str(&answer.text()).ok()
}

async fn refusal(scheduler: &Scheduler, change: impl FnOnce(&mut FrameworkInfo)) -> String {
    match scheduler.framework.update(|info, _| change(info)).await {
        Err(CallError::Refused {
            status, message, ..
        }) => {
            assert_eq!(status.as_u16(), 400, "{message}");
            message
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn constraints_hold_across_a_leader_that_dies_and_offers_that_do_not_fit_go() {
    let mut cluster = Cluster::start(&["--agents", "2"]).await;
    for (agent, rack) in [(1, "r1"), (2, "r2")] {
        cluster.kill(Member::Agent(agent)).await;
        cluster.restart_with(Member::Agent(agent), |argv| {
            argv.push(format!("--attributes=rack:{rack}"));
        });
    }
    cluster.agreed_leader().await;
    let first = builder().offer_constraints(racks("r1"));
    let mut scheduler = Scheduler::with(first, &cluster.masters()).await;
    let id = scheduler.framework.id().expect("subscribed");
    scheduler
        .until("offers of the first rack", |s| only(s, "r1"))
        .await;

    // Described anew: the offer in hand is rescinded, and the other rack is offered.
    let described = scheduler
        .framework
        .update(|_, constraints| *constraints = Some(racks("r[23]")));
    described.await.expect("an answer");
    scheduler
        .until("offers of the second rack", |s| only(s, "r2"))
        .await;
    let message = refusal(&scheduler, |info| info.user = "somebody".into()).await;
    assert_eq!(message, "Changing framework's user is not allowed");

    // A further role, suppressed from its first moment: it would be offered any rack.
    let framework = scheduler.framework.clone();
    framework
        .suppress(&[QUIET.to_owned()])
        .await
        .expect("an answer");
    let described = framework.update(|info, _| info.roles.push(QUIET.to_owned()));
    described.await.expect("an answer");

    let in_hand: Vec<String> = scheduler.offers.keys().cloned().collect();
    let old = cluster.leader().await.node_id;
    cluster.kill(Member::Master(old)).await;
    scheduler
        .until("a subscription at the next leader, with the offer", |s| {
            s.masters.len() == 2 && in_hand.iter().all(|offer| s.offers.contains_key(offer))
        })
        .await;
    cluster.restart(Member::Master(old));
    cluster.agreed_leader().await;
    assert!(only(&scheduler, "r2"), "{:#?}", scheduler.offers);
    for master in cluster.masters() {
        let shown = until("the constraints at every master", || async {
            let frameworks = get(&master, "/frameworks").await?;
            let shown = frameworks["frameworks"][0]["offer_constraints"].clone();
            (!shown.is_null()).then_some(shown)
        })
        .await;
        let pattern = "/role_constraints/chaos/groups/0/attribute_constraints/0/predicate";
        assert_eq!(
            shown.pointer(pattern),
            Some(&json!({"text_matches": {"regex": "r[23]"}}))
        );
        let debug = get(&master, "/allocator/offer_constraints_debug").await;
        let excluded = &debug.expect("JSON")["frameworks"][&id.value]["roles"]["chaos"];
        assert_eq!(
            excluded["excluded_agents"].as_array().map(Vec::len),
            Some(1),
            "{excluded}"
        );
    }

    // Suppressed it was through the change of leader; now it is not.
    framework
        .revive(&[QUIET.to_owned()])
        .await
        .expect("an answer");
    let is_quiet = |offer: &Offer| {
        let allocation = offer.allocation_info.as_ref();
        allocation.is_some_and(|allocation| allocation.role() == QUIET)
    };
    scheduler
        .until("an offer for the other role, of the other rack", |s| {
            s.offers.values().any(|o| is_quiet(o) && rack(o) == "r1")
        })
        .await;

    // Another process takes over, with other constraints: what does not fit is not sent again.
    let next = builder().framework_id(id).offer_constraints(racks("r1"));
    let mut scheduler = Scheduler::with(next, &cluster.masters()).await;
    scheduler
        .until("offers of the first rack again", |s| !s.offers.is_empty())
        .await;
    assert!(only(&scheduler, "r1"), "{:#?}", scheduler.offers);
}
