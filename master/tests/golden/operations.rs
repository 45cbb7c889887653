//! Reservations and volumes by operators: what is answered to what.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use regency_master::api::operator::LeaderAt;
use regency_types::AgentId;

use crate::world::{Fake, body_text, busy, idle};

const CPU: &str = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1},
    "reservations":[{"type":"DYNAMIC","role":"eng"}]}"#;

async fn post(fake: &Fake, path: &str, content_type: &str, body: String) -> Response<Body> {
    let request = Request::post(path)
        .header("content-type", content_type)
        .header("accept", "application/json")
        .body(Body::from(body))
        .expect("a request");
    fake.send(request).await
}

async fn form(fake: &Fake, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let escape =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let body: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", escape(value)))
        .collect();
    let response = post(fake, path, "text/plain", body.join("&")).await;
    (response.status(), body_text(response).await)
}

fn first_agent(fake: &Fake) -> AgentId {
    let state = &fake.view.state;
    state.agents().next().expect("there are two").id.clone()
}

#[tokio::test]
async fn forms_are_answered_like_those_of_mesos() {
    let fake = Fake::leading(&idle());
    let agent = first_agent(&fake);
    let agent = agent.as_str();
    let one = format!("[{CPU}]");
    let many = one.replace("\"value\":1", "\"value\":1000");
    let plain = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]"#;
    for (fields, code, part) in [
        (vec![("slaveId", agent), ("resources", &*one)], 202, ""),
        (vec![("slaveId", agent), ("resources", &*many)], 409, "cpus"),
        (
            vec![("slaveId", "x"), ("resources", &*one)],
            400,
            "No agent found",
        ),
        (vec![("slaveId", agent)], 400, "Missing 'resources'"),
        (vec![("resources", &*one)], 400, "Missing 'slaveId'"),
        (
            vec![("slaveId", agent), ("resources", "[")],
            400,
            "Error in parsing 'resources'",
        ),
        (
            vec![("slaveId", agent), ("resources", plain)],
            400,
            "Invalid RESERVE operation: Resource cpus:1 is not dynamically reserved",
        ),
    ] {
        for path in ["/reserve", "/master/reserve"] {
            let (status, text) = form(&fake, path, &fields).await;
            assert_eq!(status, code, "{fields:?}: {text}");
            assert!(text.contains(part), "{text}");
        }
    }
    let fields = [("slaveId", agent), ("volumes", &*one)];
    for path in ["/create-volumes", "/destroy-volumes"] {
        let (status, text) = form(&fake, path, &fields).await;
        assert_eq!(status, 400, "{text}");
    }
    let fields = [("slaveId", agent), ("resources", &*one)];
    let (status, _) = form(&fake, "/unreserve", &fields).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn calls_do_the_same_and_go_to_the_leader() {
    let mut fake = Fake::leading(&busy());
    let agent = first_agent(&fake);
    let call = format!(
        r#"{{"type":"RESERVE_RESOURCES","reserve_resources":
            {{"agent_id":{{"value":"{agent}"}},"resources":[{CPU}]}}}}"#
    );
    let json = "application/json";
    let response = post(&fake, "/api/v1", json, call.clone()).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let grow = format!(
        r#"{{"type":"GROW_VOLUME","grow_volume":{{"agent_id":{{"value":"{agent}"}},
            "volume":{CPU},"addition":{CPU}}}}}"#
    );
    let response = post(&fake, "/api/v1", json, grow).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let text = body_text(response).await;
    assert!(text.contains("Invalid GROW_VOLUME operation"), "{text}");
    fake.leader = LeaderAt::There("m2:5050".to_owned());
    let response = post(&fake, "/api/v1", json, call).await;
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
}
