//! Quotas and weights by operators: what is answered to what, and what is shown then.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use regency_master::api::operator::LeaderAt;
use serde_json::{Value, json};

use crate::world::{Fake, body_text, idle, operator};

async fn send(fake: &Fake, method: &str, path: &str, body: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(Body::from(body.to_owned()))
        .expect("a request");
    let response: Response<Body> = fake.send(request).await;
    (response.status(), body_text(response).await)
}

/// What a read shows.
async fn shown(fake: &Fake, path: &str) -> Value {
    let (code, text) = send(fake, "GET", path, "").await;
    assert_eq!(code, StatusCode::OK, "{path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

async fn called(fake: &Fake, call: &str) -> Value {
    let (code, text) = send(fake, "POST", "/api/v1", &format!(r#"{{"type":"{call}"}}"#)).await;
    assert_eq!(code, StatusCode::OK, "{call}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn what_was_decided_is_shown_as_mesos_shows_it() {
    let fake = Fake::leading(&operator());
    let scalar = |value: f64| json!({"value": value});
    let status = json!({
        "infos": [{"role": "golden", "guarantee": [
            {"name": "cpus", "type": "SCALAR", "scalar": scalar(1.0)},
            {"name": "mem", "type": "SCALAR", "scalar": scalar(64.0)}]}],
        "configs": [{"role": "golden",
            "guarantees": {"cpus": scalar(1.0), "mem": scalar(64.0)},
            "limits": {"cpus": scalar(4.0), "mem": scalar(1024.0)}}],
    });
    assert_eq!(shown(&fake, "/quota").await, status);
    assert_eq!(shown(&fake, "/master/quota").await, status);
    assert_eq!(
        called(&fake, "GET_QUOTA").await,
        json!({"type": "GET_QUOTA", "get_quota": {"status": status}})
    );
    let weights = json!([{"role": "golden", "weight": 2.5}]);
    assert_eq!(shown(&fake, "/weights").await, weights);
    assert_eq!(
        called(&fake, "GET_WEIGHTS").await,
        json!({"type": "GET_WEIGHTS", "get_weights": {"weight_infos": weights}})
    );
    let roles = shown(&fake, "/roles").await;
    let golden = &roles["roles"][0];
    assert_eq!(golden["name"], "golden");
    assert_eq!(golden["weight"], 2.5);
    assert_eq!(
        golden["quota"],
        json!({"role": "golden", "guarantee": {"cpus": 1.0, "mem": 64.0},
            "limit": {"cpus": 4.0, "mem": 1024.0},
            "consumed": {"cpus": 3.0, "mem": 160.0, "ports": 2.0}})
    );
    assert_eq!(
        called(&fake, "GET_ROLES").await["get_roles"]["roles"][0]["weight"],
        2.5
    );
    let metrics = shown(&fake, "/metrics/snapshot").await;
    let prefix = "allocator/mesos/quota/roles/golden/resources";
    for (key, value) in [
        (format!("{prefix}/cpus/guarantee"), 1.0),
        (format!("{prefix}/cpus/limit"), 4.0),
        (format!("{prefix}/cpus/consumed"), 3.0),
        (format!("{prefix}/mem/limit"), 1024.0),
        // Two of sixteen cpus; the weight was changed last, which took all offers back.
        (format!("{prefix}/cpus/offered_or_allocated"), 2.0),
        (
            "allocator/mesos/roles/golden/shares/dominant".to_owned(),
            0.05,
        ),
    ] {
        assert_eq!(metrics[&key], value, "{key}");
    }
}

#[tokio::test]
async fn updates_of_quota_are_answered_like_those_of_mesos() {
    let fake = Fake::leading(&operator());
    for (force, config, code, words) in [
        (
            false,
            r#"{"role":"golden","limits":{"cpus":{"value":3}}}"#,
            200,
            "",
        ),
        (false, r#"{"role":"golden"}"#, 200, ""),
        (
            false,
            r#"{"role":"big","guarantees":{"cpus":{"value":100000}}}"#,
            400,
            "Invalid QuotaConfig: total quota guarantees 'cpus:100001; mem:64' exceed cluster \
             capacity 'cpus:16; disk:131072; mem:32768' (use 'force' flag to bypass this check)",
        ),
        (
            true,
            r#"{"role":"big","guarantees":{"cpus":{"value":100000}}}"#,
            200,
            "",
        ),
        (
            false,
            r#"{"role":"golden","limits":{"cpus":{"value":1}}}"#,
            400,
            "already consumes",
        ),
        (
            true,
            r#"{"role":"golden","limits":{"cpus":{"value":1}}}"#,
            200,
            "",
        ),
        (
            true,
            r#"{"role":"a/b","limits":{"cpus":{"value":1}}}"#,
            400,
            "nested role 'a/b'",
        ),
        (
            true,
            r#"{"role":"","limits":{"cpus":{"value":1}}}"#,
            400,
            "'role'",
        ),
        (
            true,
            r#"{"role":"a","limits":{"cpus":{"value":-1}}}"#,
            400,
            "'limits' of role 'a': 'cpus'",
        ),
        (
            true,
            r#"{"role":"a","limits":{"cpus":{"value":1e13}}}"#,
            400,
            "'cpus'",
        ),
        (
            true,
            r#"{"role":"a","guarantees":{"gpus":{"value":"NaN"}}}"#,
            400,
            "'gpus'",
        ),
        (
            true,
            r#"{"role":"a","guarantees":{"cpus":{"value":2}},"limits":{"cpus":{"value":1}}}"#,
            400,
            "exceed its limits 'cpus:1'",
        ),
    ] {
        let call = format!(
            r#"{{"type":"UPDATE_QUOTA","update_quota":{{"force":{force},"quota_configs":[{config}]}}}}"#
        );
        let (status, text) = send(&fake, "POST", "/api/v1", &call).await;
        assert_eq!(status, code, "{config}: {text}");
        assert!(text.contains(words), "{config}: {text}");
        assert!(code != 200 || text.is_empty(), "{text}");
    }
    let twice =
        r#"{"type":"UPDATE_QUOTA","update_quota":{"quota_configs":[{"role":"a"},{"role":"a"}]}}"#;
    let (status, text) = send(&fake, "POST", "/api/v1", twice).await;
    assert_eq!(status, 400);
    assert!(text.contains("'a' is named twice"), "{text}");
}

#[tokio::test]
async fn the_older_form_of_quota_is_answered_like_that_of_mesos() {
    let fake = Fake::leading(&operator());
    let cpus = |value: &str| {
        format!(r#"[{{"name":"cpus","type":"SCALAR","scalar":{{"value":{value}}}}}]"#)
    };
    let ports = r#"[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}]"#;
    let reserved = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"x"}]"#;
    let both = format!("[{0},{0}]", cpus("1").trim_matches(['[', ']']));
    for (request, code, words) in [
        (
            format!(r#"{{"role":"a","guarantee":{}}}"#, cpus("2")),
            200,
            "",
        ),
        (
            format!(r#"{{"role":"a","guarantee":{}}}"#, cpus("100")),
            409,
            "exceed cluster capacity",
        ),
        (
            format!(r#"{{"role":"a","force":true,"guarantee":{}}}"#, cpus("100")),
            200,
            "",
        ),
        (
            format!(
                r#"{{"role":"golden","force":true,"guarantee":{}}}"#,
                cpus("1")
            ),
            400,
            "Role 'golden' already has quota set",
        ),
        (
            format!(r#"{{"guarantee":{}}}"#, cpus("1")),
            400,
            "'role' is not set",
        ),
        (
            r#"{"role":"a"}"#.to_owned(),
            400,
            "guarantee of role 'a' is empty",
        ),
        (
            format!(r#"{{"role":"a/b","guarantee":{}}}"#, cpus("1")),
            400,
            "nested role",
        ),
        (
            format!(r#"{{"role":"a","guarantee":{}}}"#, cpus("-1")),
            400,
            "'guarantee'",
        ),
        (
            format!(r#"{{"role":"a","guarantee":{ports}}}"#),
            400,
            "'ports', which is not a plain",
        ),
        (
            format!(r#"{{"role":"a","guarantee":{reserved}}}"#),
            400,
            "'cpus', which is not a plain",
        ),
        (
            format!(r#"{{"role":"a","guarantee":{both}}}"#),
            400,
            "'cpus' twice",
        ),
    ] {
        let call = format!(r#"{{"type":"SET_QUOTA","set_quota":{{"quota_request":{request}}}}}"#);
        for (path, body) in [
            ("/quota", &request),
            ("/master/quota", &request),
            ("/api/v1", &call),
        ] {
            let (status, text) = send(&fake, "POST", path, body).await;
            assert_eq!(status, code, "{path} {body}: {text}");
            assert!(text.contains(words), "{path} {body}: {text}");
        }
    }
    let (status, text) = send(&fake, "POST", "/quota", r#"{"role":[1,2]}"#).await;
    assert_eq!(status, 400);
    assert!(
        text.contains("to protobuf") && text.contains("role"),
        "{text}"
    );

    let no_such = "Role 'no-such' has no quota set";
    for (method, path, body, code, words) in [
        ("DELETE", "/quota/golden", "", 200, String::new()),
        (
            "DELETE",
            "/quota/no-such",
            "",
            400,
            format!("Failed to remove quota for path '/master/quota/no-such': {no_such}"),
        ),
        (
            "POST",
            "/api/v1",
            r#"{"type":"REMOVE_QUOTA","remove_quota":{"role":"no-such"}}"#,
            400,
            format!("Failed to remove quota: {no_such}"),
        ),
        (
            "POST",
            "/api/v1",
            r#"{"type":"REMOVE_QUOTA","remove_quota":{"role":"golden"}}"#,
            200,
            String::new(),
        ),
        (
            "DELETE",
            "/quota",
            "",
            400,
            "Failed to remove quota: the path '/master/quota' names no role".to_owned(),
        ),
    ] {
        let answer = send(&fake, method, path, body).await;
        assert_eq!(
            answer,
            (StatusCode::from_u16(code).expect("a code"), words),
            "{path}"
        );
    }
    let (status, text) = send(&fake, "PUT", "/quota", "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(text.contains("'GET', 'POST', 'DELETE'"), "{text}");
}

#[tokio::test]
async fn weights_are_answered_like_those_of_mesos() {
    let fake = Fake::leading(&idle());
    for (weights, code, words) in [
        (r#"[{"role":"golden","weight":1.0}]"#, 200, ""),
        (r#"[{"role":" a/b ","weight":0.001}]"#, 200, ""),
        ("[]", 200, ""),
        (
            r#"[{"role":"a","weight":0}]"#,
            400,
            "for role 'a': Invalid weight '0'",
        ),
        (
            r#"[{"role":"a","weight":"NaN"}]"#,
            400,
            "Invalid weight 'NaN'",
        ),
        (
            r#"[{"role":"a","weight":0.0001}]"#,
            400,
            "Invalid weight '0.0001'",
        ),
        (
            r#"[{"role":"a","weight":1e300}]"#,
            400,
            "Weights must be within",
        ),
        (
            r#"[{"role":"a//b","weight":1}]"#,
            400,
            "Invalid role 'a//b'",
        ),
        (r#"[{"weight":1}]"#, 400, "Invalid role ''"),
    ] {
        let call =
            format!(r#"{{"type":"UPDATE_WEIGHTS","update_weights":{{"weight_infos":{weights}}}}}"#);
        for (method, path, body) in [("PUT", "/weights", weights), ("POST", "/api/v1", &call)] {
            let (status, text) = send(&fake, method, path, body).await;
            assert_eq!(status, code, "{path} {body}: {text}");
            assert!(text.contains(words), "{path} {body}: {text}");
        }
    }
    for wrong in ["{", "{}", r#"[{"role":"a"}]"#, "[1]"] {
        let (status, text) = send(&fake, "PUT", "/weights", wrong).await;
        assert_eq!(status, 400, "{wrong}: {text}");
        assert!(
            text.starts_with("Failed to parse update weights request JSON"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_is_decided_goes_to_the_leader() {
    let mut fake = Fake::leading(&operator());
    fake.leader = LeaderAt::There("m2.example:5050".into());
    let update = r#"{"type":"UPDATE_QUOTA","update_quota":{}}"#;
    let set = r#"{"type":"SET_QUOTA","set_quota":{"quota_request":{}}}"#;
    let remove = r#"{"type":"REMOVE_QUOTA","remove_quota":{"role":"a"}}"#;
    let weigh = r#"{"type":"UPDATE_WEIGHTS","update_weights":{}}"#;
    for (method, path, body) in [
        ("POST", "/quota", "{"),
        ("DELETE", "/master/quota/golden", ""),
        ("PUT", "/weights", "["),
        ("POST", "/api/v1", update),
        ("POST", "/api/v1", set),
        ("POST", "/api/v1", remove),
        ("POST", "/api/v1", weigh),
    ] {
        let (status, text) = send(&fake, method, path, body).await;
        assert_eq!(status, StatusCode::TEMPORARY_REDIRECT, "{path} {body}");
        assert_eq!(text, "");
    }
    // Reads do not.
    assert_eq!(shown(&fake, "/weights").await[0]["weight"], 2.5);
    assert_eq!(shown(&fake, "/quota").await["infos"][0]["role"], "golden");
    fake.leader = LeaderAt::Nowhere;
    let (status, text) = send(&fake, "PUT", "/weights", "[]").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text, "No leader elected");
}
