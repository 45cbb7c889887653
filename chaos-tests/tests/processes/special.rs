//! Resources that only frameworks are offered that say they know what to do with them: GPUs, and what may
//! be taken away again.

use std::collections::BTreeSet;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::scheduler::Scheduler;
use regency_client::v1::framework_info::capability::Type as Capability;
use regency_client::v1::{Filters, Offer, Resource, TaskState};
use regency_client::{Framework, FrameworkBuilder, TaskBuilder, scalar};
use serde_json::{Value, json};

/// The attribute that tells the agents apart.
const HAS: &str = "has";

fn of(name: &str, amount: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": amount}})
}

fn revocable(name: &str, amount: f64) -> Resource {
    let mut resource = of(name, amount);
    resource["revocable"] = json!({});
    serde_json::from_value(resource).expect("a resource")
}

/// What the agent of an offer has that is special.
fn has(offer: &Offer) -> &str {
    let attribute = offer.attributes.iter().find(|a| a.name == HAS);
    let text = attribute.and_then(|attribute| attribute.text.as_ref());
    text.map_or("", |text| &text.value)
}

fn builder(name: &str) -> FrameworkBuilder {
    Framework::builder(name)
}

/// Everything that a framework is offered when nobody else is there: the agents, and whether anything
/// of it may be taken away. Offers are given back once, so that a second allocation says it, too.
async fn offered(scheduler: &mut Scheduler, agents: &[&str]) -> (BTreeSet<String>, bool) {
    let all: BTreeSet<String> = agents.iter().map(|name| (*name).to_owned()).collect();
    let mut seen = BTreeSet::new();
    let mut any_revocable = false;
    for round in 0..2 {
        scheduler
            .until("offers of all agents", |s| {
                let named: BTreeSet<&str> = s.offers.values().map(has).collect();
                all.iter().all(|name| named.contains(name.as_str()))
            })
            .await;
        for offer in scheduler.offers.values() {
            seen.insert(has(offer).to_owned());
            any_revocable |= offer.resources.iter().any(|r| r.revocable.is_some());
        }
        if round == 0 {
            let ids: Vec<_> = scheduler.offers.values().map(|o| o.id.clone()).collect();
            scheduler.offers.clear();
            let again = Filters {
                refuse_seconds: Some(0.0),
            };
            let declined = scheduler.framework.decline(ids, Some(again)).await;
            declined.expect("an answer");
        }
    }
    (seen, any_revocable)
}

fn amount(offer: &Offer, name: &str, is_revocable: bool) -> f64 {
    let wanted = |r: &&Resource| r.name == name && r.revocable.is_some() == is_revocable;
    let scalars = offer.resources.iter().filter(wanted);
    scalars
        .filter_map(|r| r.scalar.as_ref().map(|scalar| scalar.value))
        .sum()
}

fn take(scheduler: &mut Scheduler, agent: &str) -> Offer {
    let id = scheduler.offers.iter().find(|(_, o)| has(o) == agent);
    let id = id.map(|(id, _)| id.clone()).expect("there is one");
    scheduler.offers.remove(&id).expect("just seen")
}

#[tokio::test]
async fn gpus_and_what_may_be_taken_away_go_to_those_who_know_them() {
    let mut cluster = Cluster::start(&["--agents", "2"]).await;
    let firm = [of("cpus", 2.0), of("mem", 256.0), of("disk", 256.0)];
    let gpus = [&firm[..], &[of("gpus", 2.0)]].concat();
    let spare = json!(revocable("cpus", 3.0));
    let spare = [&firm[..], &[spare]].concat();
    for (agent, name, resources) in [(1, "gpus", gpus), (2, "spare", spare)] {
        cluster.kill(Member::Agent(agent)).await;
        cluster.restart_with(Member::Agent(agent), |argv| {
            let at = argv.iter().position(|arg| arg == "--resources");
            argv[at.expect("it is told what it has") + 1] = json!(resources).to_string();
            argv.push(format!("--attributes={HAS}:{name}"));
        });
    }
    cluster.agreed_leader().await;
    let masters = cluster.masters();

    // Nobody's GPUs are wasted on frameworks that do not use them.
    let mut plain = Scheduler::with(builder("plain"), &masters).await;
    let seen = offered(&mut plain, &["spare"]).await;
    assert_eq!(seen, (BTreeSet::from(["spare".to_owned()]), false));
    let offer = take(&mut plain, "spare");
    assert_eq!(amount(&offer, "cpus", false), 2.0);
    plain.framework.teardown().await.expect("an answer");

    let both = BTreeSet::from(["gpus".to_owned(), "spare".to_owned()]);
    let able = builder("able").capability(Capability::GpuResources);
    let mut able = Scheduler::with(able, &masters).await;
    let seen = offered(&mut able, &["gpus", "spare"]).await;
    assert_eq!(seen, (both, false));
    let offer = take(&mut able, "gpus");
    assert_eq!(amount(&offer, "gpus", false), 2.0);
    let task = TaskBuilder::shell("computes", "true")
        .cpus(0.1)
        .mem_mb(16.0)
        .resource(scalar("gpus", 1.0));
    able.launch(offer.id.clone(), vec![task.on(&offer)]).await;
    able.until_all_are(TaskState::TaskFinished, &["computes"])
        .await;
    able.framework.teardown().await.expect("an answer");

    let greedy = builder("greedy").capability(Capability::RevocableResources);
    let mut greedy = Scheduler::with(greedy, &masters).await;
    let seen = offered(&mut greedy, &["spare"]).await;
    assert_eq!(seen, (BTreeSet::from(["spare".to_owned()]), true));
    let offer = take(&mut greedy, "spare");
    assert_eq!(amount(&offer, "cpus", true), 3.0);
    assert_eq!(amount(&offer, "cpus", false), 2.0);
    let task = TaskBuilder::shell("fills-gaps", "true")
        .mem_mb(16.0)
        .resource(revocable("cpus", 2.5));
    greedy.launch(offer.id.clone(), vec![task.on(&offer)]).await;
    greedy
        .until_all_are(TaskState::TaskFinished, &["fills-gaps"])
        .await;
}
