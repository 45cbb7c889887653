//! Reservations and volumes, with a leader that dies at every step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_client::v1::framework_info::capability::Type as Capability;
use regency_client::v1::offer::{Operation, operation};
use regency_client::v1::{Filters, Offer, OperationId, OperationState, Resource, TaskState};
use regency_client::{Framework, TaskBuilder};
use serde_json::{Value, json};

const PRINCIPAL: &str = "chaos-principal";

fn reserved(name: &str, amount: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": amount},
        "role": "chaos", "reservation": {"principal": PRINCIPAL}})
}

fn volume() -> Value {
    let mut volume = reserved("disk", 32.0);
    volume["disk"] = json!({
        "persistence": {"id": "v", "principal": PRINCIPAL},
        "volume": {"mode": "RW", "container_path": "kept"}});
    volume
}

fn resource(value: &Value) -> Resource {
    serde_json::from_value(value.clone()).expect("a resource")
}

fn operation(kind: operation::Type, what: &[Value]) -> Operation {
    let resources: Vec<Resource> = what.iter().map(resource).collect();
    let mut operation = Operation {
        r#type: Some(kind as i32),
        id: Some(OperationId {
            value: kind.as_str_name().to_owned(),
        }),
        ..Operation::default()
    };
    match kind {
        operation::Type::Reserve => {
            operation.reserve = Some(operation::Reserve {
                resources,
                ..operation::Reserve::default()
            });
        }
        operation::Type::Unreserve => {
            operation.unreserve = Some(operation::Unreserve { resources });
        }
        operation::Type::Create => {
            operation.create = Some(operation::Create { volumes: resources })
        }
        _ => operation.destroy = Some(operation::Destroy { volumes: resources }),
    }
    operation
}

fn is_reserved(resource: &Resource) -> bool {
    resource.role() == "chaos"
}

fn is_volume(resource: &Resource) -> bool {
    let disk = resource.disk.as_ref();
    disk.is_some_and(|disk| disk.persistence.is_some())
}

/// Thousandths of each scalar, whichever offers they are in.
fn unreserved<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for resource in resources.into_iter().filter(|r| !is_reserved(r)) {
        if let Some(scalar) = &resource.scalar {
            let milli = (scalar.value * 1000.0).round() as i64;
            *sums.entry(resource.name.clone()).or_default() += milli;
        }
    }
    sums
}

struct World {
    cluster: Cluster,
    scheduler: Scheduler,
}

impl World {
    async fn offer(&mut self, what: &str, holds: fn(&Offer) -> bool) -> Offer {
        self.scheduler
            .until(what, |s| s.offers.values().any(holds))
            .await;
        let id = self.scheduler.offers.iter().find(|(_, o)| holds(o));
        let id = id.map(|(id, _)| id.clone()).expect("just seen");
        self.scheduler.offers.remove(&id).expect("just seen")
    }

    /// Uses an offer for one operation; the leader dies as soon as it has answered. The next one
    /// tells that the operation was carried out.
    async fn convert(&mut self, offer: Offer, kind: operation::Type, what: &[Value]) {
        let again = Filters {
            refuse_seconds: Some(0.0),
        };
        self.scheduler
            .framework
            .accept([offer.id], [operation(kind, what)], Some(again))
            .await
            .expect("an answer");
        self.kill_leader().await;
        let name = kind.as_str_name();
        self.scheduler
            .until(name, |s| s.operations.contains_key(name))
            .await;
        let status = self.scheduler.operations[name].last().expect("one").clone();
        assert_eq!(
            status.state(),
            OperationState::OperationFinished,
            "{status:?}"
        );
        let acknowledged = self.scheduler.framework.acknowledge_operation(&status);
        acknowledged.await.expect("an answer");
    }

    async fn kill_leader(&mut self) {
        self.scheduler.kill_leader(&mut self.cluster).await;
        self.cluster.agreed_leader().await;
    }

    async fn run(&mut self, offer: &Offer, task: TaskBuilder, id: &str) {
        let task = task.resource(resource(&volume())).on(offer);
        self.scheduler.launch(offer.id.clone(), vec![task]).await;
        self.kill_leader().await;
        self.scheduler
            .until_all_are(TaskState::TaskFinished, &[id])
            .await;
    }
}

fn task(id: &str, line: &str, ledger: &Path) -> TaskBuilder {
    let sign = format!("{line} && echo {id} >> {}/ledger", ledger.display());
    TaskBuilder::shell(id, sign).cpus(0.1).mem_mb(32.0)
}

#[tokio::test]
async fn a_volume_lives_from_reserve_to_unreserve_though_the_leader_dies_at_each_step() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let cluster = Cluster::start(&["--agents", "1"]).await;
    let builder = Framework::builder("volumes")
        .framework_info(|info| info.principal = Some(PRINCIPAL.to_owned()))
        .failover_timeout(std::time::Duration::from_secs(3600));
    let scheduler = Scheduler::with(builder, &cluster.masters()).await;
    let data: PathBuf = {
        let info = cluster.info(Member::Agent(1));
        info.dir.join("volumes/roles/chaos/v")
    };
    let mut world = World { cluster, scheduler };

    let whole = world.offer("a first offer", |_| true).await;
    let before = unreserved(&whole.resources);
    let disk = [reserved("disk", 32.0)];
    world.convert(whole, operation::Type::Reserve, &disk).await;

    let holds = |offer: &Offer| offer.resources.iter().any(is_reserved);
    let offer = world.offer("the reservation", holds).await;
    world
        .convert(offer, operation::Type::Create, &[volume()])
        .await;

    let holds = |offer: &Offer| offer.resources.iter().any(is_volume);
    let offer = world.offer("the volume", holds).await;
    let write = task("write", "echo precious > kept/data", dir.path());
    world.run(&offer, write, "write").await;
    assert!(data.join("data").is_file(), "{}", data.display());

    // Another task, of another sandbox, with the agent started anew between.
    world.cluster.kill(Member::Agent(1)).await;
    world.cluster.restart(Member::Agent(1));
    let offer = world.offer("the volume again", holds).await;
    let read = task("read", "grep -q precious kept/data", dir.path());
    world.run(&offer, read, "read").await;

    let offer = world.offer("the volume, to be destroyed", holds).await;
    world
        .convert(offer, operation::Type::Destroy, &[volume()])
        .await;
    regency_chaos_tests::wait::until_true("the data is gone", || !data.exists()).await;

    let holds = |offer: &Offer| {
        offer.resources.iter().any(is_reserved) && !offer.resources.iter().any(is_volume)
    };
    let offer = world.offer("the reservation again", holds).await;
    world
        .convert(offer, operation::Type::Unreserve, &disk)
        .await;

    world
        .scheduler
        .until("all is offered as it was", |s| {
            let offered = s.offers.values().flat_map(|offer| &offer.resources);
            unreserved(offered) == before
        })
        .await;
    for statuses in world.scheduler.operations.values() {
        let first = &statuses[0];
        assert!(
            statuses.iter().all(|status| status.uuid == first.uuid),
            "one operation, one status: {statuses:?}"
        );
    }
    ledger.assert_ran_once(["write", "read"]);
}

fn shared_volume() -> Value {
    let mut shared = volume();
    shared["shared"] = json!({});
    shared
}

async fn who_shares(name: &str, masters: &[String]) -> Scheduler {
    let builder = Framework::builder(name)
        .capability(Capability::SharedResources)
        .framework_info(|info| info.principal = Some(PRINCIPAL.to_owned()))
        .failover_timeout(std::time::Duration::from_secs(3600));
    Scheduler::with(builder, masters).await
}

/// Signs in the volume, and ends when the other task has signed there too.
fn meets(id: &str, other: &str, ledger: &Path) -> TaskBuilder {
    let line = format!("touch kept/{id}; until test -e kept/{other}; do sleep 0.05; done");
    task(id, &line, ledger).resource(resource(&shared_volume()))
}

fn refuse(seconds: f64) -> Option<Filters> {
    Some(Filters {
        refuse_seconds: Some(seconds),
    })
}

#[tokio::test]
async fn tasks_of_two_frameworks_use_one_shared_volume_at_the_same_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    let data = cluster
        .info(Member::Agent(1))
        .dir
        .join("volumes/roles/chaos/v");
    let mut one = who_shares("one", &cluster.masters()).await;
    let offer = one.take_offer().await;
    let launch = Operation {
        r#type: Some(operation::Type::Launch as i32),
        launch: Some(operation::Launch {
            task_infos: vec![meets("a", "b", dir.path()).on(&offer)],
        }),
        ..Operation::default()
    };
    let operations = [
        operation(operation::Type::Reserve, &[reserved("disk", 32.0)]),
        operation(operation::Type::Create, &[shared_volume()]),
        launch,
    ];
    // What is left is for the other one; the offer in hand stays.
    one.framework.suppress(&[]).await.expect("an answer");
    let accepted = one.framework.accept([offer.id], operations, refuse(3600.0));
    accepted.await.expect("an answer");
    one.until_all_are(TaskState::TaskRunning, &["a"]).await;

    let mut two = who_shares("two", &cluster.masters()).await;
    let holds = |offer: &Offer| offer.resources.iter().any(is_volume);
    two.until("the volume, that is in use", |s| {
        s.offers.values().any(holds)
    })
    .await;
    let offer = two.offers.values().find(|offer| holds(offer));
    let offer = offer.expect("just seen").clone();
    let old = cluster.leader().await.node_id;
    cluster.kill(Member::Master(old)).await;
    cluster.restart(Member::Master(old));
    let task = meets("b", "a", dir.path()).on(&offer);
    two.framework
        .launch([offer.id.clone()], [task], refuse(0.0))
        .await
        .expect("an answer");
    two.until_all_are(TaskState::TaskFinished, &["b"]).await;
    one.until_all_are(TaskState::TaskFinished, &["a"]).await;
    assert!(data.join("a").is_file() && data.join("b").is_file());

    // Nobody uses it any more. The next leader may have sent the offer that was used once more.
    let is_another = |other: &Offer| holds(other) && other.id != offer.id;
    two.until("the volume, to be destroyed", |s| {
        s.offers.values().any(is_another)
    })
    .await;
    let offer = two.offers.values().find(|offer| is_another(offer));
    let offer = offer.expect("just seen").id.clone();
    let destroy = operation(operation::Type::Destroy, &[shared_volume()]);
    let accepted = two.framework.accept([offer], [destroy], refuse(0.0));
    accepted.await.expect("an answer");
    two.until("the end of the volume", |s| {
        s.operations.contains_key("DESTROY")
    })
    .await;
    let status = &two.operations["DESTROY"][0];
    assert_eq!(
        status.state(),
        OperationState::OperationFinished,
        "{status:?}"
    );
    regency_chaos_tests::wait::until_true("the data is gone", || !data.exists()).await;
    ledger.assert_ran_once(["a", "b"]);
}
