//! The binary under test.
//!
//! `cargo test` builds it for the tests of its own package, so that after `cargo test --workspace`
//! it lies beside the test programs. If it does not, or is older than its sources, it is built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::Context;

/// Names another binary to test, such as a release build.
pub const BINARY_VARIABLE: &str = "REGENCY_BINARY";

/// A test of the package that the binary belongs to.
const OWN_TEST: &str = "help";

/// The binary `regency`, up to date.
///
/// # Panics
/// When it cannot be built: then there is nothing to test.
pub fn regency() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| find().unwrap_or_else(|error| panic!("no binary to test: {error:#}")))
}

fn find() -> anyhow::Result<PathBuf> {
    if let Some(binary) = std::env::var_os(BINARY_VARIABLE) {
        return Ok(binary.into());
    }
    // target/<profile>/deps/<this test program>
    let test = std::env::current_exe().context("cannot find this test program")?;
    let profile = test
        .ancestors()
        .nth(2)
        .context("a test program outside of a target directory")?;
    let binary = profile.join("regency");
    if is_current(&binary) != Some(true) {
        build(profile)?;
        anyhow::ensure!(binary.exists(), "{} was not built", binary.display());
    }
    Ok(binary)
}

/// Whether the binary is newer than all its sources, which cargo lists beside it.
fn is_current(binary: &Path) -> Option<bool> {
    let built = modified(binary)?;
    let list = std::fs::read_to_string(binary.with_extension("d")).ok()?;
    let (_, sources) = list.split_once(':')?;
    // A source that is gone means that something changed, too.
    Some(
        sources
            .split_whitespace()
            .all(|source| modified(Path::new(source)).is_some_and(|changed| changed <= built)),
    )
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
}

fn build(profile: &Path) -> anyhow::Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    // As `cargo test --workspace` builds it, for a test of its own package. Built alone it would get other
    // features of its dependencies, and most of them would be compiled once more.
    cargo
        .args(["test", "--workspace", "--test", OWN_TEST, "--no-run"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    if let Some(target) = profile.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let status = cargo.status().context("cannot run cargo")?;
    anyhow::ensure!(status.success(), "it cannot be built: {status}");
    Ok(())
}
