//! Agents and machines that are taken out of use, with a leader that dies in the middle.

use std::path::Path;
use std::time::Duration;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::operator::{Operator, text};
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::{until, until_true};
use regency_client::v1::framework_info::capability::Type;
use regency_client::v1::task_status::Reason;
use regency_client::v1::{Offer, OfferId, TaskState, TaskStatus};
use regency_client::{Framework, Http, TaskBuilder};
use serde_json::{Value, json};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a call at the leader, which must take it; gives the answer.
async fn call(cluster: &Cluster, call: Value) -> Value {
    let body = call.to_string();
    let http = Http::default();
    let text = until(&format!("{body} is done"), || async {
        let leader = cluster.leader().await;
        let address = &cluster.info(Member::Master(leader.node_id)).http;
        let headers = [("content-type", "application/json")];
        let answer = http
            .post(
                address,
                "/api/v1",
                &headers,
                body.clone().into(),
                CALL_TIMEOUT,
            )
            .await
            .ok()?;
        // Who does not lead any more sends on; the next look finds who does.
        (answer.status == 200).then(|| answer.text())
    })
    .await;
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

async fn agents(cluster: &Cluster) -> Vec<Value> {
    let answer = call(cluster, json!({"type": "GET_AGENTS"})).await;
    answer["get_agents"]["agents"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

async fn agent(cluster: &Cluster, id: &str) -> Option<Value> {
    let all = agents(cluster).await;
    all.into_iter()
        .find(|agent| agent["agent_info"]["id"]["value"] == id)
}

/// What `/state` of the agent with this id shows; its process is asked, and no master.
async fn own_state(cluster: &Cluster, id: &str) -> Option<Value> {
    let http = Http::default();
    for member in cluster.members() {
        if let Member::Agent(_) = member {
            let address = &cluster.info(member).http;
            let answer = http.get(address, "/state", CALL_TIMEOUT).await.ok()?;
            let state: Value = serde_json::from_slice(&answer.body).ok()?;
            if state["id"] == id {
                return Some(state);
            }
        }
    }
    None
}

fn about(name: &str, agent: &str) -> Value {
    json!({"type": name, name.to_lowercase(): {"agent_id": {"value": agent}}})
}

fn aware(name: &str) -> regency_client::FrameworkBuilder {
    Framework::builder(name)
        .failover_timeout(Duration::from_secs(3600))
        .capability(Type::PartitionAware)
}

/// A cluster with one agent, and a framework whose waiting task `task` runs there, with the offer that
/// it was launched with.
async fn at_work(name: &str, ledger: &Ledger) -> (Cluster, Scheduler, Offer) {
    let cluster = Cluster::start(&["--agents", "1"]).await;
    let mut scheduler = Scheduler::with(aware(name), &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    let task = ledger.waiting_task("task").on(&offer);
    scheduler.launch(offer.id.clone(), vec![task]).await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["task"])
        .await;
    (cluster, scheduler, offer)
}

fn last<'a>(scheduler: &'a Scheduler, task: &str) -> &'a TaskStatus {
    scheduler.updates[task].last().expect("an update")
}

#[tokio::test]
async fn a_drain_goes_on_at_the_next_leader() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&["--agents", "2"]).await;
    let mut scheduler = Scheduler::with(aware("drain"), &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    let id = offer.agent_id.value.clone();
    // One that ends when it is asked to, and one that does not.
    let stubborn = TaskBuilder::shell("stubborn", "trap '' TERM; while :; do sleep 0.1; done")
        .cpus(0.1)
        .mem_mb(32.0)
        .on(&offer);
    let polite = ledger.waiting_task("polite").on(&offer);
    scheduler.launch(offer.id, vec![polite, stubborn]).await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["polite", "stubborn"])
        .await;

    let drain = json!({"type": "DRAIN_AGENT", "drain_agent": {
        "agent_id": {"value": id}, "max_grace_period": {"seconds": 2}}});
    call(&cluster, drain).await;
    scheduler.kill_leader(&mut cluster).await;
    scheduler
        .until_all_are(TaskState::TaskKilled, &["polite", "stubborn"])
        .await;
    for task in ["polite", "stubborn"] {
        assert_eq!(
            last(&scheduler, task).reason(),
            Reason::AgentDraining,
            "{task}"
        );
    }
    let drained = until("the agent is drained", || async {
        let agent = agent(&cluster, &id).await?;
        (agent["drain_info"]["state"] == "DRAINED").then_some(agent)
    });
    let drained = scheduler.meanwhile(drained).await;
    assert_eq!(drained["deactivated"], true);
    assert_eq!(drained["active"], false);
    assert_eq!(
        drained["drain_info"]["config"]["max_grace_period"]["nanoseconds"],
        2_000_000_000_u64
    );
    // The agent itself says so, whoever leads.
    let own = until("the agent shows its draining", || async {
        let own = own_state(&cluster, &id).await?;
        own.get("drain_config").is_some().then_some(own)
    })
    .await;
    let grace = &own["drain_config"]["max_grace_period"]["nanoseconds"];
    assert_eq!(*grace, 2_000_000_000_u64, "{own}");
    assert_eq!(own["drain_config"]["mark_gone"], false, "{own}");
    assert!(own["estimated_drain_start_time_seconds"].is_number());
    // What is offered since is the other agent's.
    scheduler
        .until("an offer of the other agent", |s| !s.offers.is_empty())
        .await;
    assert!(
        scheduler
            .offers
            .values()
            .all(|offer| offer.agent_id.value != id)
    );

    let operator = Operator::of(cluster.masters());
    let listed = operator.regency("agents", &["list"]).await;
    let listed = text(&listed.stdout);
    let line = listed
        .lines()
        .find(|line| line.contains(&id))
        .expect(&listed);
    assert!(line.ends_with("drained"), "{listed}");
    let reactivated = operator.regency("agents", &["reactivate", &id]).await;
    assert!(
        reactivated.status.success(),
        "{}",
        text(&reactivated.stderr)
    );
    let twice = operator.regency("agents", &["reactivate", &id]).await;
    assert!(text(&twice.stderr).contains("is not deactivated"));
    scheduler
        .until("an offer of the agent that is back", |s| {
            s.offers.values().any(|offer| offer.agent_id.value == id)
        })
        .await;
    until("the agent shows its draining no more", || async {
        let own = own_state(&cluster, &id).await?;
        own.get("drain_config").is_none().then_some(())
    })
    .await;
    ledger.assert_ran_once(["polite"]);
}

#[tokio::test]
async fn a_machine_is_announced_goes_down_and_comes_up_whoever_leads() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let (mut cluster, mut scheduler, offer) = at_work("leave", &ledger).await;
    let id = offer.agent_id.value.clone();

    let machine = json!({"hostname": offer.hostname});
    let window = json!({"machine_ids": [machine],
        "unavailability": {"start": {"nanoseconds": 1_795_159_765_677_113_344_u64}}});
    let schedule = json!({"type": "UPDATE_MAINTENANCE_SCHEDULE",
        "update_maintenance_schedule": {"schedule": {"windows": [window]}}});
    call(&cluster, schedule).await;
    // Each arrow of schedule, inverse offers, answer, down and up is where a leader dies.
    scheduler.kill_leader(&mut cluster).await;
    scheduler
        .until("an inverse offer and offers that tell the time", |s| {
            let told = |offer: &Offer| offer.unavailability.is_some();
            !s.inverse_offers.is_empty() && s.offers.values().any(told)
        })
        .await;
    // It is still asked the same by the next leader.
    let asked: Vec<String> = scheduler.inverse_offers.keys().cloned().collect();
    scheduler.kill_leader(&mut cluster).await;
    scheduler
        .until("the same inverse offer", |s| {
            s.inverse_offers.keys().eq(&asked)
        })
        .await;
    let ids = asked.iter().map(|value| OfferId {
        value: value.clone(),
    });
    scheduler
        .framework
        .accept_inverse(ids)
        .await
        .expect("an answer");
    scheduler.kill_leader(&mut cluster).await;
    let status = call(&cluster, json!({"type": "GET_MAINTENANCE_STATUS"})).await;
    let machines = &status["get_maintenance_status"]["status"]["draining_machines"];
    assert_eq!(machines[0]["id"], machine, "{status}");
    assert_eq!(machines[0]["statuses"][0]["status"], "ACCEPT", "{status}");

    let start = json!({"type": "START_MAINTENANCE", "start_maintenance": {"machines": [machine]}});
    call(&cluster, start).await;
    scheduler.kill_leader(&mut cluster).await;
    scheduler
        .until_all_are(TaskState::TaskLost, &["task"])
        .await;
    until_true("the agent has ended", || !cluster.runs(Member::Agent(1))).await;
    until_true("its task has, too", || !runs_task(dir.path(), "task")).await;
    // It is refused for as long as its machine is down.
    cluster.restart(Member::Agent(1));
    until_true("the agent has ended again", || {
        !cluster.runs(Member::Agent(1))
    })
    .await;
    let stop = json!({"type": "STOP_MAINTENANCE", "stop_maintenance": {"machines": [machine]}});
    call(&cluster, stop).await;
    scheduler.kill_leader(&mut cluster).await;
    cluster.restart(Member::Agent(1));
    scheduler
        .until("an offer of the same agent", |s| {
            let offers = s.offers.values();
            let mut fresh = offers.filter(|offer| offer.unavailability.is_none());
            fresh.any(|offer| offer.agent_id.value == id)
        })
        .await;
}

#[tokio::test]
async fn a_deactivated_agent_is_not_offered_by_the_next_leader_either() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let (mut cluster, mut scheduler, offer) = at_work("idle", &ledger).await;
    let id = offer.agent_id.value.clone();
    scheduler
        .until("an offer of what is left", |s| !s.offers.is_empty())
        .await;

    call(&cluster, about("DEACTIVATE_AGENT", &id)).await;
    scheduler
        .until("it is taken back", |s| s.offers.is_empty())
        .await;
    scheduler.kill_leader(&mut cluster).await;
    // Its task runs on, and ends as it likes.
    ledger.release("task");
    scheduler
        .until_all_are(TaskState::TaskFinished, &["task"])
        .await;
    assert!(scheduler.offers.is_empty(), "{:?}", scheduler.offers);
    let shown = agent(&cluster, &id).await.expect("it is there");
    assert_eq!(shown["deactivated"], true, "{shown}");
    call(&cluster, about("REACTIVATE_AGENT", &id)).await;
    scheduler.kill_leader(&mut cluster).await;
    scheduler
        .until("an offer of the agent that is back", |s| {
            !s.offers.is_empty()
        })
        .await;
    ledger.assert_ran_once(["task"]);
}

#[tokio::test]
async fn an_agent_that_is_gone_is_refused_when_it_comes_back_and_its_tasks_are_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let (mut cluster, mut scheduler, offer) = at_work("gone", &ledger).await;
    let id = offer.agent_id.value.clone();

    cluster.kill(Member::Agent(1)).await;
    assert!(
        runs_task(dir.path(), "task"),
        "the task runs on without its agent"
    );
    call(&cluster, about("MARK_AGENT_GONE", &id)).await;
    scheduler.kill_leader(&mut cluster).await;
    scheduler
        .until_all_are(TaskState::TaskGoneByOperator, &["task"])
        .await;
    assert_eq!(
        last(&scheduler, "task").reason(),
        Reason::AgentRemovedByOperator
    );
    assert!(
        runs_task(dir.path(), "task"),
        "nobody could tell the machine"
    );

    cluster.restart(Member::Agent(1));
    until_true("the agent has ended", || !cluster.runs(Member::Agent(1))).await;
    until_true("its task has, too", || !runs_task(dir.path(), "task")).await;
    assert_eq!(agent(&cluster, &id).await, None);
    ledger.assert_ran_once(["task"]);
}

/// Whether a shell of this task runs on this machine, of the test with this directory.
fn runs_task(dir: &Path, task: &str) -> bool {
    let (task, dir) = (format!("TASK={task}"), format!("DIR={}", dir.display()));
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut environments = entries.filter_map(|entry| {
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        (name.trim() == "sh").then(|| String::from_utf8_lossy(&environment).into_owned())
    });
    environments.any(|environment| {
        let has = |wanted: &str| environment.split('\0').any(|variable| variable == wanted);
        has(&task) && has(&dir)
    })
}
