//! Bits that turn over on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};

use super::{Arena, Done};
use crate::driver::{Driver, Kind, Member, Process};
use crate::history::{Damage, Reaction};

/// How long a damaged master may take to say something or to follow.
const REACTS_WITHIN: Duration = Duration::from_secs(30);

impl<D: Driver> Arena<'_, D> {
    /// Kills a master that does not lead, turns a bit over in one of its files, and looks what it
    /// does. One that refuses to start is replaced.
    pub(super) async fn flip(&mut self, pick: u64, lasts: Duration) -> anyhow::Result<Done> {
        let Some(leader) = self.leader().await else {
            return Ok(Done::not("nobody led"));
        };
        let others = self.pick(Kind::Master, pick, usize::MAX);
        let victim = others.into_iter().find(|one| one.id != leader.node_id);
        let Some(victim) = victim else {
            return Ok(Done::not("there is no master beside the leader"));
        };
        let dir = self.driver.data_dir(victim).context("no data directory")?;
        self.driver.kill(victim).await?;
        anyhow::ensure!(
            self.settles(victim, Process::Gone).await?,
            "{victim} is still there"
        );
        sleep(lasts).await;
        let flipped = turn_over(&dir, pick)?;
        self.record.starts(victim.id);
        self.driver.start(victim).await?;
        let reaction = self.reaction(victim).await?;
        let evidence = format!("{flipped}: {reaction:?}");
        self.record.history().damages.push(Damage {
            master: victim.id,
            what: flipped,
            reaction: reaction.clone(),
        });
        if !matches!(reaction, Reaction::Repaired) {
            if self.driver.observe(victim).await? != Process::Gone {
                self.driver.kill(victim).await?;
            }
            self.replace(victim.id).await?;
        }
        Ok(Done {
            targets: vec![victim.to_string()],
            confirmed: 1,
            evidence,
        })
    }

    /// Waits until a damaged master follows, or ends.
    async fn reaction(&mut self, victim: Member) -> anyhow::Result<Reaction> {
        let deadline = Instant::now() + REACTS_WITHIN;
        while Instant::now() < deadline {
            if self.driver.observe(victim).await? == Process::Gone {
                let said = self.driver.crashes()?.join("; ");
                return Ok(Reaction::Refused { said });
            }
            let statuses = self.statuses().await;
            let leader = crate::status::leader(&statuses);
            let own = statuses.iter().find(|status| status.node_id == victim.id);
            if let (Some(leader), Some(own)) = (leader, own) {
                if let Some(said) = &own.halted {
                    return Ok(Reaction::Refused { said: said.clone() });
                }
                if own.applied_index >= leader.applied_index {
                    return Ok(Reaction::Repaired);
                }
            }
            sleep(super::LOOK_AGAIN).await;
        }
        Ok(Reaction::Silent)
    }
}

/// Turns a bit over in a file below `dir`, and says which.
fn turn_over(dir: &Path, pick: u64) -> anyhow::Result<String> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    anyhow::ensure!(
        !files.is_empty(),
        "{} has no files with bytes",
        dir.display()
    );
    let path = &files[usize::try_from(pick % files.len() as u64)?];
    let mut bytes = std::fs::read(path).with_context(|| format!("no {}", path.display()))?;
    // Space that was reserved and never written holds nothing that could be damaged.
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(1, |last| last + 1);
    let bit = pick / files.len() as u64 % (used as u64 * 8);
    let at = usize::try_from(bit / 8)?;
    bytes[at] ^= 1 << (bit % 8);
    std::fs::write(path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let name = path.strip_prefix(dir).unwrap_or(path).display();
    Ok(format!(
        "bit {} of byte {at} of {used} in {name} is turned over",
        bit % 8
    ))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("no {}", dir.display()))? {
        let (entry, path) = entry.map(|entry| (entry.metadata(), entry.path()))?;
        let facts = entry?;
        if facts.is_dir() {
            collect(&path, files)?;
        } else if facts.is_file() && facts.len() > 0 {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_of_one_file_differs() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("below")).expect("a directory");
        let path = dir.path().join("below/log");
        let before = vec![7_u8; 1000];
        std::fs::write(&path, &before).expect("a file");
        for pick in [0, 1, 77_777, u64::MAX] {
            let said = turn_over(dir.path(), pick).expect("a file to damage");
            assert!(said.contains("below/log"), "{said}");
            let now = std::fs::read(&path).expect("a file");
            let differ = now.iter().zip(&before).map(|(a, b)| (a ^ b).count_ones());
            assert_eq!(differ.sum::<u32>(), 1);
            std::fs::write(&path, &before).expect("a file");
        }
    }
}
