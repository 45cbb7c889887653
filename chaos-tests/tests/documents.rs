//! What documents say about the code, as far as a program can tell.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of all functions in Rust files below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    let entries = std::fs::read_dir(folder).expect("a folder of the checkout");
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let after_fn = text.split("fn ").skip(1);
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            found.extend(after_fn.map(|rest| rest.chars().take_while(|c| is_name(*c)).collect()));
        }
    }
}

#[test]
fn every_test_that_the_rules_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut known = BTreeSet::new();
    for folder in ["crates", "master", "agent", "chaos-tests"] {
        functions(&root.join(folder), &mut known);
    }
    let text = std::fs::read_to_string(root.join("docs/mesos-semantics.md")).expect("the document");
    // Between backquotes, and longer than any other word there.
    let named = text.split('`').skip(1).step_by(2);
    let named: Vec<&str> = named
        .filter(|name| name.matches('_').count() > 2 && !name.contains(['/', '.']))
        .collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| !known.contains(**name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
