//! Ending together with the process that started this one.
//!
//! `regency local` gives its masters and agents a pipe as standard input and never writes to it.
//! When it ends, in whatever way, the system closes the pipe, and they end too. (The signal that
//! Linux can send on the death of a parent needs unsafe code between fork and exec, and is bound
//! to the thread that forked, not to the process.)

use std::io::{self, Read};
use std::thread;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Hidden flag of processes that `regency local` starts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ParentFlags {
    /// End as soon as standard input does.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// Name of the flag, for whoever starts such processes.
pub(crate) const STOP_WITH_STDIN: &str = "--stop-with-stdin";

impl ParentFlags {
    /// If asked for, waits in a thread for the end of standard input; then calls `last` and ends
    /// the process as a crash would.
    pub(crate) fn watch(&self, last: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
        if !self.stop_with_stdin {
            return Ok(());
        }
        thread::Builder::new()
            .name("stop-with-stdin".to_owned())
            .spawn(move || {
                let mut nothing = [0; 64];
                let mut stdin = io::stdin().lock();
                while stdin.read(&mut nothing).is_ok_and(|n| n > 0) {}
                last();
                // Nothing that this process could do in an orderly way matters to anybody now.
                let _ = kill(Pid::this(), Signal::SIGKILL);
            })
            .context("cannot watch standard input")?;
        Ok(())
    }
}
