//! Figures beside what they should be, and beside those of the others.

use std::collections::BTreeMap;

use comfy_table::CellAlignment;
use serde::Serialize;

use super::system::{Kind, System};
use super::table;

/// A figure of each system, with the two bars that ours are held to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Number in the list of targets.
    pub(crate) number: u8,
    pub(crate) what: String,
    /// What must be reached; not every figure has such a bar.
    pub(crate) must: Option<f64>,
    pub(crate) moonshot: Option<f64>,
    /// Whether more is better; else less is.
    pub(crate) more: bool,
    pub(crate) figures: BTreeMap<System, f64>,
    pub(crate) ours: Vec<Standing>,
}

/// How one of ours stands.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Standing {
    pub(crate) system: System,
    pub(crate) reached: Reached,
    /// How many times better than each of the others.
    pub(crate) ratios: BTreeMap<System, f64>,
}

/// How far a figure goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reached {
    Moonshot,
    Must,
    Neither,
    /// There is no bar.
    NotAsked,
}

impl Row {
    pub(crate) fn new(
        number: u8,
        what: String,
        (must, moonshot): (Option<f64>, Option<f64>),
        more: bool,
        figures: BTreeMap<System, f64>,
    ) -> Self {
        let mut row = Self {
            number,
            what,
            must,
            moonshot,
            more,
            figures,
            ours: Vec::new(),
        };
        let (ours, others): (Vec<_>, Vec<_>) = row
            .figures
            .iter()
            .map(|(system, figure)| (*system, *figure))
            .partition(|(system, _)| system.is_ours());
        let standing = |(system, figure): (System, f64)| Standing {
            system,
            reached: row.reached(figure),
            ratios: others
                .iter()
                .map(|(other, theirs)| (*other, row.times_better(figure, *theirs)))
                .collect(),
        };
        row.ours = ours.into_iter().map(standing).collect();
        row
    }

    fn reached(&self, figure: f64) -> Reached {
        // A figure that is not a number reaches nothing.
        let is_there = |bar: &f64| {
            if self.more {
                figure >= *bar
            } else {
                figure <= *bar
            }
        };
        if self.moonshot.as_ref().is_some_and(is_there) {
            Reached::Moonshot
        } else if self.must.as_ref().is_some_and(is_there) {
            Reached::Must
        } else if self.must.is_none() && self.moonshot.is_none() {
            Reached::NotAsked
        } else {
            Reached::Neither
        }
    }

    fn times_better(&self, ours: f64, theirs: f64) -> f64 {
        if self.more {
            ours / theirs
        } else {
            theirs / ours
        }
    }

    /// The one of ours on this engine, whatever its timing profile, and its figure.
    fn our(&self, engine: &'static str) -> Option<(&Standing, f64)> {
        let kind = Kind::Ours(engine);
        let standing = self.ours.iter().find(|one| one.system.kind() == kind)?;
        Some((standing, *self.figures.get(&standing.system)?))
    }

    fn verdict(&self, engine: &'static str) -> &'static str {
        match self.our(engine).map(|(standing, _)| standing.reached) {
            Some(Reached::Moonshot) => "moonshot",
            // There is no bar below the moonshot.
            Some(Reached::Neither) if self.must.is_none() => "not yet",
            Some(Reached::Must) => "must",
            Some(Reached::Neither) => "NO",
            Some(Reached::NotAsked) | None => "-",
        }
    }
}

const ENGINES: [&str; 2] = ["sled", "segment"];
const OTHERS: [System; 4] = [
    System::Etcd,
    System::EtcdTuned,
    System::ZooKeeper,
    System::ZooKeeperTuned,
];

/// Prints the rows beside their bars, and then beside the others.
pub(crate) fn print(rows: &[Row]) {
    let mut bars = table::new(&["#", "figure", "must", "moonshot", "sled", "", "segment", ""]);
    for row in rows {
        let mut cells = vec![
            row.number.to_string(),
            row.what.clone(),
            shown(row.must),
            shown(row.moonshot),
        ];
        for engine in ENGINES {
            cells.push(shown(row.our(engine).map(|(_, figure)| figure)));
            cells.push(row.verdict(engine).to_owned());
        }
        bars.add_row(cells);
    }
    align(&mut bars, &[0, 2, 3, 4, 6]);
    println!("{bars}");
    println!();

    let mut ratios = table::new(&["figure", "etcd", "", "tuned", "", "zk", "", "tuned", ""]);
    for row in rows {
        if !OTHERS.iter().any(|other| row.figures.contains_key(other)) {
            continue;
        }
        let mut cells = vec![row.what.clone()];
        for other in OTHERS {
            let ratio = |engine| {
                let (standing, _) = row.our(engine)?;
                standing.ratios.get(&other).copied()
            };
            cells.push(shown(row.figures.get(&other).copied()));
            cells.push(match ENGINES.map(ratio) {
                [None, None] => String::new(),
                both => both.map(times).join("/"),
            });
        }
        ratios.add_row(cells);
    }
    align(&mut ratios, &[1, 3, 5, 7]);
    println!("{ratios}");
    println!("beside each figure: how many times better sled/segment are");
}

fn align(table: &mut comfy_table::Table, right: &[usize]) {
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), short)
}

/// A ratio needs no more than two digits.
fn times(ratio: Option<f64>) -> String {
    match ratio {
        Some(ratio) if ratio.is_finite() && ratio >= 9.95 => format!("{ratio:.0}"),
        Some(ratio) if ratio.is_finite() => format!("{ratio:.1}"),
        _ => "-".to_owned(),
    }
}

/// A number in few characters.
fn short(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "-".to_owned(),
        v if v >= 10_000.0 => format!("{:.1}k", value / 1000.0),
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(more: bool, must: Option<f64>, moonshot: Option<f64>) -> Row {
        let figures = BTreeMap::from([
            (System::Sled, 20.0),
            (System::SegmentFast, f64::INFINITY),
            (System::Etcd, 4.0),
            (System::ZooKeeper, 10.0),
        ]);
        Row::new(8, "commits/s".to_owned(), (must, moonshot), more, figures)
    }

    #[test]
    fn a_bar_is_reached_from_the_right_side() {
        let throughput = row(true, Some(15.0), Some(60.0));
        assert_eq!(throughput.reached(14.9), Reached::Neither);
        assert_eq!(throughput.reached(15.0), Reached::Must);
        assert_eq!(throughput.reached(60.0), Reached::Moonshot);
        assert_eq!(throughput.reached(f64::NAN), Reached::Neither);
        let latency = row(false, Some(4.0), Some(2.0));
        assert_eq!(latency.reached(4.1), Reached::Neither);
        assert_eq!(latency.reached(4.0), Reached::Must);
        assert_eq!(latency.reached(1.0), Reached::Moonshot);
        assert_eq!(latency.reached(f64::INFINITY), Reached::Neither);
        assert_eq!(row(false, None, None).reached(1.0), Reached::NotAsked);
        assert_eq!(row(false, None, Some(2.0)).reached(3.0), Reached::Neither);
    }

    #[test]
    fn ours_are_compared_with_each_of_the_others() {
        let throughput = row(true, Some(15.0), None);
        let (sled, figure) = throughput.our("sled").expect("measured");
        assert_eq!(figure, 20.0);
        assert_eq!(sled.reached, Reached::Must);
        assert_eq!(sled.ratios[&System::Etcd], 5.0);
        assert_eq!(sled.ratios[&System::ZooKeeper], 2.0);
        let latency = row(false, None, None);
        let (sled, _) = latency.our("sled").expect("measured");
        assert_eq!(sled.ratios[&System::Etcd], 0.2);
        let (segment, _) = latency.our("segment").expect("measured");
        assert_eq!(segment.system, System::SegmentFast);
    }
}
