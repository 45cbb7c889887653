//! One flipped bit in the files of a stopped master: it is noticed before anything of it is served,
//! or changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use regency_raft_store::offline::{DataDir, LogEntry, VoteFacts};
use regency_testkit::Rng;

use crate::masters::Masters;

/// Flips before everything begins anew, with empty directories.
const ROUND: usize = 20;
const MASTERS: usize = 3;
/// Writes before the first flip: snapshots were taken and the log was purged by then.
const WRITES_FIRST: usize = 100;

/// What became of a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The master did not start, and said where the damage is.
    Refused,
    /// It started with what it had elsewhere, and said so.
    Repaired,
    /// It started without the end of its log, and said so.
    Cut,
    /// The bit is part of nothing.
    Harmless,
    /// It started without the end of its log, and did not say so.
    LostUnnoticed,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// What holds the entries: the database, or segments.
    Log,
    /// Vote and markers: the slots, or the witness beside the database.
    Meta,
    Snapshot,
    Identity,
}

const TARGETS: [Target; 4] = [
    Target::Log,
    Target::Meta,
    Target::Snapshot,
    Target::Identity,
];

impl Target {
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?;
        let parent = file.parent()?.file_name()?.to_str()?;
        match (parent, name) {
            (_, "identity") => Some(Self::Identity),
            (_, "lock") => None,
            ("witness", _) | (_, "meta") => Some(Self::Meta),
            ("snapshots", _) => Some(Self::Snapshot),
            _ => Some(Self::Log),
        }
    }
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) flips: usize,
    pub(crate) outcomes: BTreeMap<(Target, Outcome), usize>,
    pub(crate) replaced: usize,
    pub(crate) acknowledged: usize,
}

/// A place of one bit.
#[derive(Debug, Clone)]
struct Place {
    file: PathBuf,
    target: Target,
    byte: usize,
    bit: u32,
}

/// Goes on until there were so many flips.
pub(crate) fn run(engine: &str, rng: &mut Rng, flips: usize) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while tally.flips < flips {
        let dir = tempfile::tempdir()?;
        let round = (flips - tally.flips).min(ROUND);
        if let Err(error) = one_round(dir.path(), engine, rng, round, &mut tally) {
            return Err(error.context(format!("see {}", dir.keep().display())));
        }
    }
    Ok(tally)
}

fn one_round(
    dir: &Path,
    engine: &str,
    rng: &mut Rng,
    flips: usize,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let masters = Masters::new(dir, MASTERS, engine)?;
    for i in 0..MASTERS {
        masters.start(i, None, false)?;
    }
    masters.more_writes(WRITES_FIRST)?;
    for n in 1..=flips {
        let i = rng.index(MASTERS);
        if rng.chance(50) {
            masters.kill(i)?;
        } else {
            masters.stop(i)?;
        }
        let data = masters.data_dir(i);
        let good = dir.join("good");
        copy(&data, &good)?;
        let place = choose(&data, rng)?;
        let (outcome, why) = flip_and_start(&masters, i, &place, &good)
            .with_context(|| format!("master {}, {place:?}", i + 1))?;
        tally.flips += 1;
        *tally.outcomes.entry((place.target, outcome)).or_default() += 1;
        if outcome == Outcome::Refused {
            // With the last one, as the reason says; else its disk is as it was.
            if n + 3 >= flips {
                ensure!(
                    why.contains("new master"),
                    "it does not say what to do: {why}"
                );
                masters.replace(i)?;
                tally.replaced += 1;
                masters.more_writes(10)?;
                break;
            }
            std::fs::remove_dir_all(&data)?;
            std::fs::rename(&good, &data)?;
            masters.start(i, None, false)?;
            masters.until("a master opens its directory", |heard| {
                heard.nodes[i].started
            })?;
        } else {
            std::fs::remove_dir_all(&good)?;
        }
        masters.more_writes(5)?;
    }
    masters.settle()?;
    tally.acknowledged += masters.look(|heard| heard.acknowledged.len());
    for i in 0..=MASTERS {
        masters.kill(i)?;
    }
    masters.compare_logs()
}

/// Flips the bit and starts the master; whatever it serves then is compared.
fn flip_and_start(
    masters: &Masters,
    i: usize,
    place: &Place,
    good: &Path,
) -> anyhow::Result<(Outcome, String)> {
    let before = Log::read(good).context("without a flip")?;
    let mut bytes = std::fs::read(&place.file)?;
    bytes[place.byte] ^= 1 << place.bit;
    std::fs::write(&place.file, bytes)?;
    let after = Log::read(&masters.data_dir(i));
    let said_before = masters.said(i)?.len();
    let Some(why) = masters.try_start(i)? else {
        masters.catches_up(i)?;
        let said = masters.said(i)?[said_before..].to_owned();
        let after = after.context("it starts, but its log cannot be read")?;
        return Ok((judge(&before, &after, &said)?, said));
    };
    let file = place.file.to_string_lossy();
    // The database knows no more than its directory.
    let named = match place.target {
        Target::Log | Target::Meta => why.contains("/log"),
        Target::Identity => why.contains(&*file),
        Target::Snapshot => why.contains("snapshot"),
    };
    ensure!(named, "it does not say where: {why}");
    Ok((Outcome::Refused, why))
}

fn judge(before: &Log, after: &Log, said: &str) -> anyhow::Result<Outcome> {
    ensure!(
        after.vote == before.vote,
        "the vote is {:?} after {:?}",
        after.vote,
        before.vote
    );
    let common = before.entries.len().min(after.entries.len());
    if let Some(at) = (0..common).find(|at| before.entries[*at] != after.entries[*at]) {
        bail!(
            "{:?} in the place of {:?}",
            after.entries[at],
            before.entries[at]
        );
    }
    let told = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if after.entries.len() < before.entries.len() {
        let cut = told(&["cut off", "incomplete"]);
        return Ok(if cut {
            Outcome::Cut
        } else {
            Outcome::LostUnnoticed
        });
    }
    let repaired = told(&["repaired", "a snapshot is damaged", "cut off"]);
    Ok(if repaired {
        Outcome::Repaired
    } else {
        Outcome::Harmless
    })
}

/// What is in the log of a master that does not run.
struct Log {
    vote: Option<VoteFacts>,
    entries: Vec<LogEntry>,
}

impl Log {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let opened = DataDir::open(dir)?;
        let mut entries = Vec::new();
        opened.entries(|entry| -> anyhow::Result<()> {
            entries.push(entry);
            Ok(())
        })?;
        Ok(Self {
            vote: opened.facts().vote,
            entries,
        })
    }
}

/// Any bit of any file, with equal chances for each kind of file, and few of the zeros behind what
/// was written.
fn choose(data: &Path, rng: &mut Rng) -> anyhow::Result<Place> {
    let mut files: BTreeMap<Target, Vec<PathBuf>> = BTreeMap::new();
    list(data, &mut |file| {
        if let Some(target) = Target::of(&file) {
            files.entry(target).or_default().push(file);
        }
    })?;
    loop {
        let target = *rng.pick(&TARGETS).context("no kind")?;
        let Some(file) = files.get(&target).and_then(|files| rng.pick(files)) else {
            continue;
        };
        let bytes = std::fs::read(file)?;
        let zeros = rng.chance(10);
        let fitting: Vec<usize> = (0..bytes.len())
            .filter(|at| (bytes[*at] == 0) == zeros)
            .collect();
        if let Some(byte) = rng.pick(&fitting) {
            return Ok(Place {
                file: file.clone(),
                target,
                byte: *byte,
                bit: u32::try_from(rng.below(8))?,
            });
        }
    }
}

/// All files below a directory.
fn list(dir: &Path, each: &mut impl FnMut(PathBuf)) -> anyhow::Result<()> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        paths.push(entry?.path());
    }
    // In an order that a seed repeats.
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(&path, each)?;
        } else {
            each(path);
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    list(from, &mut |file| files.push(file))?;
    for file in files {
        let target = to.join(file.strip_prefix(from)?);
        std::fs::create_dir_all(target.parent().context("no folder")?)?;
        std::fs::copy(&file, target)?;
    }
    Ok(())
}
