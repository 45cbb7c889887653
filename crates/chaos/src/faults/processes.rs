//! Processes that die, stand still, or get no processor.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};

use super::{Arena, Done};
use crate::driver::{Driver, Member, Process};
use crate::process::ticks_used;

/// How long a master may run between two deaths of a restart loop.
const LOOP_PAUSE: Duration = Duration::from_millis(400);
/// Programs that want a processor, for each processor.
const HOGS_PER_CPU: usize = 3;

impl<D: Driver> Arena<'_, D> {
    /// Kills members at once, waits, and starts them again.
    pub(super) async fn kill(
        &mut self,
        members: &[Member],
        lasts: Duration,
    ) -> anyhow::Result<Done> {
        let mut done = Done::default();
        let mut seen = Vec::new();
        for member in members {
            let pid = self.driver.pid(*member);
            self.driver.kill(*member).await?;
            done.targets.push(member.to_string());
            if self.settles(*member, Process::Gone).await? {
                done.confirmed += 1;
                seen.push(match pid {
                    Some(pid) => format!("{member} (pid {pid}) is gone"),
                    None => format!("{member} is gone"),
                });
            } else {
                seen.push(format!("{member} is still there"));
            }
        }
        // Only all of them together are what was meant.
        if done.confirmed < members.len() as u64 {
            done.confirmed = 0;
        }
        done.evidence = seen.join(", ");
        sleep(lasts).await;
        for member in members {
            self.start(*member).await?;
        }
        Ok(done)
    }

    /// Freezes a member, waits, and lets it go on.
    pub(super) async fn freeze(&mut self, member: Member, lasts: Duration) -> anyhow::Result<Done> {
        self.driver.freeze(member).await?;
        let frozen = self.settles(member, Process::Frozen).await?;
        sleep(lasts).await;
        self.driver.thaw(member).await?;
        anyhow::ensure!(
            self.settles(member, Process::Runs).await?,
            "{member} does not go on"
        );
        Ok(Done {
            targets: vec![member.to_string()],
            confirmed: u64::from(frozen),
            evidence: match frozen {
                true => format!("{member} stood still for {} ms", lasts.as_millis()),
                false => format!("{member} did not stand still"),
            },
        })
    }

    /// Kills a member each time it runs.
    pub(super) async fn restart_loop(
        &mut self,
        members: &[Member],
        lasts: Duration,
    ) -> anyhow::Result<Done> {
        let until = Instant::now() + lasts;
        let mut done = Done {
            targets: members.iter().map(Member::to_string).collect(),
            ..Done::default()
        };
        while Instant::now() < until {
            for member in members {
                self.driver.kill(*member).await?;
                done.confirmed += u64::from(self.settles(*member, Process::Gone).await?);
                self.start(*member).await?;
            }
            sleep(LOOP_PAUSE).await;
        }
        done.evidence = format!("died {} times", done.confirmed);
        Ok(done)
    }

    /// Lets neighbours take the processors of this machine.
    pub(super) async fn starve(&mut self, lasts: Duration) -> anyhow::Result<Done> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut hogs = Hogs(Vec::new());
        for _ in 0..cpus * HOGS_PER_CPU {
            let hog = Command::new("/bin/sh")
                .args(["-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .context("cannot start a neighbour")?;
            hogs.0.push(hog);
        }
        sleep(lasts).await;
        let used = hogs.0.iter().map(|hog| ticks_used(hog.id()));
        let (n, ticks) = (hogs.0.len(), used.sum::<u64>());
        Ok(Done {
            targets: vec![format!("{cpus} processors")],
            // A tick is 10 ms everywhere that matters.
            confirmed: u64::from(ticks * 10 > u64::try_from(lasts.as_millis())? / 2),
            evidence: format!("{n} neighbours used {} ms of processor time", ticks * 10),
        })
    }
}

/// Ended when dropped.
struct Hogs(Vec<Child>);

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            // One that is gone is what is wanted.
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}
