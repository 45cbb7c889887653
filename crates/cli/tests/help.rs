//! What the binary says about itself.
//!
//! These tests also make cargo build the binary beside the tests of all packages, where those
//! that start real processes look for it.

use std::process::{Command, Output};

fn regency(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_regency"))
        .args(args)
        .output()
        .expect("the binary runs")
}

#[test]
fn the_version_is_that_of_the_package() {
    let expected = format!("regency {}\n", env!("CARGO_PKG_VERSION"));
    for args in [["version"], ["--version"]] {
        let output = regency(&args);
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

#[test]
fn help_goes_to_standard_output_and_hides_what_is_not_for_people() {
    for command in ["master", "agent", "local"] {
        let output = regency(&[command, "--help"]);
        assert!(output.status.success());
        assert!(output.stderr.is_empty());
        let help = String::from_utf8_lossy(&output.stdout);
        assert!(
            help.contains(&format!("Usage: regency {command}")),
            "{help}"
        );
        assert!(
            !help.contains("stop-with-stdin") && !help.contains("task-shim"),
            "{help}"
        );
    }
}
