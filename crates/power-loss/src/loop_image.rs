//! The model of an honest disk: ext4 in an image file.
//!
//! What the file system has given to its device is safe, what it still keeps in memory is lost. The
//! driver is stopped, the image is copied, and the copy is mounted: the kernel replays its journal as
//! after a power cut.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::storage::{Crash, Storage, copy_all};

const IMAGE_BYTES: u64 = 96 * 1024 * 1024;
/// How often the image may change under our hands while it is copied.
const COPIES_MAX: u32 = 50;

/// The image of one round.
pub(crate) struct LoopImage {
    place: tempfile::TempDir,
    mounted: bool,
    crash: Option<Crash>,
    /// Whether the image of this life's crash was taken.
    taken: bool,
    ended: bool,
}

impl LoopImage {
    /// An empty file system.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let place = tempfile::Builder::new().prefix("power-loss-").tempdir()?;
        std::fs::create_dir(place.path().join("mnt"))?;
        let image = Self {
            place,
            mounted: false,
            crash: None,
            taken: false,
            ended: false,
        };
        File::create(image.path("now"))?.set_len(IMAGE_BYTES)?;
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-E", options, "-J", "size=8"])
            .arg(image.path("now")))?;
        Ok(image)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Copies the image as it is at one moment.
    fn take(&mut self) -> anyhow::Result<()> {
        let mut copy = std::fs::read(self.path("now"))?;
        for _ in 0..COPIES_MAX {
            let again = std::fs::read(self.path("now"))?;
            // Equal copies mean that nothing was written between the first and the second.
            if copy == again {
                write_sparse(&self.path("cut"), &copy)?;
                self.taken = true;
                return Ok(());
            }
            copy = again;
        }
        bail!("the image does not come to rest")
    }
}

fn write_sparse(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let file = File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (nth, block) in bytes.chunks(64 * 1024).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, nth as u64 * 64 * 1024)?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

impl Storage for LoopImage {
    fn mount(&mut self, crash: Option<Crash>) -> anyhow::Result<()> {
        self.crash = crash;
        self.taken = false;
        self.ended = false;
        if !self.mounted {
            let mounted = run(Command::new("mount")
                .args(["-t", "ext4", "-o", "loop"])
                .arg(self.path("now"))
                .arg(self.path("mnt")));
            mounted.context("loop devices and the right to mount are needed")?;
            self.mounted = true;
        }
        // The mount point itself is the parent directory that a master's log lies in.
        std::fs::create_dir_all(self.path("mnt").join("data"))?;
        File::open(self.path("mnt"))?.sync_all()?;
        Ok(())
    }

    fn log_dir(&self) -> PathBuf {
        self.path("mnt").join("data").join("log")
    }

    fn ended(&self) -> bool {
        self.ended
    }

    fn started(&mut self, _: Pid) {}

    fn reported(&mut self, driver: Pid, count: u64) -> anyhow::Result<()> {
        let Some(crash) = self.crash.filter(|crash| crash.after == count) else {
            return Ok(());
        };
        if crash.power {
            kill(driver, Signal::SIGSTOP)?;
            // Returns when all its threads stand still, or are gone.
            let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            waitid(Id::Pid(driver), flags)?;
            self.take()?;
        }
        self.ended = true;
        // It may have ended by itself.
        let _ = kill(driver, Signal::SIGKILL);
        Ok(())
    }

    fn unmount(&mut self) -> anyhow::Result<()> {
        let power = self.crash.is_some_and(|crash| crash.power);
        if power && !self.taken {
            self.take()?;
        }
        // After a kill the file system lives on.
        if self.mounted && (power || self.crash.is_none()) {
            run(Command::new("umount").arg(self.path("mnt")))?;
            self.mounted = false;
        }
        if power {
            std::fs::rename(self.path("cut"), self.path("now"))?;
        }
        Ok(())
    }

    fn export(&mut self, to: &Path) -> anyhow::Result<()> {
        self.mount(None)?;
        copy_all(&self.log_dir(), to)?;
        self.unmount()
    }
}

impl Drop for LoopImage {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = run(Command::new("umount").arg(self.path("mnt")))
        {
            let _ = writeln!(std::io::stderr(), "{error:#}");
        }
    }
}
