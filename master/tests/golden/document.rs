//! `docs/mesos-differences.md`: the list of differences, for people.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::differences::{DIFFERENCES, Difference, OF_FRAMEWORKS};

/// Set to write the document anew.
const WRITE: &str = "REGENCY_WRITE_DOCS";

const HEAD: &str = "\
# Where answers differ from those of Mesos

Exchanges captured from a real Apache Mesos 1.11 master are replayed on every change, and our answers
compared: status, headers that clients act on, the words of errors, and every key of a body with its
type. What we add does not count. These are all the differences; each has a reason, and one that is no
longer there fails the test that compares (`master/tests/golden`, which prints how many exchanges there
are and how many are equal).

This page is written from that list: `REGENCY_WRITE_DOCS=1 cargo test -p regency-master --test golden`.
Behaviour that no single exchange shows, such as what survives a change of leader, is told in
[frameworks.md](frameworks.md#where-the-answers-differ-from-mesos-and-why).

In the tables `*` stands for anything, and a key is written from the body's root `$`.
";

fn place() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/mesos-differences.md"
    ))
}

fn document() -> String {
    let mut out = HEAD.to_owned();
    for (title, list) in [
        ("Operators: calls, older endpoints, events", DIFFERENCES),
        ("Frameworks: calls and events", OF_FRAMEWORKS),
    ] {
        let _ = write!(out, "\n## {title}\n\n");
        if list.is_empty() {
            out.push_str("None.\n");
            continue;
        }
        out.push_str("| exchange | what | why |\n|---|---|---|\n");
        for one in list {
            let _ = writeln!(out, "{}", row(one));
        }
    }
    out
}

fn row(one: &Difference) -> String {
    let code = |list: &[&str]| {
        let list: Vec<String> = list.iter().map(|one| format!("`{one}`")).collect();
        list.join(", ")
    };
    let what = match one.paths {
        ["*"] => "the whole answer".to_owned(),
        paths => code(paths),
    };
    format!("| {} | {what} | {} |", code(one.cases), one.reason)
}

/// That nothing else is told is checked by `.ci/run`, which writes the document and wants no change.
#[test]
fn the_document_tells_all_that_is_listed() {
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(place(), document()).expect("the document can be written");
    }
    let there = std::fs::read_to_string(place()).expect("there is a document");
    let missing: Vec<String> = DIFFERENCES
        .iter()
        .chain(OF_FRAMEWORKS)
        .map(row)
        .filter(|row| !there.contains(row.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/mesos-differences.md does not tell these; write it with {WRITE}=1:\n{}",
        missing.join("\n")
    );
}
