//! A strict disk, mounted for one life of the driver after the other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use fuser::{BackgroundSession, Config, MountOption};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fuse::Mounted;
use super::{Disk, Ignored};
use crate::storage::{Crash, Storage, copy_all};

/// The disk of one round.
pub(crate) struct StrictDisk {
    disk: Arc<Mutex<Disk>>,
    place: tempfile::TempDir,
    session: Option<BackgroundSession>,
    /// Process to kill when the power goes; 0 before there is one.
    driver: Arc<AtomicI32>,
    power: bool,
}

impl StrictDisk {
    /// An empty disk. `sector` bytes survive or are lost together.
    pub(crate) fn new(seed: u64, sector: Option<usize>, ignored: Ignored) -> anyhow::Result<Self> {
        Ok(Self {
            disk: Arc::new(Mutex::new(Disk::new(seed, sector, ignored))),
            place: tempfile::Builder::new().prefix("power-loss-").tempdir()?,
            session: None,
            driver: Arc::default(),
            power: false,
        })
    }
}

impl Storage for StrictDisk {
    fn mount(&mut self, crash: Option<Crash>) -> anyhow::Result<()> {
        self.driver.store(0, Ordering::SeqCst);
        self.power = crash.is_some_and(|crash| crash.power);
        self.disk.lock().unwrap_or_else(|e| e.into_inner()).left =
            crash.map_or(u64::MAX, |crash| crash.after);
        let driver = Arc::clone(&self.driver);
        let off = move || {
            let pid = driver.load(Ordering::SeqCst);
            if pid != 0 {
                // It may be dead already.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("power-loss".to_owned())];
        let mounted = Mounted::new(Arc::clone(&self.disk), Box::new(off));
        let session = fuser::spawn_mount(mounted, self.place.path(), &config).context(
            "cannot mount a FUSE file system; /dev/fuse and the right to mount are needed",
        )?;
        self.session = Some(session);
        Ok(())
    }

    fn log_dir(&self) -> PathBuf {
        self.place.path().join("log")
    }

    fn ended(&self) -> bool {
        self.disk.lock().unwrap_or_else(|e| e.into_inner()).left == 0
    }

    fn started(&mut self, driver: Pid) {
        self.driver.store(driver.as_raw(), Ordering::SeqCst);
    }

    fn reported(&mut self, _: Pid, _: u64) -> anyhow::Result<()> {
        Ok(())
    }

    fn unmount(&mut self) -> anyhow::Result<()> {
        if let Some(session) = self.session.take() {
            match session.umount_and_join() {
                // What the kernel now and then tells who serves a file system that was unmounted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    std::fs::read_dir(self.place.path()).context("it is still mounted")?;
                }
                unmounted => unmounted.context("cannot unmount")?,
            }
        }
        let mut disk = self.disk.lock().unwrap_or_else(|e| e.into_inner());
        if self.power {
            disk.cut_power();
        } else {
            disk.forget_unnamed();
        }
        Ok(())
    }

    fn export(&mut self, to: &Path) -> anyhow::Result<()> {
        self.mount(None)?;
        copy_all(&self.log_dir(), to)?;
        self.unmount()
    }
}
