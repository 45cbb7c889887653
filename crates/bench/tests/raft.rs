//! The measurements of replication run, and what they print can be read. No figure is asserted.

use std::process::Command;

use serde_json::Value;

/// The JSON of a measurement in a directory of its own.
fn measured(args: &[&str]) -> Value {
    let dir = tempfile::tempdir().expect("temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_regency-bench"))
        .args(["raft"])
        .args(args)
        .arg("--json")
        .arg("--dir")
        .arg(dir.path())
        .output()
        .expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let left = std::fs::read_dir(dir.path()).expect("listable").count();
    assert_eq!(left, 0, "nothing is left behind");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn both_engines_are_loaded_in_one_run() {
    let report = measured(&[
        "load",
        "--systems=sled,segment",
        "--concurrency=1,16",
        "--rate=200",
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
    for figure in figures {
        assert_eq!(figure["gap"]["n"], 1, "{figure}");
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
    assert_eq!(figure["seconds"].as_array().map(Vec::len), Some(2));
    assert_eq!(figure["errors"], 0, "{figure}");
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
