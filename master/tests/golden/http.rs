//! What clients may ask of the operator side beyond Mesos: freshness, the way to the leader.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use regency_master::api::operator::{LeaderAt, Unavailable};

use crate::world::{Fake, body_text, busy, idle, many_machines};

async fn get(fake: &Fake, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    fake.send(request.body(Body::empty()).expect("a request"))
        .await
}

async fn post(fake: &Fake, path: &str, content_type: &str, body: &str) -> Response<Body> {
    let request = Request::post(path)
        .header("content-type", content_type)
        .body(Body::from(body.to_owned()))
        .expect("a request");
    fake.send(request).await
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

#[tokio::test]
async fn reads_say_at_which_index_they_are_and_wait_for_the_one_asked_for() {
    let fake = Fake::leading(&idle());
    for path in [
        "/state",
        "/master/slaves",
        "/tasks.json",
        "/master/roles.json",
    ] {
        let response = get(&fake, path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&response, "x-regency-index"), Some("17"), "{path}");
    }
    let at = |index| [("x-regency-min-index", index)];
    assert_eq!(
        get(&fake, "/state", &at("17")).await.status(),
        StatusCode::OK
    );
    let response = get(&fake, "/state", &at("18")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body_text(response).await, "entry 18 is not applied here");
    let response = get(&fake, "/state", &at("soon")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(body_text(response).await.contains("'soon'"));
}

#[tokio::test]
async fn a_consistent_read_waits_for_the_barrier() {
    let mut fake = Fake::leading(&idle());
    fake.barrier = Err(Unavailable("no leader confirmed the read".into()));
    for (path, headers, code) in [
        ("/state", &[][..], StatusCode::OK),
        ("/state?consistent=false", &[], StatusCode::OK),
        (
            "/state?consistent=true",
            &[],
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (
            "/state",
            &[("x-regency-consistent", "true")],
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        ("/state?consistent=maybe", &[], StatusCode::BAD_REQUEST),
        ("/version?consistent=true", &[], StatusCode::OK),
    ] {
        let response = get(&fake, path, headers).await;
        assert_eq!(response.status(), code, "{path} {headers:?}");
    }
    let call = r#"{"type":"GET_AGENTS"}"#;
    let response = post(&fake, "/api/v1?consistent=true", "application/json", call).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    fake.barrier = Ok(17);
    let response = post(&fake, "/api/v1?consistent=true", "application/json", call).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-regency-index"), Some("17"));
}

#[tokio::test]
async fn a_master_that_is_not_ready_says_so_and_still_says_that_it_lives() {
    let mut fake = Fake::leading(&idle());
    fake.ready = Err(Unavailable("no leader was heard since the start".into()));
    for (path, code) in [
        ("/state", StatusCode::SERVICE_UNAVAILABLE),
        ("/readyz", StatusCode::SERVICE_UNAVAILABLE),
        ("/livez", StatusCode::OK),
        ("/health", StatusCode::OK),
        ("/master/health", StatusCode::OK),
        ("/version", StatusCode::OK),
        ("/flags", StatusCode::OK),
        ("/metrics", StatusCode::OK),
        ("/metrics/snapshot", StatusCode::OK),
    ] {
        assert_eq!(get(&fake, path, &[]).await.status(), code, "{path}");
    }
}

#[tokio::test]
async fn writes_go_to_the_leader_and_reads_do_not() {
    let mut fake = Fake::leading(&busy());
    fake.view.live.leader = false;
    fake.leader = LeaderAt::There("m2.example:5050".into());
    let teardown = r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"x"}}}"#;
    let form = "application/x-www-form-urlencoded";
    for (response, location) in [
        (
            post(&fake, "/master/teardown?a=b", form, "frameworkId=x").await,
            "//m2.example:5050/master/teardown?a=b",
        ),
        (
            post(&fake, "/api/v1", "application/json", teardown).await,
            "//m2.example:5050/api/v1",
        ),
        (get(&fake, "/redirect", &[]).await, "//m2.example:5050"),
        (
            get(&fake, "/master/redirect", &[]).await,
            "//m2.example:5050",
        ),
    ] {
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(header(&response, "location"), Some(location));
        assert_eq!(body_text(response).await, "");
    }
    let response = get(&fake, "/state", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let state: serde_json::Value =
        serde_json::from_str(&body_text(response).await).expect("it is JSON");
    assert_eq!(
        state["activated_slaves"], 2.0,
        "registered counts as active"
    );
    assert_eq!(state["elected_time"], serde_json::Value::Null);
    assert_eq!(state["leader"], "master@10.0.0.9:5050");

    fake.leader = LeaderAt::Nowhere;
    for response in [
        post(&fake, "/teardown", form, "frameworkId=x").await,
        post(&fake, "/api/v1", "application/json", teardown).await,
        get(&fake, "/redirect", &[]).await,
    ] {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body_text(response).await, "No leader elected");
    }
}

#[tokio::test]
async fn a_master_that_is_behind_does_not_say_that_an_agent_is_not_there() {
    let mut fake = Fake::leading(&idle());
    let call = r#"{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":"x"}}}"#;
    let code = async |fake: &Fake| {
        let response = post(fake, "/api/v1", "application/json", call).await;
        response.status()
    };
    assert_eq!(code(&fake).await, StatusCode::NOT_FOUND);
    fake.barrier = Err(Unavailable("no leader confirmed the read".into()));
    assert_eq!(code(&fake).await, StatusCode::SERVICE_UNAVAILABLE);
    fake.leader = LeaderAt::There("m2.example:5050".into());
    assert_eq!(code(&fake).await, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn a_framework_is_ended_by_form_and_by_call() {
    let cluster = busy();
    let fake = Fake::leading(&cluster);
    let id = cluster
        .state
        .frameworks()
        .next()
        .expect("there is one")
        .id
        .clone();
    // The type of a form is not looked at.
    let response = post(
        &fake,
        "/teardown",
        "text/plain",
        &format!("frameworkId={id}"),
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    let call = format!(r#"{{"type":"TEARDOWN","teardown":{{"framework_id":{{"value":"{id}"}}}}}}"#);
    let response = post(&fake, "/api/v1", "application/json", &call).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body_text(response).await, "");
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_want_it() {
    let fake = Fake::leading(&busy());
    let gzip = [("accept-encoding", "gzip")];
    let encoding =
        |response: &Response<Body>| header(response, "content-encoding").map(str::to_owned);
    let large = get(&fake, "/state", &gzip).await;
    assert_eq!(encoding(&large).as_deref(), Some("gzip"));
    let small = get(&fake, "/version", &gzip).await;
    assert_eq!(encoding(&small), None);
    let refused = get(&fake, "/state", &[("accept-encoding", "gzip;q=0")]).await;
    assert_eq!(encoding(&refused), None);
    assert_eq!(encoding(&get(&fake, "/state", &[]).await), None);
}

#[tokio::test]
async fn what_an_answer_is_handed_to_is_a_name() {
    let fake = Fake::leading(&idle());
    let response = get(&fake, "/roles?jsonp=angular.callbacks._0", &[]).await;
    assert_eq!(header(&response, "content-type"), Some("text/javascript"));
    assert_eq!(
        body_text(response).await,
        r#"angular.callbacks._0({"roles":[]})"#
    );
    let response = get(&fake, "/roles?jsonp=alert(1)%2F%2F", &[]).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_planned_for_machines_is_read_like_everything_else() {
    let fake = Fake::leading(&many_machines());
    for path in [
        "/maintenance/schedule",
        "/master/maintenance/schedule",
        "/maintenance/status",
        "/master/maintenance/status",
    ] {
        let called = get(&fake, &format!("{path}?jsonp=show"), &[]).await;
        assert_eq!(header(&called, "content-type"), Some("text/javascript"));
        assert_eq!(header(&called, "x-regency-index"), Some("17"), "{path}");
        let text = body_text(called).await;
        assert!(text.starts_with("show({") && text.ends_with("})"), "{text}");
        let packed = get(&fake, path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(header(&packed, "content-encoding"), Some("gzip"), "{path}");
        let wrong = get(&fake, &format!("{path}?jsonp=alert(1)"), &[]).await;
        assert_eq!(wrong.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let fake = Fake::leading(&idle());
    for (path, named) in [
        ("/tasks?limit=many", "'many'"),
        ("/tasks?offset=-1", "'-1'"),
        ("/tasks?order=up", "'up'"),
    ] {
        let response = get(&fake, path, &[]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        assert!(body_text(response).await.contains(named), "{path}");
    }
}

#[tokio::test]
async fn both_encodings_say_the_same() {
    use prost::Message;
    use regency_wire::v1::master::{Call, Response as Answer, call::Type};
    let fake = Fake::leading(&busy());
    let call = Call {
        r#type: Some(Type::GetState as i32),
        ..Call::default()
    };
    let request = |accept: &str| {
        Request::post("/api/v1/operator")
            .header("content-type", "application/x-protobuf")
            .header("accept", accept)
            .body(Body::from(call.encode_to_vec()))
            .expect("a request")
    };
    let binary = fake.send(request("application/x-protobuf")).await;
    assert_eq!(
        header(&binary, "content-type"),
        Some("application/x-protobuf")
    );
    let binary = http_body_util::BodyExt::collect(binary.into_body())
        .await
        .expect("the body ends well")
        .to_bytes();
    let json = body_text(fake.send(request("application/json")).await).await;
    let json: Answer = serde_json::from_str(&json).expect("it is the message");
    assert_eq!(Answer::decode(binary).expect("it is the message"), json);
    assert!(json.get_state.is_some());
}

#[tokio::test]
async fn calls_that_are_not_there_yet_are_not_taken() {
    let fake = Fake::leading(&idle());
    let call = r#"{"type":"UNKNOWN"}"#;
    let response = post(&fake, "/api/v1", "application/json", call).await;
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    let metrics = get(&fake, "/metrics", &[]).await;
    assert_eq!(body_text(metrics).await, "regency_test 1\n");
}

#[tokio::test]
async fn what_the_command_line_of_mesos_asks_for_is_answered() {
    let fake = Fake::leading(&busy());
    // It asks for all tasks by -1, and for frameworks with a slash behind.
    let all = get(&fake, "/tasks?order=asc&limit=-1", &[]).await;
    assert_eq!(all.status(), StatusCode::OK);
    let all: serde_json::Value =
        serde_json::from_str(&body_text(all).await).expect("JSON of tasks");
    assert_eq!(all["tasks"].as_array().map(Vec::len), Some(3), "{all}");
    for path in ["/master/frameworks/", "/slaves/"] {
        assert_eq!(
            get(&fake, path, &[]).await.status(),
            StatusCode::OK,
            "{path}"
        );
    }
    let below_zero = get(&fake, "/tasks?limit=-2", &[]).await;
    assert_eq!(below_zero.status(), StatusCode::BAD_REQUEST);
}
