//! The measurements of replication run, and what they print can be read. No figure is asserted.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

/// A measurement that prints JSON, with its data in this directory.
fn measuring(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regency-bench"));
    command.arg("raft").args(args).arg("--json");
    command.arg("--dir").arg(dir);
    command
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).expect("listable").count() == 0
}

/// The JSON of a measurement in a directory of its own.
fn measured(args: &[&str]) -> Value {
    let dir = tempfile::tempdir().expect("temporary directory");
    let output = measuring(args, dir.path()).output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(is_empty(dir.path()), "nothing is left behind");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn both_engines_are_loaded_in_one_run() {
    let report = measured(&[
        "load",
        "--systems=sled,segment",
        "--concurrency=1,16",
        "--rate=20",
        "--warm-up=100ms",
        "--duration=500ms",
    ]);
    assert!(report["host"]["fdatasync"]["n"].as_u64() > Some(0));
    let figures = report["figures"].as_array().expect("figures");
    assert_eq!(figures.len(), 6, "{figures:?}");
    for figure in figures {
        assert_eq!(figure["errors"], 0, "{figure}");
        assert!(figure["latency"]["n"].as_u64() > Some(0), "{figure}");
        assert!(
            figure["commits_per_second"].as_f64() > Some(0.0),
            "{figure}"
        );
    }
}

#[test]
fn a_leader_is_killed_and_frozen_and_hands_over() {
    let report = measured(&["failover", "--systems=segment", "--trials=1"]);
    let figures = report["figures"].as_array().expect("figures");
    let ways: Vec<&str> = figures.iter().filter_map(|f| f["way"].as_str()).collect();
    assert_eq!(ways, ["kill", "freeze", "hand-over"]);
    assert!(figures[2]["requests"]["sent"].as_u64() > Some(0));
    for figure in figures {
        let trials = if figure["way"] == "hand-over" { 5 } else { 1 };
        assert_eq!(figure["gap"]["n"], trials, "{figure}");
        assert!(figure["gap"]["max_ms"].as_f64() > Some(0.0), "{figure}");
    }
}

#[test]
fn a_master_serves_again_after_many_commits() {
    let report = measured(&[
        "restart",
        "--systems=segment",
        "--entries=2000",
        "--trials=1",
    ]);
    let figures = report["figures"].as_array().expect("figures");
    assert_eq!(figures.len(), 2, "with snapshots and without: {figures:?}");
    for figure in figures {
        assert!(figure["disk_bytes"].as_u64() > Some(0), "{figure}");
        assert_eq!(figure["restart_seconds"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn a_master_that_was_down_is_level_again() {
    let report = measured(&[
        "catch-up",
        "--systems=sled",
        "--rate=100",
        "--down=500ms",
        "--before=200ms",
    ]);
    let figures = report["figures"].as_array().expect("figures");
    assert_eq!(figures.len(), 2, "with snapshots and without: {figures:?}");
    for figure in figures {
        assert!(figure["missed"].as_u64() > Some(0), "{figure}");
        assert!(figure["seconds"].as_f64() > Some(0.0), "{figure}");
        assert_eq!(figure["errors"], 0, "{figure}");
    }
}

#[test]
fn a_large_state_is_made_and_its_snapshot_measured() {
    let report = measured(&[
        "snapshot",
        "--systems=segment",
        "--agents=10",
        "--tasks=35",
        "--frameworks=3",
        "--rate=100",
        "--snapshots=2",
        "--before=200ms",
    ]);
    let figure = &report["figures"][0];
    assert!(figure["bytes"].as_u64() > Some(0), "{figure}");
    for of_each in ["seconds", "longest_before_ms", "longest_ms"] {
        assert_eq!(figure[of_each].as_array().map(Vec::len), Some(2));
    }
    assert_eq!(figure["errors"], 0, "{figure}");
}

#[test]
fn writes_go_on_while_leaders_are_killed() {
    let report = measured(&[
        "availability",
        "--systems=segment",
        "--for=4s",
        "--kill-every=1500ms",
        "--down=200ms",
    ]);
    let figure = &report["figures"][0];
    assert_eq!(figure["kills"], 2, "{figure}");
    assert!(figure["gaps_ms"].is_array(), "{figure}");
    assert!(figure["seconds"].as_f64() >= Some(4.0), "{figure}");
}

#[test]
fn a_race_stands_beside_the_targets_and_keeps_what_it_has() {
    let out = tempfile::tempdir().expect("temporary directory");
    let file = out.path().join("race.json");
    let report = measured(&[
        "race",
        "--systems=segment",
        "--scale=0.002",
        "--runs=1",
        "--parts=load,restart",
        "--out",
        file.to_str().expect("UTF-8"),
    ]);
    let rows = report["rows"].as_array().expect("rows");
    let numbers: Vec<u64> = rows.iter().filter_map(|r| r["number"].as_u64()).collect();
    assert_eq!(numbers, [8, 8, 10, 10, 11, 11, 11, 15, 15, 19]);
    assert!(rows[0]["figures"]["segment"].as_f64() > Some(0.0));
    assert_eq!(rows[0]["ours"][0]["system"], "segment");
    assert!(report["host"]["versions"]["regency"].is_string());
    assert!(report["host_after"]["fdatasync"]["n"].as_u64() > Some(0));
    let kept = std::fs::read(&file).expect("a file");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    assert_eq!(kept["rows"], report["rows"]);
    assert_eq!(kept["steps_left"], 0);
}

#[test]
fn a_race_that_is_stopped_cleans_up_and_tells_what_it_has() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let args = ["race", "--systems=segment", "--parts=restart", "--scale=50"];
    let mut command = measuring(&args, dir.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut race = command.spawn().expect("runs");
    let mut said = BufReader::new(race.stderr.take().expect("a pipe")).lines();
    // The members run.
    let is_on = |line: std::io::Result<String>| line.expect("UTF-8").contains("commits");
    assert!(said.any(is_on), "the race ended");
    let pid = Pid::from_raw(i32::try_from(race.id()).expect("a pid"));
    nix::sys::signal::kill(pid, Signal::SIGINT).expect("it runs");
    let rest: Vec<String> = said.map(|line| line.expect("UTF-8")).collect();
    let output = race.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(1), "{rest:?}");
    assert!(rest.join("\n").contains("1 steps left"), "{rest:?}");
    assert!(is_empty(dir.path()), "nothing is left behind");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["steps_left"], 1);
}

#[test]
fn a_wrong_flag_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_regency-bench"))
        .args(["raft", "load", "--concurrency=0"])
        .output()
        .expect("runs");
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("--concurrency"), "{stderr}");
}
