//! A process held by a file descriptor.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::shim::start_ticks;

/// One process, and never another one with the same number.
#[derive(Debug)]
pub(crate) struct PidFd(AsyncFd<OwnedFd>);

impl PidFd {
    /// Holds the process `pid` as it is now; `None` when there is none.
    ///
    /// # Errors
    /// What the operating system said.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(fd) => Ok(Some(Self(register(fd, Interest::READABLE)?))),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Holds the process `pid` that started at `start`; `None` when it is gone, whoever has its
    /// number now.
    ///
    /// # Errors
    /// What the operating system said.
    pub(crate) fn open_same(pid: u32, start: u64) -> io::Result<Option<Self>> {
        // The descriptor first: what it holds while the start is compared stays the same.
        let process = Self::open(pid)?;
        Ok(process.filter(|_| start_ticks(pid) == Some(start)))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// What the operating system said; that the process is gone is an error too.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(
            self.0.get_ref(),
            signal,
        )?)
    }

    /// Returns once the process ended.
    ///
    /// # Errors
    /// What the operating system said.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(|_| ())
    }
}

/// Waits for what happens to a descriptor.
///
/// # Errors
/// When the operating system cannot wait for it.
#[allow(
    unsafe_code,
    reason = "tokio offers no safe way to wait for a descriptor of our own"
)]
pub(crate) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names one and the same open descriptor for as long as it lives, and
    // the `AsyncFd` owns it until both end.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    Ok(registered?)
}

/// The same signal in the words of the other library.
pub(crate) fn signal_of(signal: nix::sys::signal::Signal) -> Signal {
    use nix::sys::signal::Signal as Nix;
    match signal {
        Nix::SIGUSR1 => Signal::USR1,
        Nix::SIGTERM => Signal::TERM,
        _ => Signal::KILL,
    }
}
