//! Requests with something wrong in them, at a real master: each is refused with what is wrong, and
//! nothing changes.
//!
//! - `REGENCY_MALFORMED_SEED=N` begins with that seed (0 otherwise);
//! - `REGENCY_MALFORMED_REQUESTS=N` sends so many to each endpoint.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use regency_testkit::Rng;
use regency_testkit::malformed::{Malformed, Valid, calls};

use super::testing::{BODY_BYTES_MAX, Master};

/// The endpoints of Mesos before v1 that take JSON.
const ENDPOINTS_OF_JSON: &[&str] = &[
    "/machine/down",
    "/machine/up",
    "/maintenance/schedule",
    "/quota",
    "/weights",
];

/// Requests that each call of each endpoint is sent.
const REQUESTS: u64 = 1_000;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("the setting is a number"),
        Err(_) => default,
    }
}

/// Sends all, and tells of each kind of wrong answer one.
async fn all_are_refused(master: &mut Master, endpoints: &[Valid]) {
    let first = setting("REGENCY_MALFORMED_SEED", 0);
    let n = setting("REGENCY_MALFORMED_REQUESTS", REQUESTS);
    let mut wrong: BTreeMap<(String, String), String> = BTreeMap::new();
    for valid in endpoints {
        let valid = Valid {
            too_long: Some(BODY_BYTES_MAX + 1),
            ..valid.clone()
        };
        for seed in first..first + n {
            let made = valid.malform(&mut Rng::new(seed));
            if let Err(why) = one_is_refused(master, &made).await {
                let kind = made.how.split(' ').next().unwrap_or_default().to_owned();
                let body = String::from_utf8_lossy(&made.request.body);
                let body: String = body.chars().take(1_000).collect();
                wrong.entry((valid.name.clone(), kind)).or_insert(format!(
                    "REGENCY_MALFORMED_SEED={seed} {}: {}\n  {} {} {:?}\n  {body}\n  {why}",
                    valid.name,
                    made.how,
                    made.request.method,
                    made.request.path,
                    made.request.headers,
                ));
            }
        }
    }
    let told: Vec<&str> = wrong.values().map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} kinds\n{}",
        told.len(),
        told.join("\n")
    );
}

async fn one_is_refused(master: &mut Master, made: &Malformed) -> Result<(), String> {
    let answer = AssertUnwindSafe(master.send(&made.request)).catch_unwind();
    let (status, text) = answer.await.map_err(|_| "it panicked".to_owned())?;
    made.judge(status, &text)?;
    master.is_unchanged()
}

#[tokio::test]
async fn a_thousand_malformed_requests_per_call_are_refused_and_change_nothing() {
    let mut master = Master::start().await;
    let ids = master.ids.clone();
    all_are_refused(&mut master, &calls::scheduler(&ids)).await;
    all_are_refused(&mut master, &calls::operator(&ids)).await;
    all_are_refused(&mut master, &calls::legacy(&ids)).await;
    all_are_refused(&mut master, &calls::legacy_json(ENDPOINTS_OF_JSON)).await;
    all_are_refused(&mut master, &calls::own_of_master()).await;
}

/// What is sent wrong above is right otherwise: without this, a mistake in the samples would make
/// every answer a refusal for its sake.
#[tokio::test]
async fn the_calls_that_are_made_wrong_are_right_before() {
    let master = Master::start().await;
    let ids = master.ids.clone();
    let all = [
        calls::scheduler(&ids),
        calls::legacy(&ids),
        calls::own_of_master(),
        // The last of these marks the agent gone that the others name.
        calls::operator(&ids),
    ];
    for valid in all.into_iter().flatten() {
        // What ends the framework, and with it what the others name.
        if valid.name.to_lowercase().contains("teardown") || valid.name == "nobody's" {
            continue;
        }
        let request = valid.unharmed();
        let (status, text) = master.send(&request).await;
        let expected = [200, 202, 307, 404, 409, 501].contains(&status);
        // What does not fit to what there is: resources that the agent does not have in this form, and
        // what a call before this one has set or none has.
        let of_state = ["Invalid ", "not found", "already has", "has no quota"];
        let of_state = of_state.iter().any(|words| text.contains(words));
        assert!(expected || of_state, "{}: {status} {text}", valid.name);
    }
}

#[tokio::test]
async fn a_change_is_noticed() {
    let mut master = Master::start().await;
    assert_eq!(master.is_unchanged(), Ok(()));
    let suppress = calls::scheduler(&master.ids)
        .into_iter()
        .find(|valid| valid.name == "SUPPRESS")
        .expect("there is one");
    let (status, _) = master.send(&suppress.unharmed()).await;
    assert_eq!(status, 202);
    assert!(master.is_unchanged().is_err());
}
