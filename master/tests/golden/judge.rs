//! Whether answers differ from those of Mesos in what is listed, and in nothing else.

use std::collections::BTreeSet;

use super::differences::Difference;
use super::figures::Figures;

/// One way in which an answer of ours is not the captured one.
#[derive(Debug)]
pub(crate) struct Deviation {
    /// Situation and capture.
    pub(crate) case: String,
    /// Where.
    pub(crate) path: String,
    /// What.
    pub(crate) what: String,
}

impl Difference {
    fn covers(&self, deviation: &Deviation) -> bool {
        self.cases.iter().any(|case| matches(case, &deviation.case))
            && self.paths.iter().any(|path| matches(path, &deviation.path))
    }

    /// The patterns that no deviation needs.
    fn unused<'a>(&self, all: &'a [Deviation]) -> impl Iterator<Item = &'static str> {
        let covered: Vec<&'a Deviation> = all.iter().filter(|d| self.covers(d)).collect();
        let cases = self.cases.iter().copied();
        let paths = self.paths.iter().copied();
        let unused_cases: Vec<_> = cases
            .filter(|case| !covered.iter().any(|d| matches(case, &d.case)))
            .collect();
        let unused_paths: Vec<_> = paths
            .filter(|path| !covered.iter().any(|d| matches(path, &d.path)))
            .collect();
        unused_cases.into_iter().chain(unused_paths)
    }
}

/// Whether a pattern of a [`Difference`] means this text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, behind)) => {
            let rest = text.strip_prefix(before);
            rest.is_some_and(|rest| rest.ends_with(behind))
        }
        None => text == pattern,
    }
}

/// Says how many of the `n` exchanges are equal.
///
/// # Panics
/// When something differs that is not listed, something listed does not differ, or the figures that
/// the document tells are others.
#[allow(clippy::print_stdout, reason = "the figures of a test run")]
pub(crate) fn judge(listed: &[Difference], all: &[Deviation], n: usize, told: Figures) {
    let unlisted: Vec<String> = all
        .iter()
        .filter(|deviation| !listed.iter().any(|one| one.covers(deviation)))
        .map(|deviation| format!("{} {}: {}", deviation.case, deviation.path, deviation.what))
        .collect();
    assert!(
        unlisted.is_empty(),
        "{} deviations that no difference lists:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
    let unused: BTreeSet<String> = listed
        .iter()
        .flat_map(|one| {
            let unused = one.unused(all);
            unused.map(|pattern| format!("{pattern} ({})", one.reason))
        })
        .collect();
    assert!(unused.is_empty(), "no longer differences: {unused:#?}");
    let deviating: BTreeSet<&str> = all.iter().map(|d| d.case.as_str()).collect();
    println!(
        "{n} exchanges, {} equal, {} that differ in what is listed",
        n - deviating.len(),
        deviating.len()
    );
    let figures = Figures {
        compared: n,
        equal: n - deviating.len(),
    };
    assert_eq!(
        figures, told,
        "figures.rs and the document tell others than what is found"
    );
    for one in listed {
        let cases = deviating
            .iter()
            .filter(|case| one.cases.iter().any(|p| matches(p, case)));
        println!("  {:>4} cases: {}", cases.count(), one.reason);
    }
}
