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
fn a_wrong_flag_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_regency-bench"))
        .args(["raft", "load", "--concurrency=0"])
        .output()
        .expect("runs");
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("--concurrency"), "{stderr}");
}
