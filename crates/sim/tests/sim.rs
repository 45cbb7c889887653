//! A short run of the simulator, and what it would find.

use std::process::{Command, Output};

fn sim(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(flags)
        .output()
        .expect("the program runs")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn masters_keep_every_rule_through_failures_and_heal() {
    let output = sim(&["--seeds", "8"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed: &str| {
        let output = sim(&["--one", "--from", seed]);
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let first = run("1");
    assert!(first.contains("healed"), "{first}");
    assert_eq!(first, run("1"));
    assert_ne!(first, run("2"));
}

fn must_be_found(lies: &str) {
    let output = sim(&["--seeds", "6", "--lies", lies, "--no-shrink"]);
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains(" breaks "), "{text}");
    let again = format!("--seeds 1 --lies {lies}");
    assert!(text.contains(&again), "{text}");
}

#[test]
fn a_log_that_is_not_synced_is_found() {
    must_be_found("entries");
}

#[test]
fn disks_that_make_nothing_durable_are_found() {
    must_be_found("everything");
}
