//! Figures beside what they should be.

use std::collections::BTreeMap;

use serde::Serialize;

use super::system::{Kind, System};
use super::table;

/// A figure of each system, with the two bars that ours are held to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Number in the list of targets.
    pub(crate) number: u8,
    pub(crate) what: String,
    pub(crate) must: f64,
    pub(crate) moonshot: f64,
    /// Whether more is better; else less is.
    pub(crate) more: bool,
    pub(crate) figures: BTreeMap<System, f64>,
}

/// How far a figure goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Moonshot,
    Must,
    Neither,
}

impl Row {
    fn reached(&self, figure: f64) -> Reached {
        let is_there = |bar: f64| {
            if self.more {
                figure >= bar
            } else {
                figure <= bar
            }
        };
        // A figure that is not a number reaches nothing.
        if is_there(self.moonshot) {
            Reached::Moonshot
        } else if is_there(self.must) {
            Reached::Must
        } else {
            Reached::Neither
        }
    }

    /// The best figure of the set-ups of one system.
    fn best(&self, of: Kind) -> Option<f64> {
        let figures = self
            .figures
            .iter()
            .filter(|(system, _)| system.kind() == of);
        self.best_of(figures.map(|(_, figure)| *figure))
    }

    fn best_of(&self, figures: impl Iterator<Item = f64>) -> Option<f64> {
        figures.reduce(if self.more { f64::max } else { f64::min })
    }

    /// How many times better than the best of the others.
    fn ratio(&self, figure: f64) -> Option<f64> {
        let others = [Kind::Etcd, Kind::ZooKeeper];
        let other = self.best_of(others.into_iter().filter_map(|kind| self.best(kind)))?;
        Some(if self.more {
            figure / other
        } else {
            other / figure
        })
    }
}

/// Prints the rows; of each system the better of its set-ups.
pub(crate) fn print(rows: &[Row]) {
    let mut table = table::new(&[
        "#", "figure", "must", "moon", "sled", "segment", "etcd", "zk", "ratio", "reached",
    ]);
    for row in rows {
        let ours = [
            row.best(Kind::Ours("sled")),
            row.best(Kind::Ours("segment")),
        ];
        let ratios = ours.map(|f| f.and_then(|f| row.ratio(f)).map_or("-".to_owned(), short));
        let reached = ours.map(|figure| match figure.map(|figure| row.reached(figure)) {
            Some(Reached::Moonshot) => "moon",
            Some(Reached::Must) => "must",
            Some(Reached::Neither) => "NO",
            None => "-",
        });
        let shown = |figure: Option<f64>| figure.map_or("-".to_owned(), short);
        table.add_row([
            row.number.to_string(),
            row.what.clone(),
            short(row.must),
            short(row.moonshot),
            shown(ours[0]),
            shown(ours[1]),
            shown(row.best(Kind::Etcd)),
            shown(row.best(Kind::ZooKeeper)),
            ratios.join(" "),
            reached.join(" "),
        ]);
    }
    println!("{table}");
    println!(
        "ratio, reached: sled, then segment; ratio: times better than the best of the others,"
    );
    println!("of which each figure is the better one of default and tuned");
}

/// A number in few characters.
fn short(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "-".to_owned(),
        v if v >= 10_000.0 => format!("{:.1}k", value / 1000.0),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(more: bool, must: f64, moonshot: f64) -> Row {
        Row {
            number: 8,
            what: "commits/s".to_owned(),
            must,
            moonshot,
            more,
            figures: BTreeMap::from([
                (System::Sled, 20.0),
                (System::Etcd, 4.0),
                (System::EtcdTuned, 5.0),
                (System::ZooKeeper, 10.0),
            ]),
        }
    }

    #[test]
    fn a_bar_is_reached_from_the_right_side() {
        let throughput = row(true, 15.0, 60.0);
        assert_eq!(throughput.reached(14.9), Reached::Neither);
        assert_eq!(throughput.reached(15.0), Reached::Must);
        assert_eq!(throughput.reached(60.0), Reached::Moonshot);
        assert_eq!(throughput.reached(f64::NAN), Reached::Neither);
        let latency = row(false, 4.0, 2.0);
        assert_eq!(latency.reached(4.1), Reached::Neither);
        assert_eq!(latency.reached(4.0), Reached::Must);
        assert_eq!(latency.reached(1.0), Reached::Moonshot);
    }

    #[test]
    fn the_ratio_is_to_the_best_of_the_others() {
        assert_eq!(row(true, 0.0, 0.0).best(Kind::Etcd), Some(5.0));
        assert_eq!(row(true, 0.0, 0.0).ratio(20.0), Some(2.0));
        assert_eq!(row(false, 0.0, 0.0).ratio(2.0), Some(2.0));
        assert_eq!(row(true, 0.0, 0.0).best(Kind::Ours("segment")), None);
    }
}
