//! What the driver tells on its standard output, one line each.
//!
//! A line is written before a call into the log and one after it, so that whoever reads the pipe
//! knows what was promised, and what was being done, when the process died.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail};
use regency_raft_store::testing::{At, Found, TestVote};

/// A change that the driver begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Entries from `first` on, as many as said, all of one term.
    Append {
        term: u64,
        first: u64,
        count: u64,
    },
    Vote(TestVote),
    Committed(At),
    Truncate(u64),
    Purge(At),
}

/// An entry that the driver read after it opened the log, its content being right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: At,
    /// The life of the driver that wrote it.
    pub(crate) life: u32,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The log cannot be opened, and why.
    Refused(String),
    /// It was opened.
    Found(Found),
    /// It has this entry.
    Seen(Seen),
    /// All entries were read and are what was written.
    Checked,
    /// Something in it is not what was written.
    Wrong(String),
    /// A change begins.
    Begin(Change),
    /// All changes so far are durable.
    Durable,
    /// A call failed.
    Failed(String),
}

struct Shown<T>(Option<T>);

impl fmt::Display for Shown<At> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((term, index)) => write!(f, "{term}.{index}"),
            None => f.write_str("-"),
        }
    }
}

impl fmt::Display for Shown<TestVote> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(vote) => write!(
                f,
                "{}.{}.{}",
                vote.term,
                vote.node,
                u8::from(vote.committed)
            ),
            None => f.write_str("-"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused {}", why.replace('\n', " ")),
            Self::Found(found) => write!(
                f,
                "found {} {} {} {}",
                Shown(found.purged),
                Shown(found.last),
                Shown(found.vote),
                Shown(found.committed)
            ),
            Self::Seen(seen) => write!(f, "seen {} {}", Shown(Some(seen.at)), seen.life),
            Self::Checked => f.write_str("checked"),
            Self::Wrong(what) => write!(f, "wrong {}", what.replace('\n', " ")),
            Self::Begin(Change::Append { term, first, count }) => {
                write!(f, "append {term} {first} {count}")
            }
            Self::Begin(Change::Vote(vote)) => write!(f, "vote {}", Shown(Some(*vote))),
            Self::Begin(Change::Committed(at)) => write!(f, "committed {}", Shown(Some(*at))),
            Self::Begin(Change::Truncate(index)) => write!(f, "truncate {index}"),
            Self::Begin(Change::Purge(at)) => write!(f, "purge {}", Shown(Some(*at))),
            Self::Durable => f.write_str("durable"),
            Self::Failed(why) => write!(f, "failed {}", why.replace('\n', " ")),
        }
    }
}

fn at(text: &str) -> anyhow::Result<Option<At>> {
    if text == "-" {
        return Ok(None);
    }
    let (term, index) = text.split_once('.').context("a position has a dot")?;
    Ok(Some((term.parse()?, index.parse()?)))
}

fn vote(text: &str) -> anyhow::Result<Option<TestVote>> {
    if text == "-" {
        return Ok(None);
    }
    let parts: Vec<&str> = text.split('.').collect();
    let [term, node, committed] = parts[..] else {
        bail!("'{text}' is no vote");
    };
    Ok(Some(TestVote {
        term: term.parse()?,
        node: node.parse()?,
        committed: committed == "1",
    }))
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let parts: Vec<&str> = rest.split(' ').collect();
        let there = "a position is missing";
        Ok(match (word, &parts[..]) {
            ("refused", _) => Self::Refused(rest.to_owned()),
            ("found", [purged, last, voted, committed]) => Self::Found(Found {
                purged: at(purged)?,
                last: at(last)?,
                vote: vote(voted)?,
                committed: at(committed)?,
                unfinished: None,
            }),
            ("seen", [position, life]) => Self::Seen(Seen {
                at: at(position)?.context(there)?,
                life: life.parse()?,
            }),
            ("checked", _) => Self::Checked,
            ("wrong", _) => Self::Wrong(rest.to_owned()),
            ("append", [term, first, count]) => Self::Begin(Change::Append {
                term: term.parse()?,
                first: first.parse()?,
                count: count.parse()?,
            }),
            ("vote", [voted]) => Self::Begin(Change::Vote(vote(voted)?.context("no vote")?)),
            ("committed", [position]) => {
                Self::Begin(Change::Committed(at(position)?.context(there)?))
            }
            ("truncate", [index]) => Self::Begin(Change::Truncate(index.parse()?)),
            ("purge", [position]) => Self::Begin(Change::Purge(at(position)?.context(there)?)),
            ("durable", _) => Self::Durable,
            ("failed", _) => Self::Failed(rest.to_owned()),
            _ => bail!("'{line}' is no report"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_is_read_as_it_was_written() {
        let cast = TestVote {
            term: 3,
            node: 2,
            committed: true,
        };
        for report in [
            Report::Refused("no such file".to_owned()),
            Report::Found(Found {
                purged: None,
                last: Some((2, 9)),
                vote: Some(cast),
                committed: Some((1, 3)),
                unfinished: None,
            }),
            Report::Seen(Seen {
                at: (2, 9),
                life: 1,
            }),
            Report::Checked,
            Report::Wrong("entry 4".to_owned()),
            Report::Begin(Change::Append {
                term: 2,
                first: 10,
                count: 3,
            }),
            Report::Begin(Change::Vote(cast)),
            Report::Begin(Change::Committed((2, 3))),
            Report::Begin(Change::Truncate(7)),
            Report::Begin(Change::Purge((2, 4))),
            Report::Durable,
            Report::Failed("full".to_owned()),
        ] {
            let line = report.to_string();
            assert_eq!(line.parse::<Report>().expect("read"), report, "{line}");
        }
    }
}
