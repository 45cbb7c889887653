//! What operators decide about roles: `regency quota` and `regency weights`.
//!
//! Both are spoken to a master as any operator of Mesos would, through `/api/v1` and the older reads.

pub(crate) mod quota;
pub(crate) mod weights;

use comfy_table::{ContentArrangement, Table, presets};

use super::Common;
use super::ask::{Operator, block_on, print};

/// Columns of a terminal that everything fits in.
const WIDTH: u16 = 100;

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
