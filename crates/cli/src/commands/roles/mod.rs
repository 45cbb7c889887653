//! What operators decide about roles: `regency quota` and `regency weights`.
//!
//! Both are spoken to a master as any operator of Mesos would, through `/api/v1` and the older reads.

mod ask;
pub(crate) mod quota;
pub(crate) mod weights;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};

use super::Common;

/// Columns of a terminal that everything fits in.
const WIDTH: u16 = 100;

/// Runs what an action asks of masters.
fn block_on(action: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(action)?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// A name and an amount, such as `cpus:4` or `eng/web=1.5`.
fn pair(text: &str, between: char) -> Result<(String, f64), String> {
    let wrong = || format!("'{text}' is not of the form NAME{between}NUMBER");
    let (name, amount) = text.trim().split_once(between).ok_or_else(wrong)?;
    let amount: f64 = amount.trim().parse().map_err(|_| wrong())?;
    if name.is_empty() || !amount.is_finite() {
        return Err(wrong());
    }
    Ok((name.to_owned(), amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_bad_ones_named() {
        assert_eq!(pair("cpus:0.5", ':'), Ok(("cpus".to_owned(), 0.5)));
        assert_eq!(pair("a/b=2", '='), Ok(("a/b".to_owned(), 2.0)));
        for bad in ["", "cpus", "cpus=1", ":1", "cpus:", "cpus:x", "cpus:inf"] {
            assert!(pair(bad, ':').is_err_and(|e| e.contains(&format!("'{bad}'"))));
        }
    }
}
