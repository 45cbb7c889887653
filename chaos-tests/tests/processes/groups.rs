//! Task groups through deaths of the agent and of the leader.

use std::path::Path;
use std::time::Duration;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_client::v1::framework_info::capability::Type as Capability;
use regency_client::v1::offer::Operation;
use regency_client::v1::task_status::{Reason, Source};
use regency_client::v1::{
    ExecutorInfo, Filters, HealthCheck, Offer, Resource, TaskId, TaskInfo, TaskState, TaskStatus,
};
use regency_client::{Framework, TaskBuilder};
use serde_json::{Value, json};

const PRINCIPAL: &str = "chaos-principal";
const SLEEPS: &str = "exec sleep 1000";

fn task(id: &str, then: &str, ledger: &Path) -> TaskBuilder {
    let line = format!("echo {id} >> {}/ledger; {then}", ledger.display());
    TaskBuilder::shell(id, line).cpus(0.1).mem_mb(16.0)
}

fn read<M: serde::de::DeserializeOwned>(json: Value) -> M {
    serde_json::from_value(json).expect("a message")
}

/// The default executor, called "pod".
fn pod() -> ExecutorInfo {
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    read(
        json!({"type": "DEFAULT", "executor_id": {"value": "pod"}, "resources":
        [scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 8.0)]}),
    )
}

struct World {
    cluster: Cluster,
    scheduler: Scheduler,
}

impl World {
    async fn start() -> Self {
        let cluster = Cluster::start(&["--agents", "1"]).await;
        let scheduler = Scheduler::start("groups", &cluster.masters()).await;
        Self { cluster, scheduler }
    }

    async fn launch(&self, offer: &Offer, tasks: Vec<TaskInfo>) {
        let again = Filters {
            refuse_seconds: Some(0.0),
        };
        self.scheduler
            .framework
            .launch_group([offer.id.clone()], pod(), tasks, Some(again))
            .await
            .expect("an answer");
    }

    /// Kills the leader, and waits for the next one.
    async fn kill_leader(&mut self) {
        self.scheduler.kill_leader(&mut self.cluster).await;
        self.cluster.agreed_leader().await;
    }

    async fn all_are(&mut self, state: TaskState, tasks: &[&str]) {
        self.scheduler.until_all_are(state, tasks).await;
    }

    /// Waits until the masters know that the executor is gone.
    async fn executor_ends(&mut self) {
        self.scheduler
            .until("FAILURE of the executor", |s| {
                s.executors_ended == [("pod".to_owned(), Some(0))]
            })
            .await;
    }

    fn told(&self, task: &str) -> &[TaskStatus] {
        &self.scheduler.updates[task]
    }

    fn states(&self, task: &str) -> Vec<&'static str> {
        let told = self.told(task).iter();
        told.map(|status| status.state().as_str_name()).collect()
    }
}

#[tokio::test]
async fn a_failing_health_check_ends_a_group_as_mesos_documents() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut world = World::start().await;
    let offer = world.scheduler.take_offer().await;
    let health: HealthCheck = read(json!({
        "type": "COMMAND", "command": {"value": format!("! [ -e {}/sick ]", dir.path().display())},
        "delay_seconds": 0, "interval_seconds": 0.1, "grace_period_seconds": 0,
        "consecutive_failures": 2}));
    let mut sick = task("sick", SLEEPS, dir.path()).on(&offer);
    sick.health_check = Some(Box::new(health));
    let other = task("other", SLEEPS, dir.path()).on(&offer);
    world.launch(&offer, vec![sick, other]).await;
    world
        .scheduler
        .until("a healthy group", |s| {
            let healthy = |status: &TaskStatus| status.healthy == Some(true);
            let sick = s.updates.get("sick").and_then(|told| told.last());
            sick.is_some_and(healthy) && s.state("other") == Some(TaskState::TaskRunning)
        })
        .await;
    world.kill_leader().await;
    std::fs::write(dir.path().join("sick"), "").expect("written");
    world
        .all_are(TaskState::TaskKilled, &["sick", "other"])
        .await;
    world.executor_ends().await;

    let (starting, running, killed) = ("TASK_STARTING", "TASK_RUNNING", "TASK_KILLED");
    assert_eq!(
        world.states("sick"),
        [starting, running, running, running, killed]
    );
    assert_eq!(world.states("other"), [starting, running, killed]);
    let healthy: Vec<_> = world.told("sick").iter().map(|s| s.healthy).collect();
    let (good, bad) = (Some(true), Some(false));
    assert_eq!(healthy, [None, None, good, bad, bad]);
    for news in &world.told("sick")[2..4] {
        assert_eq!(news.reason(), Reason::TaskHealthCheckStatusUpdated);
    }
    let mut parents = Vec::new();
    for status in ["sick", "other"].into_iter().flat_map(|id| world.told(id)) {
        assert_eq!(status.source(), Source::Executor, "{status:?}");
        let executor = status.executor_id.as_ref().map(|id| id.value.as_str());
        assert_eq!(executor, Some("pod"));
        let container = status.container_status.as_ref();
        let container = container.and_then(|c| c.container_id.as_ref());
        let parent = container.and_then(|id| id.parent.as_ref());
        parents.push(parent.expect("it is nested").value.clone());
    }
    parents.dedup();
    assert_eq!(parents.len(), 1, "one executor: {parents:?}");
    ledger.assert_ran_once(["sick", "other"]);
}

#[tokio::test]
async fn a_group_outlives_its_agent_and_a_kill_of_one_ends_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut world = World::start().await;
    let offer = world.scheduler.take_offer().await;
    let member = |id| task(id, SLEEPS, dir.path()).on(&offer);
    let tasks = vec![member("a"), member("b"), member("c")];
    world.launch(&offer, tasks).await;
    world
        .all_are(TaskState::TaskRunning, &["a", "b", "c"])
        .await;
    // A second group joins the executor, and is none of the first one's business.
    let offer = world.scheduler.take_offer().await;
    let name = offer.executor_ids.first().map(|id| id.value.clone());
    assert_eq!(name.as_deref(), Some("pod"));
    let wait = "while ! [ -e done ]; do sleep 0.05; done".to_owned();
    let wait = format!("cd {}; {wait}", dir.path().display());
    let second = task("d", &wait, dir.path()).on(&offer);
    world.launch(&offer, vec![second]).await;
    world.all_are(TaskState::TaskRunning, &["d"]).await;
    world.cluster.kill(Member::Agent(1)).await;
    world.cluster.restart(Member::Agent(1));

    let id = TaskId { value: "b".into() };
    let killed = world.scheduler.framework.kill(id, None).await;
    killed.expect("an answer");
    world.cluster.kill(Member::Agent(1)).await;
    world.cluster.restart(Member::Agent(1));
    world.all_are(TaskState::TaskKilled, &["a", "b", "c"]).await;
    assert_eq!(world.scheduler.state("d"), Some(TaskState::TaskRunning));
    std::fs::write(dir.path().join("done"), "").expect("written");
    world.all_are(TaskState::TaskFinished, &["d"]).await;
    world.executor_ends().await;
    ledger.assert_ran_once(["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_bad_task_is_told_for_its_group_and_a_kill_before_the_launch_drops_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = World::start().await;
    let offer = world.scheduler.take_offer().await;
    let member = |id: &str| task(id, SLEEPS, dir.path()).on(&offer);
    let large = task("large", "true", dir.path()).cpus(1e6).on(&offer);
    let tasks = vec![member("small"), large];
    world.launch(&offer, tasks).await;
    world
        .all_are(TaskState::TaskError, &["small", "large"])
        .await;
    for id in ["small", "large"] {
        let status = &world.told(id)[0];
        assert_eq!(status.reason(), Reason::TaskGroupInvalid);
        assert_eq!(status.source(), Source::Master);
        let message = status.message.clone().unwrap_or_default();
        assert!(message.contains("'large'"), "{message}");
    }

    // The agent hears of the group and of the kill of one of it at once.
    let offer = world.scheduler.take_offer().await;
    world.cluster.freeze(Member::Agent(1));
    let tasks = vec![member("a"), member("b")];
    world.launch(&offer, tasks).await;
    let id = TaskId { value: "a".into() };
    let killed = world.scheduler.framework.kill(id, None).await;
    killed.expect("an answer");
    world.cluster.kill(Member::Agent(1)).await;
    world.cluster.restart(Member::Agent(1));
    world.all_are(TaskState::TaskKilled, &["a", "b"]).await;
    for id in ["a", "b"] {
        assert_eq!(world.states(id), ["TASK_KILLED"]);
        let status = &world.told(id)[0];
        assert_eq!(status.reason(), Reason::TaskKilledDuringLaunch);
    }
    world.executor_ends().await;
    assert!(!dir.path().join("ledger").exists(), "nothing ran");
}

/// Disk of the framework's role as a volume that several tasks may use at once.
fn shared_volume() -> Value {
    json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 32.0},
        "role": "chaos", "reservation": {"principal": PRINCIPAL}, "shared": {},
        "disk": {"persistence": {"id": "both", "principal": PRINCIPAL},
                 "volume": {"mode": "RW", "container_path": "kept"}}})
}

#[tokio::test]
async fn tasks_of_a_group_share_a_persistent_volume_that_outlives_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let cluster = Cluster::start(&["--agents", "1"]).await;
    let builder = Framework::builder("groups")
        .framework_info(|info| info.principal = Some(PRINCIPAL.to_owned()))
        .capability(Capability::SharedResources)
        .failover_timeout(Duration::from_secs(3600));
    let scheduler = Scheduler::with(builder, &cluster.masters()).await;
    let data = cluster.info(Member::Agent(1)).dir.clone();
    let data = data.join("volumes/roles/chaos/both/word");
    let mut world = World { cluster, scheduler };
    let offer = world.scheduler.take_offer().await;
    let volume: Resource = read(shared_volume());
    let disk: Resource = {
        let mut disk = shared_volume();
        let disk = disk.as_object_mut().expect("an object");
        disk.retain(|key, _| key != "shared" && key != "disk");
        read(json!(disk))
    };
    let member = |id: &str, then: &str| {
        task(id, then, dir.path())
            .resource(volume.clone())
            .on(&offer)
    };
    let wait = "while ! [ -e kept/word ]; do sleep 0.05; done; grep -q hello kept/word";
    let tasks = vec![
        member("reads", wait),
        member("writes", "echo hello > kept/new; mv kept/new kept/word"),
    ];
    let operations: [Operation; 3] = [
        read(json!({"type": "RESERVE", "reserve": {"resources": [disk]}})),
        read(json!({"type": "CREATE", "create": {"volumes": [volume]}})),
        read(json!({"type": "LAUNCH_GROUP", "launch_group": {
            "executor": pod(), "task_group": {"tasks": tasks}}})),
    ];
    let accepted = world
        .scheduler
        .framework
        .accept([offer.id.clone()], operations, None)
        .await;
    accepted.expect("an answer");
    world.kill_leader().await;
    world
        .all_are(TaskState::TaskFinished, &["reads", "writes"])
        .await;
    world.executor_ends().await;
    ledger.assert_ran_once(["reads", "writes"]);
    let kept = std::fs::read_to_string(&data).expect("the data stays");
    assert_eq!(kept, "hello\n");
}
