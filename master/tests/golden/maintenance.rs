//! What operators may say of machines and agents, and what they are answered.

use axum::body::Body;
use axum::http::{Method, Request};
use regency_state::model::{MaintenanceWindow, Unavailability};
use regency_state::{Command, StartMaintenance, UpdateMaintenance};

use crate::fixture::Cluster;
use crate::world::{Fake, body_text, busy, deactivated, drained, gone, idle, machine, maintenance};

async fn ask(cluster: &Cluster, method: Method, path: &str, body: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .expect("a request");
    let response = Fake::leading(cluster).send(request).await;
    (response.status().as_u16(), body_text(response).await)
}

async fn post(cluster: &Cluster, path: &str, body: &str) -> (u16, String) {
    ask(cluster, Method::POST, path, body).await
}

fn about(call: &str, agent: &str) -> String {
    format!(
        r#"{{"type":"{call}","{}":{{"agent_id":{{"value":"{agent}"}}}}}}"#,
        call.to_lowercase()
    )
}

/// The id of the agent at this place.
fn agent(cluster: &Cluster, n: usize) -> String {
    let agent = cluster.state.agents().nth(n).expect("an agent");
    agent.id.to_string()
}

/// Both machines in one window, the first of them down.
fn half_down() -> Cluster {
    let mut cluster = busy();
    cluster.ok(Command::UpdateMaintenance(UpdateMaintenance {
        windows: vec![MaintenanceWindow {
            machines: vec![machine(1), machine(2)],
            unavailability: Unavailability {
                start_ns: 1,
                duration_ns: None,
            },
        }],
    }));
    cluster.ok(Command::StartMaintenance(StartMaintenance {
        machines: vec![machine(1)],
    }));
    cluster
}

#[tokio::test]
async fn agents_are_taken_out_of_use_and_back() {
    let (idle, deactivated, drained, gone) = (idle(), deactivated(), drained(), gone());
    let unknown = || (400, "Unknown agent".to_owned());
    let not_found = |id: &str| (404, format!("Agent '{id}' not found"));
    let done = || (200, String::new());
    for (cluster, n, call, answer) in [
        (&idle, 0, "DRAIN_AGENT", done()),
        (&idle, 0, "DEACTIVATE_AGENT", done()),
        (&idle, 0, "MARK_AGENT_GONE", done()),
        (&deactivated, 1, "REACTIVATE_AGENT", done()),
        (&drained, 1, "REACTIVATE_AGENT", done()),
    ] {
        let id = agent(cluster, n);
        assert_eq!(
            post(cluster, "/api/v1", &about(call, &id)).await,
            answer,
            "{call}"
        );
    }
    let id = agent(&idle, 0);
    let (status, text) = post(&idle, "/api/v1", &about("REACTIVATE_AGENT", &id)).await;
    assert_eq!(
        (status, text),
        (400, format!("agent {id} is not deactivated"))
    );
    for name in ["no-such", "not/an/id"] {
        for call in ["DRAIN_AGENT", "DEACTIVATE_AGENT", "REACTIVATE_AGENT"] {
            assert_eq!(post(&idle, "/api/v1", &about(call, name)).await, unknown());
        }
        let told = post(&idle, "/api/v1", &about("MARK_AGENT_GONE", name)).await;
        assert_eq!(told, not_found(name));
    }
    // Marked gone once more.
    let (id, _) = gone.state.gone_agents().next().expect("one");
    let told = post(&gone, "/api/v1", &about("MARK_AGENT_GONE", id.as_str())).await;
    assert_eq!(told, done());
    let told = post(&gone, "/api/v1", &about("DRAIN_AGENT", id.as_str())).await;
    assert_eq!(told, unknown());
}

#[tokio::test]
async fn an_agent_whose_machine_is_in_the_schedule_is_not_drained() {
    let cluster = maintenance();
    let id = agent(&cluster, 1);
    let (status, text) = post(&cluster, "/api/v1", &about("DRAIN_AGENT", &id)).await;
    assert_eq!(status, 400);
    assert!(text.contains("maintenance schedule"), "{text}");
}

#[tokio::test]
async fn a_schedule_is_put_in_place_by_both_ways() {
    let cluster = idle();
    let window =
        r#"{"machine_ids":[{"hostname":"A"}],"unavailability":{"start":{"nanoseconds":5}}}"#;
    let schedule = format!(r#"{{"windows":[{window}]}}"#);
    let call = format!(
        r#"{{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{{"schedule":{schedule}}}}}"#
    );
    let done = (200, String::new());
    assert_eq!(post(&cluster, "/api/v1", &call).await, done);
    for path in ["/maintenance/schedule", "/master/maintenance/schedule"] {
        assert_eq!(post(&cluster, path, &schedule).await, done);
    }
    for (body, wrong) in [
        ("{}", None),
        (r#"{"windows":[{}]}"#, Some("unavailability")),
        (
            r#"{"windows":[{"unavailability":{"start":{"nanoseconds":5}}}]}"#,
            Some("List of machines in the maintenance window is empty"),
        ),
        (
            r#"{"windows":[{"machine_ids":[{}],"unavailability":{"start":{"nanoseconds":5}}}]}"#,
            Some("Both 'hostname' and 'ip' for a machine are empty"),
        ),
        (
            r#"{"windows":[{"machine_ids":[{"ip":"x"}],"unavailability":{"start":{"nanoseconds":5}}}]}"#,
            Some("'ip' of a machine is no address: 'x'"),
        ),
    ] {
        let (status, text) = post(&cluster, "/maintenance/schedule", body).await;
        match wrong {
            None => assert_eq!(status, 200, "{text}"),
            Some(wrong) => {
                assert_eq!(status, 400, "{body}");
                assert!(text.contains(wrong), "{body}: {text}");
            }
        }
    }
    for (method, path, status) in [
        (Method::PUT, "/maintenance/schedule", 405),
        (Method::POST, "/maintenance/status", 405),
        (Method::GET, "/machine/down", 405),
        (Method::GET, "/machine/up", 405),
        (Method::GET, "/maintenance/status", 200),
    ] {
        let (answered, _) = ask(&cluster, method, path, "").await;
        assert_eq!(answered, status, "{path}");
    }
}

#[tokio::test]
async fn machines_go_down_and_come_up() {
    let cluster = half_down();
    let name = |n: u64| format!(r#"{{"hostname":"agent{n}.example","ip":"10.0.0.{n}"}}"#);
    let call = |call: &str, n: u64| {
        format!(
            r#"{{"type":"{call}","{}":{{"machines":[{}]}}}}"#,
            call.to_lowercase(),
            name(n)
        )
    };
    let (_, status) = ask(&cluster, Method::GET, "/maintenance/status", "").await;
    assert_eq!(
        status,
        format!(
            r#"{{"draining_machines":[{{"id":{}}}],"down_machines":[{}]}}"#,
            name(2),
            name(1)
        )
    );
    let done = (200, String::new());
    for (path, n, expected) in [
        ("/machine/down", 2, 200),
        ("/machine/down", 1, 400),
        ("/machine/up", 1, 200),
        ("/machine/up", 2, 400),
    ] {
        let list = format!("[{}]", name(n));
        let (status, text) = post(&cluster, path, &list).await;
        assert_eq!(status, expected, "{path} {n}: {text}");
        if status == 400 {
            assert!(
                text.starts_with(&format!("Machine '{}' is not in D", name(n))),
                "{text}"
            );
        }
    }
    assert_eq!(
        post(&cluster, "/api/v1", &call("START_MAINTENANCE", 2)).await,
        done
    );
    assert_eq!(
        post(&cluster, "/api/v1", &call("STOP_MAINTENANCE", 1)).await,
        done
    );
    for body in ["{", "{}", r#"[{"ip":5.5}]"#, "[]"] {
        let (status, text) = post(&cluster, "/machine/down", body).await;
        assert_eq!(status, 400, "{body}");
        assert!(text.contains("machines"), "{body}: {text}");
    }
    // What is down counts no more.
    let (_, slaves) = ask(&cluster, Method::GET, "/slaves", "").await;
    assert!(!slaves.contains("agent1.example"), "{slaves}");
    let (_, state) = ask(&cluster, Method::GET, "/state", "").await;
    assert!(state.contains(r#""unreachable_slaves":0.0"#), "{state}");
}
