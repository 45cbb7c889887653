//! `docs/mesos-differences.md`: the list of differences, for people.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::differences::{DIFFERENCES, Difference, OF_AGENTS, OF_FRAMEWORKS};
use crate::figures::{AGENTS, CAPTURED, FRAMEWORKS, Figures, OPERATORS};

/// Set to write the document anew.
const WRITE: &str = "REGENCY_WRITE_DOCS";

const HEAD: &str = "\
# Where answers differ from those of Mesos

Exchanges captured from a real Apache Mesos 1.11 master are replayed on every change, and our answers
compared: status, headers that clients act on, the words of errors, and every key of a body with its
type. What we add does not count. These are all the differences; each has a reason, and one that is no
longer there fails the test that compares, and so does another number of equal exchanges than is told
here. The tests are `master/tests/golden`, `master/src/api/golden.rs` and `agent/tests/golden.rs`.

This page is written from that list: `REGENCY_WRITE_DOCS=1 cargo test -p regency-master --test golden`.
Behaviour that no single exchange shows, such as what survives a change of leader, is told in
[frameworks.md](frameworks.md#where-the-answers-differ-from-mesos-and-why).

In the tables `*` stands for anything, and a key is written from the body's root `$`.
";

const NOT_COMPARED: &str = "
Captured, but not replayed: what a `pymesos` scheduler and its master said (its successors are tests of
their own, `chaos-tests/pymesos`), the messages of the older driver, which cannot connect here, and the
events of a framework that does not know several roles, beyond the first.
";

fn place() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/mesos-differences.md"
    ))
}

fn document() -> String {
    let mut out = HEAD.to_owned();
    out.push_str(&figures());
    for (title, list) in [
        ("Operators: calls, older endpoints, events", DIFFERENCES),
        ("Frameworks: calls and events", OF_FRAMEWORKS),
        ("Agents: older endpoints", OF_AGENTS),
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

/// The exchanges that there are shapes of; those of events are no exchanges of their own.
fn shapes() -> usize {
    let of = |folder: &str| -> usize {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
        let situations = std::fs::read_dir(folder).expect("there are shapes");
        let situations = situations.map(|entry| entry.expect("a folder").path());
        situations
            .filter(|path| {
                !path.ends_with("framework-stream") && !path.ends_with("operator-stream")
            })
            .map(|path| {
                std::fs::read_dir(path)
                    .expect("shapes of a situation")
                    .count()
            })
            .sum()
    };
    of("tests/golden/shapes") + of("../agent/tests/golden")
}

/// How much is compared.
fn figures() -> String {
    let mut out = format!(
        "\n## How many\n\n\
         {CAPTURED} requests with their answers were captured; {} of them are made again here. Beside those, \
         what the\ncaptured streams of events hold is compared, once for each type of event.\n\n\
         | of | compared | equal | differ in what is listed |\n|---|---|---|---|\n",
        shapes()
    );
    let all = [
        ("operators", OPERATORS),
        ("frameworks", FRAMEWORKS),
        ("agents", AGENTS),
    ];
    let sum = |of: fn(&Figures) -> usize| all.iter().map(|(_, one)| of(one)).sum();
    let total = Figures {
        compared: sum(|one| one.compared),
        equal: sum(|one| one.equal),
    };
    for (of, Figures { compared, equal }) in all.into_iter().chain([("all", total)]) {
        let differ = compared - equal;
        let _ = writeln!(out, "| {of} | {compared} | {equal} | {differ} |");
    }
    out.push_str(NOT_COMPARED);
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
        .chain(OF_AGENTS)
        .map(row)
        .chain([figures()])
        .filter(|row| !there.contains(row.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/mesos-differences.md does not tell these; write it with {WRITE}=1:\n{}",
        missing.join("\n")
    );
}
