//! The program itself. That it is tested has `cargo test --workspace` build it, for `.ci/run`.

use std::process::{Command, Output};

fn power_loss(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_power-loss"))
        .args(flags)
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_sector_of_a_strange_size_is_refused() {
    let output = power_loss(&["--tear", "1000"]);
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(
        error.contains("--tear") && error.contains("512 or 4096"),
        "{error}"
    );
}

#[test]
fn syncs_that_do_nothing_are_noticed_or_it_says_why_it_cannot_run() {
    let flags = "--model fuse --engine segment --rounds 2 --seed 1 --without file-sync";
    let output = power_loss(&flags.split(' ').collect::<Vec<_>>());
    // It fails in both cases; without root or /dev/fuse it names them.
    assert!(!output.status.success());
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(
        error.contains("cannot run here; missing: ") || out.contains(", life "),
        "{out}{error}"
    );
}
