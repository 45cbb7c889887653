//! `regency snapshot` on files, and against masters that are not there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn regency(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_regency"))
        .args(args)
        .output()
        .expect("the binary runs")
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../raft-store/tests/fixtures/snapshot-v1.bin")
}

/// Fails with status 1 and one line that contains all of these.
fn assert_refused(args: &[&str], parts: &[&str]) {
    let output = regency(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
    for part in parts {
        assert!(error.contains(part), "{args:?}: no '{part}' in: {error}");
    }
}

#[test]
fn a_file_of_the_first_format_is_shown_to_people_and_scripts() {
    let path = fixture();
    let path = path.to_str().expect("a path in UTF-8");
    let output = regency(&["snapshot", "inspect", path]);
    assert!(output.status.success());
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("index       123456\n"), "{table}");

    let output = regency(&["snapshot", "inspect", "--json", path]);
    assert!(output.status.success());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["index"], 123_456);
    assert_eq!(json["members"].as_array().map(Vec::len), Some(4));
}

#[test]
fn a_damaged_file_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("damaged.snapshot");
    let mut bytes = std::fs::read(fixture()).expect("the fixture");
    let last = bytes.last_mut().expect("not empty");
    *last ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    let text = path.to_str().expect("a path in UTF-8");
    for command in ["inspect", "verify"] {
        assert_refused(&["snapshot", command, text], &[text, "damaged", "checksum"]);
    }
    assert_refused(&["snapshot", "verify", "/no/such/file"], &["/no/such/file"]);
}

#[test]
fn nothing_is_left_behind_when_no_master_answers() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("saved.snapshot");
    let text = path.to_str().expect("a path in UTF-8");
    // Nobody listens there: the port is bound and closed again.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = free.local_addr().expect("bound").to_string();
    drop(free);
    let save = ["snapshot", "save", "--masters", &address, text];
    assert_refused(&save, &[&address, "--masters"]);
    let left = std::fs::read_dir(dir.path()).expect("listed").count();
    assert_eq!(left, 0);

    std::fs::write(&path, "precious").expect("writable");
    assert_refused(&save, &[text, "exists"]);
    assert_eq!(std::fs::read(&path).expect("readable"), b"precious");
}
