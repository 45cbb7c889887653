//! Command lines that cannot work: one line on standard error that names the offending value.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use regency_chaos_tests::binary;
use regency_chaos_tests::cluster::{Cluster, Member};

/// How long a command line that cannot work may take to say so.
const LIMIT: Duration = Duration::from_secs(30);

fn run(args: &[&str]) -> Output {
    let mut child = Command::new(binary::regency())
        .args(["--log-filter", "off"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().expect("a child of ours").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("it can be killed");
            panic!("{args:?} runs, although it cannot");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}

/// Fails with one line that contains all of these.
fn assert_refused(args: &[&str], status: i32, parts: &[&str]) {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
    assert!(error.starts_with("error: "), "{args:?}: {error}");
    for part in parts {
        assert!(error.contains(part), "{args:?}: no '{part}' in: {error}");
    }
}

fn master<'a>(dir: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let dir = dir.to_str().expect("a path in UTF-8");
    let mut args = vec!["master", "--id", "1", "--data-dir", dir];
    args.extend(more);
    args
}

#[test]
fn a_wrong_value_is_named_with_its_flag() {
    let dir = tempfile::tempdir().expect("a directory");
    let peers = ["--peers", "1=127.0.0.1:1:2:3"];
    for (args, parts) in [
        (vec!["serve"], vec!["'serve'"]),
        (vec!["master"], vec!["--id", "--data-dir", "--peers"]),
        (
            master(dir.path(), &[&peers[..], &["--port", "many"]].concat()),
            vec!["many", "--port"],
        ),
        (
            master(dir.path(), &["--peers", "1=host"]),
            vec!["1=host", "--peers"],
        ),
        (
            master(
                dir.path(),
                &[&peers[..], &["--heartbeat-interval", "soon"]].concat(),
            ),
            vec!["soon", "--heartbeat-interval"],
        ),
        (
            master(dir.path(), &[&peers[..], &["--timing", "slow"]].concat()),
            vec!["slow", "--timing", "fast, lan and wan"],
        ),
        (
            master(
                dir.path(),
                &[&peers[..], &["--fast-election", "maybe"]].concat(),
            ),
            vec!["maybe", "--fast-election"],
        ),
        (
            master(dir.path(), &[&peers[..], &["--weights", "a=-1"]].concat()),
            vec!["a=-1", "--weights"],
        ),
        (vec!["agent", "--work-dir", "/w"], vec!["--master"]),
        (
            vec!["agent", "--master", "zk://h/mesos", "--work-dir", "/w"],
            vec!["zk://h/mesos", "--master"],
        ),
        (vec!["local", "--masters", "2"], vec!["'2'", "--masters"]),
        (
            vec!["local", "--kill-leader-every", "often"],
            vec!["often", "--kill-leader-every"],
        ),
    ] {
        assert_refused(&args, 2, &parts);
    }
}

#[test]
fn what_can_be_read_but_not_be_is_refused_when_it_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    let peers = ["--peers", "2=127.0.0.1:1:2:3"];
    assert_refused(&master(dir.path(), &peers), 1, &["--id 1", "--peers", "2"]);
    let own = ["--peers", "1=127.0.0.1:1:2:3"];
    for (flags, parts) in [
        (
            vec!["--timing=fast", "--heartbeat-interval=50ms"],
            ["--election-timeout-min=60ms", "--heartbeat-interval=50ms"],
        ),
        (
            vec!["--election-timeout-max=100ms"],
            [
                "--election-timeout-max=100ms",
                "--election-timeout-min=150ms",
            ],
        ),
    ] {
        let args = master(dir.path(), &[&own[..], &flags].concat());
        assert_refused(&args, 1, &parts);
        assert_refused(&[&["local"], &flags[..]].concat(), 1, &parts);
    }
    let work_dir = dir.path().join("agent");
    let agent = [
        "agent",
        "--master",
        "127.0.0.1:1",
        "--port",
        "0",
        "--work-dir",
    ];
    let resources = ["--resources", "cpus:many"];
    let args = [&agent[..], &[work_dir.to_str().expect("UTF-8")], &resources].concat();
    assert_refused(&args, 1, &["cpus:many"]);
}

#[test]
fn a_port_in_use_is_named_with_the_flag_to_move_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let peers = format!("1=127.0.0.1:1:{port}:3");
    let args = master(dir.path(), &["--peers", &peers, "--port", &port]);
    assert_refused(&args, 1, &[&port, "--port"]);
    assert_refused(&["local", "--port-base", &port], 1, &[&port, "--port-base"]);
}

#[tokio::test]
async fn a_data_directory_of_another_is_refused() {
    let mut cluster = Cluster::start(&["--masters", "1", "--agents", "0"]).await;
    let dir = cluster.info(Member::Master(1)).dir.clone();
    let dir = dir.to_str().expect("UTF-8");
    let free = ["--port", "0", "--raft-port", "0", "--agent-port", "0"];
    let second = |id: &'static str, peers: &'static str| {
        let args = ["master", "--id", id, "--data-dir", dir, "--peers", peers];
        [&args[..], &free].concat()
    };
    // Somebody works there.
    assert_refused(&second("1", "1=127.0.0.1:1:2:3"), 1, &[dir, "in use"]);
    cluster.kill(Member::Master(1)).await;
    // Nobody does, but it belongs to another master.
    assert_refused(&second("7", "7=127.0.0.1:1:2:3"), 1, &[dir, "7"]);
}

#[tokio::test]
async fn the_data_directory_of_another_cluster_is_refused() {
    let dir = {
        let kept = ["--masters", "1", "--agents", "0", "--keep"];
        let mut first = Cluster::start(&kept).await;
        let dir = first.info(Member::Master(1)).dir.clone();
        first.interrupt().await;
        dir
    };
    // A cluster of three in which number 1 is replaced by somebody from elsewhere.
    let mut second = Cluster::start(&["--agents", "0"]).await;
    second.kill(Member::Master(1)).await;
    let info = second.info(Member::Master(1)).clone();
    let own = info.dir.to_str().expect("UTF-8");
    let args: Vec<&str> = info.argv[1..]
        .iter()
        .map(|arg| {
            if arg == own {
                dir.to_str().expect("UTF-8")
            } else {
                arg
            }
        })
        .filter(|arg| *arg != "--bootstrap")
        .skip_while(|arg| *arg != "master")
        .collect();
    assert_refused(&args, 1, &["cluster"]);
    let kept = dir.parent().expect("a directory of the first cluster");
    std::fs::remove_dir_all(kept).expect("nobody uses it");
}
