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
    let output = sim(&["--seeds", "12"]);
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

/// A sync that is forgotten is a disk that lies.
#[test]
fn disks_that_lie_are_found() {
    let output = sim(&["--seeds", "4", "--disks-lie", "--no-shrink"]);
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains(" breaks "), "{text}");
    assert!(
        text.contains("again: cargo run -p regency-sim -- --from"),
        "{text}"
    );
}
