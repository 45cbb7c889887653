//! Malformed calls of executors at a real agent: a thousand of each are refused with what is wrong, and
//! change nothing.
//!
//! `REGENCY_MALFORMED_SEED=N` begins with that seed, `REGENCY_MALFORMED_REQUESTS=N` sends so many of each.

mod common;

use common::agent::Agent;
use common::master::{FRAMEWORK, Master};
use regency_testkit::Rng;
use regency_testkit::malformed::{Request, Valid, calls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests of each call.
const REQUESTS: u64 = 1_000;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("the setting is a number"),
        Err(_) => default,
    }
}

async fn ask(address: &str, request: &Request) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(address).await.expect("a listener");
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: {}\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let bytes = [head.as_bytes(), &request.body].concat();
    stream.write_all(&bytes).await.map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    read.map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status
        .map(|status| (status, answer))
        .ok_or("no answer".to_owned())
}

async fn all_are_refused(address: &str, endpoints: &[Valid]) -> Vec<String> {
    let first = setting("REGENCY_MALFORMED_SEED", 0);
    let n = setting("REGENCY_MALFORMED_REQUESTS", REQUESTS);
    let mut wrong = Vec::new();
    for valid in endpoints {
        for seed in first..first + n {
            let made = valid.malform(&mut Rng::new(seed));
            let answer = ask(address, &made.request).await;
            if let Err(why) = answer.and_then(|(status, text)| made.judge(status, &text)) {
                let (name, how, request) = (&valid.name, &made.how, &made.request);
                wrong.push(format!(
                    "REGENCY_MALFORMED_SEED={seed} {name}: {how} ({} {} {:?})\n  {}\n  {why}",
                    request.method,
                    request.path,
                    request.headers,
                    String::from_utf8_lossy(&request.body)
                ));
                // One of each call is enough to read.
                break;
            }
        }
    }
    wrong
}

#[tokio::test]
async fn malformed_calls_of_executors_are_refused_and_change_nothing() {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    let address = agent.address(&master).await;
    let before = agent.get(&master, "/state").await;
    let wrong = all_are_refused(&address, &calls::executor(FRAMEWORK, "e")).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(agent.get(&master, "/state").await, before);
}
