//! Checks, health checks and time limits of real processes.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::agent::Agent;
use common::master::Master;
use common::{eventually, lives, marked};
use regency_wire::v1::{self, check_info, health_check, task_status::Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn pair() -> (Master, Agent) {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    (master, agent)
}

fn command(script: &str) -> v1::CommandInfo {
    v1::CommandInfo {
        value: Some(script.to_owned()),
        ..v1::CommandInfo::default()
    }
}

fn task(name: &str, script: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: name.to_owned(),
        task_id: v1::TaskId {
            value: name.to_owned(),
        },
        command: Some(command(script)),
        ..v1::TaskInfo::default()
    }
}

/// Looks often, gives up early, knows no grace.
fn health() -> v1::HealthCheck {
    v1::HealthCheck {
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.02),
        timeout_seconds: Some(10.0),
        consecutive_failures: Some(2),
        grace_period_seconds: Some(0.0),
        ..v1::HealthCheck::default()
    }
}

fn check(kind: check_info::Type) -> v1::CheckInfo {
    v1::CheckInfo {
        r#type: Some(kind as i32),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.02),
        timeout_seconds: Some(10.0),
        ..v1::CheckInfo::default()
    }
}

/// Something that answers HTTP with a status of the test's choice.
struct Site {
    port: u16,
    status: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Site {
    async fn start(status: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let status = Arc::new(AtomicUsize::new(status));
        let told = Arc::clone(&status);
        let server = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let status = told.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    let read = socket.read(&mut request).await.unwrap_or_default();
                    let asked = String::from_utf8_lossy(&request[..read]).into_owned();
                    let status = if asked.starts_with("GET /health?of=it HTTP/1.1\r\n") {
                        status
                    } else {
                        400
                    };
                    let answer = format!("HTTP/1.1 {status} Fine\r\nContent-Length: 0\r\n\r\n");
                    let _ = socket.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self {
            port,
            status,
            server,
        }
    }

    fn health_check(&self) -> v1::HealthCheck {
        v1::HealthCheck {
            http: Some(v1::health_check::HttpCheckInfo {
                port: u32::from(self.port),
                path: Some("/health?of=it".to_owned()),
                ..v1::health_check::HttpCheckInfo::default()
            }),
            ..health()
        }
    }
}

impl Master {
    /// Waits for `n` updates of a task, and gives all of them.
    async fn wait_for_updates(&self, task: &str, generation: u64, n: usize) -> Vec<v1::TaskStatus> {
        let what = format!("{n} updates of {task}");
        eventually(&what, || async {
            self.with(|memory| {
                let updates = memory.updates.get(&(task.to_owned(), generation))?;
                (updates.len() >= n).then(|| updates.clone())
            })
        })
        .await
    }
}

fn told(updates: &[v1::TaskStatus]) -> Vec<(&'static str, Option<bool>)> {
    updates
        .iter()
        .map(|update| (update.state().as_str_name(), update.healthy))
        .collect()
}

#[tokio::test]
async fn an_http_health_check_tells_changes_and_kills() {
    let (master, agent) = pair();
    let site = Site::start(200).await;
    let mut info = task("web", "echo $$; exec sleep 1000");
    info.health_check = Some(Box::new(site.health_check()));
    let generation = master.launch_info(info);
    let pid = agent.first_line("web").await.parse().expect("a number");
    let updates = master.wait_for_updates("web", generation, 3).await;
    let reason = Reason::TaskHealthCheckStatusUpdated as i32;
    assert_eq!(updates[2].reason, Some(reason));
    assert_eq!(
        told(&updates),
        [
            ("TASK_STARTING", None),
            ("TASK_RUNNING", None),
            ("TASK_RUNNING", Some(true)),
        ]
    );
    site.status.store(503, Ordering::SeqCst);
    let updates = master.wait_for("web", generation, "TASK_KILLED").await;
    assert_eq!(
        told(&updates[3..]),
        [
            ("TASK_RUNNING", Some(false)),
            ("TASK_KILLING", None),
            ("TASK_KILLED", Some(false)),
        ]
    );
    assert_eq!(updates[3].reason, Some(reason));
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_health_check_goes_on_when_the_agent_is_back_and_repeats_nothing() {
    let (master, mut agent) = pair();
    let site = Site::start(204).await;
    let mut info = task("on", "echo $$; exec sleep 1000");
    info.health_check = Some(Box::new(site.health_check()));
    let generation = master.launch_info(info);
    let updates = master.wait_for_updates("on", generation, 3).await;
    assert_eq!(updates[2].healthy, Some(true));
    agent.crash().await;
    // While nobody looks, nothing is found.
    site.status.store(500, Ordering::SeqCst);
    agent.start();
    let updates = master.wait_for("on", generation, "TASK_KILLED").await;
    assert_eq!(
        told(&updates[3..]),
        [
            ("TASK_RUNNING", Some(false)),
            ("TASK_KILLING", None),
            ("TASK_KILLED", Some(false)),
        ]
    );
}

#[tokio::test]
async fn a_command_check_tells_its_exit_code_and_runs_in_the_sandbox() {
    let (master, agent) = pair();
    let mut info = task("c", "touch up; exec sleep 1000");
    let script = "echo looked as $MESOS_TASK_ID with $MINE; test -e up || exit 4; test ! -e down";
    let mut looks = command(script);
    looks.environment = Some(v1::Environment {
        variables: vec![v1::environment::Variable {
            name: "MINE".to_owned(),
            value: Some("my own".to_owned()),
            ..v1::environment::Variable::default()
        }],
    });
    let mut checks = check(check_info::Type::Command);
    checks.command = Some(check_info::Command { command: looks });
    info.check = Some(Box::new(checks));
    let generation = master.launch_info(info);
    let code = |status: &v1::TaskStatus| {
        let check = status.check_status.expect("a check status");
        assert_eq!(check.r#type, Some(check_info::Type::Command as i32));
        check.command.expect("of a command").exit_code
    };
    let found = |wanted: i32| {
        let (master, what) = (&master, format!("exit code {wanted}"));
        async move {
            eventually(&what, || async {
                let updates = master.with(|memory| {
                    let updates = memory.updates.get(&("c".to_owned(), generation));
                    updates.cloned().unwrap_or_default()
                });
                let last = updates.last()?;
                (code(last) == Some(wanted)).then_some(updates)
            })
            .await
        }
    };
    let updates = found(0).await;
    // Each status of a checked task has a check status, at first an empty one.
    assert_eq!((code(&updates[0]), code(&updates[1])), (None, None));
    let reason = updates.last().expect("an update").reason;
    assert_eq!(reason, Some(Reason::TaskCheckStatusUpdated as i32));
    std::fs::write(agent.sandbox("c").join("down"), "").expect("a sandbox");
    found(1).await;
    // It kills nothing, and what it says is not taken for what the task says.
    let said = std::fs::read_to_string(agent.sandbox("c").join("stderr")).expect("a file");
    assert!(said.starts_with("looked as c with my own\n"), "{said}");
    assert_eq!(agent.stdout("c").await, "");
    master.kill("c", generation, None);
    let updates = master.wait_for("c", generation, "TASK_KILLED").await;
    assert_eq!(code(updates.last().expect("an update")), Some(1));
}

#[tokio::test]
async fn a_check_that_takes_too_long_has_failed_and_leaves_nothing() {
    let (master, agent) = pair();
    let mut info = task("slow", "echo $$; exec sleep 1000");
    info.health_check = Some(Box::new(v1::HealthCheck {
        r#type: Some(health_check::Type::Command as i32),
        command: Some(command("setsid sleep 1000 & sleep 1000")),
        timeout_seconds: Some(0.3),
        consecutive_failures: Some(1),
        ..health()
    }));
    let generation = master.launch_info(info);
    let updates = master.wait_for("slow", generation, "TASK_KILLED").await;
    let last = updates.last().expect("an update");
    assert_eq!(last.healthy, Some(false));
    let container = last.container_status.as_ref().expect("a container");
    let name = &container.container_id.as_ref().expect("an id").value;
    let mark = format!("REGENCY_CONTAINER_ID={name}\0");
    eventually("the check's processes are gone", || async {
        marked(&mark).is_empty().then_some(())
    })
    .await;
    drop(agent);
}

#[tokio::test]
async fn a_tcp_check_tells_whether_somebody_listens() {
    let (master, _agent) = pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut info = task("tcp", "exec sleep 1000");
    let mut checks = check(check_info::Type::Tcp);
    checks.tcp = Some(check_info::Tcp {
        port: u32::from(port),
    });
    info.check = Some(Box::new(checks));
    let generation = master.launch_info(info);
    let succeeded = |status: &v1::TaskStatus| {
        let check = status.check_status.expect("a check status");
        check.tcp.expect("of TCP").succeeded
    };
    let updates = master.wait_for_updates("tcp", generation, 3).await;
    assert_eq!(succeeded(&updates[2]), Some(true));
    drop(listener);
    let updates = master.wait_for_updates("tcp", generation, 4).await;
    assert_eq!(succeeded(&updates[3]), Some(false));
    assert_eq!(updates[3].state().as_str_name(), "TASK_RUNNING");
}

#[tokio::test]
async fn a_task_that_runs_too_long_has_failed_also_over_a_restart_of_the_agent() {
    let (master, mut agent) = pair();
    let mut info = task("long", "echo $$; exec sleep 1000");
    info.max_completion_time = Some(v1::DurationInfo {
        nanoseconds: 1_500_000_000,
    });
    let generation = master.launch_info(info);
    let pid = agent.first_line("long").await.parse().expect("a number");
    master.wait_for("long", generation, "TASK_RUNNING").await;
    agent.crash().await;
    assert!(lives(pid));
    agent.start();
    let updates = master.wait_for("long", generation, "TASK_FAILED").await;
    let last = updates.last().expect("an update");
    assert_eq!(last.reason, Some(Reason::MaxCompletionTimeReached as i32));
    let ran = last.timestamp.expect("a time") - updates[0].timestamp.expect("a time");
    assert!(ran >= 1.5, "{ran}");
    assert!(!lives(pid));
}
