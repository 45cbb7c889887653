//! The process that writes. It opens the log, tells what it finds, and works until it is killed.

use std::io::{self, Write as _};
use std::path::PathBuf;

use regency_raft_store::EngineKind;
use regency_raft_store::testing::{Found, Sizes, TestLog};

use crate::report::{Change, Report, Seen};
use crate::script::{self, Script};

/// Bytes that are read at once.
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Small, so that the log goes from segment to segment in every life.
const SEGMENT_BYTES: u64 = 256 * 1024;
/// Small, so that a database is rebuilt now and then.
const REBUILD_BYTES_MIN: u64 = 1024 * 1024;

/// What the driver is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Orders {
    #[arg(long)]
    pub(crate) engine: EngineKind,
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) seed: u64,
    #[arg(long)]
    pub(crate) life: u32,
    /// Changes after which it ends by itself.
    #[arg(long)]
    pub(crate) steps: u32,
    /// Every sync of the process says that it succeeded, and does nothing.
    #[arg(long)]
    pub(crate) without_sync: bool,
}

/// Does what it is told, and reports.
pub(crate) fn run(orders: &Orders) -> anyhow::Result<()> {
    if orders.without_sync {
        crate::no_sync::install()?;
    }
    let sizes = Sizes {
        segment_bytes: Some(SEGMENT_BYTES),
        rebuild_bytes_min: Some(REBUILD_BYTES_MIN),
    };
    let (mut log, found) = match TestLog::open(orders.engine, &orders.dir, sizes) {
        Ok(opened) => opened,
        Err(error) => {
            let error = anyhow::Error::new(error);
            return tell(&Report::Refused(format!("{error:#}")));
        }
    };
    tell(&Report::Found(found))?;
    let Some(terms) = check(&log, &found, orders.seed)? else {
        return Ok(());
    };
    let script = Script::new(orders.seed, orders.life, &found, terms);
    match work(&mut log, script, orders.steps) {
        Ok(()) => Ok(()),
        Err(error) => tell(&Report::Failed(format!("{error:#}"))),
    }
}

fn tell(report: &Report) -> anyhow::Result<()> {
    // One write each: what is in the pipe survives the death of this process.
    let mut out = io::stdout().lock();
    out.write_all(format!("{report}\n").as_bytes())?;
    Ok(out.flush()?)
}

/// Reads all entries and reports them; their terms, unless something is wrong.
fn check(log: &TestLog, found: &Found, seed: u64) -> anyhow::Result<Option<Vec<u64>>> {
    let mut terms = Vec::new();
    let mut next = found.purged.map_or(0, |(_, index)| index + 1);
    loop {
        let entries = match log.read(next..u64::MAX, READ_BYTES_MAX) {
            Ok(entries) => entries,
            Err(error) => {
                tell(&Report::Wrong(format!(
                    "entry {next} cannot be read: {error}"
                )))?;
                return Ok(None);
            }
        };
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            next = entry.at.1 + 1;
            let Some(life) = script::recognise(seed, &entry) else {
                tell(&Report::Wrong(format!(
                    "entry {:?} is not what was written",
                    entry.at
                )))?;
                return Ok(None);
            };
            tell(&Report::Seen(Seen { at: entry.at, life }))?;
            terms.push(entry.at.0);
        }
    }
    tell(&Report::Checked)?;
    Ok(Some(terms))
}

fn work(log: &mut TestLog, mut script: Script, steps: u32) -> anyhow::Result<()> {
    for _ in 0..steps {
        let step = script.next();
        tell(&Report::Begin(step.change.clone()))?;
        match step.change {
            Change::Append { term, first, count } => {
                log.append(&script.entries(term, first, count))?;
            }
            Change::Vote(vote) => log.save_vote(vote)?,
            Change::Committed(at) => log.save_committed(at)?,
            Change::Truncate(index) => log.truncate_from(index)?,
            Change::Purge(at) => log.purge_upto(at)?,
        }
        if step.sync {
            log.sync()?;
            tell(&Report::Durable)?;
        }
        for _ in 0..step.tidy {
            if !log.tidy()? {
                break;
            }
        }
    }
    Ok(())
}
