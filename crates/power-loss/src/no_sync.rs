//! A fault on purpose: a process whose syncs do nothing.

use std::collections::BTreeMap;

use anyhow::Context as _;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// From now on `fsync` and `fdatasync` of this process succeed without doing anything.
pub(crate) fn install() -> anyhow::Result<()> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).context("this kind of processor")?;
    let rules = BTreeMap::from([
        (libc::SYS_fsync, Vec::new()),
        (libc::SYS_fdatasync, Vec::new()),
    ]);
    // A refused call with the error number 0 is one that succeeded.
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(0), arch)?;
    let program = BpfProgram::try_from(filter)?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}
