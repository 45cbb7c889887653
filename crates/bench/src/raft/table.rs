//! How figures are shown.
#![allow(clippy::print_stderr, reason = "progress is for people who wait")]

use std::fmt;

use comfy_table::{Table, presets};
use serde::Serialize;

/// A table without lines, to be read in a terminal and in a mail.
pub(crate) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table
}

/// Says what is being done, apart from the figures.
pub(crate) fn progress(what: fmt::Arguments<'_>) {
    eprintln!("{what}");
}

/// Prints figures for programs.
pub(crate) fn json(figures: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(figures)?);
    Ok(())
}
