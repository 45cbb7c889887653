//! The figures that there are targets for, and the targets.

use std::collections::BTreeMap;

use super::failover::Way;
use super::latency::median;
use super::race::Figures;
use super::rows::Row;
use super::system::System;
use super::{catch_up, failover, restart, snapshot, throughput};

type BySystem = BTreeMap<System, f64>;

/// The rows for which there are figures.
pub(crate) fn rows(figures: &Figures) -> Vec<Row> {
    let mut all = Rows(Vec::new());
    failovers(&figures.failover, &mut all);
    loads(&figures.load, &mut all);
    restarts(&figures.restart, &mut all);
    catch_ups(&figures.catch_up, &mut all);
    snapshots(&figures.snapshot, &mut all);
    all.0.sort_by_key(|row| row.number);
    all.0
}

struct Rows(Vec<Row>);

/// What must be reached, and what is hoped for.
type Bars = (Option<f64>, Option<f64>);

impl Rows {
    /// Less is better.
    fn less(&mut self, number: u8, what: &str, bars: Bars, figures: BySystem) {
        self.add(number, what, bars, false, figures);
    }

    fn more(&mut self, number: u8, what: &str, bars: Bars, figures: BySystem) {
        self.add(number, what, bars, true, figures);
    }

    fn add(&mut self, number: u8, what: &str, bars: Bars, more: bool, figures: BySystem) {
        // The others alone say nothing about ours.
        if figures.keys().any(|system| system.is_ours()) {
            self.0
                .push(Row::new(number, what.to_owned(), bars, more, figures));
        }
    }
}

fn failovers(figures: &[failover::Figure], rows: &mut Rows) {
    let of = |way, fast: bool, get: fn(&failover::Figure) -> f64| -> BySystem {
        let figures = figures.iter().filter(|figure| {
            let is_fast = matches!(figure.system, System::SledFast | System::SegmentFast);
            // The others stand beside both profiles of ours.
            figure.way == way && (!figure.system.is_ours() || is_fast == fast)
        });
        figures.map(|figure| (figure.system, get(figure))).collect()
    };
    let p50 = |f: &failover::Figure| f.gap.p50_ms;
    let p99 = |f: &failover::Figure| f.gap.p99_ms;
    for (fast, profile) in [(false, ""), (true, ", fast")] {
        let what = |what: &str| format!("{what}{profile} ms");
        let bars = (Some(300.0), Some(120.0));
        rows.less(1, &what("kill -9 p50"), bars, of(Way::Kill, fast, p50));
        let bars = (Some(600.0), Some(250.0));
        rows.less(1, &what("kill -9 p99"), bars, of(Way::Kill, fast, p99));
        let bars = (None, Some(180.0));
        rows.less(2, &what("SIGSTOP p50"), bars, of(Way::Freeze, fast, p50));
        let bars = (Some(1000.0), Some(350.0));
        rows.less(2, &what("SIGSTOP p99"), bars, of(Way::Freeze, fast, p99));
    }
    let hand_over = |get| of(Way::HandOver, false, get);
    rows.less(4, "hand-over p50 ms", (None, Some(5.0)), hand_over(p50));
    let bars = (Some(100.0), Some(30.0));
    rows.less(4, "hand-over p99 ms", bars, hand_over(p99));
    let failed = |f: &failover::Figure| f.requests.failed as f64;
    rows.less(
        4,
        "failed with one retry",
        (Some(0.0), None),
        hand_over(failed),
    );
}

fn loads(figures: &[throughput::Figure], rows: &mut Rows) {
    let of = |in_flight, rate, get: fn(&throughput::Figure) -> f64| -> BySystem {
        let mut runs: BTreeMap<System, Vec<f64>> = BTreeMap::new();
        for figure in figures {
            if figure.in_flight == in_flight && figure.rate == rate {
                runs.entry(figure.system).or_default().push(get(figure));
            }
        }
        let medians = runs.into_iter();
        medians
            .map(|(system, runs)| (system, median(runs)))
            .collect()
    };
    let closed = |n, get| of(Some(n), None, get);
    let bars = (Some(15e3), Some(60e3));
    rows.more(
        8,
        "1000 at once, commits/s",
        bars,
        closed(1_000, |f| f.commits_per_second),
    );
    rows.more(
        8,
        "64 at once, commits/s",
        (None, None),
        closed(64, |f| f.commits_per_second),
    );
    let bars = (Some(0.8), Some(0.35));
    rows.less(10, "1 client p50 ms", bars, closed(1, |f| f.latency.p50_ms));
    let bars = (Some(4.0), Some(2.0));
    rows.less(10, "1 client p99 ms", bars, closed(1, |f| f.latency.p99_ms));
    for (rate, what, bars) in [
        (8_000, "p99 at 8 k/s ms", (Some(25.0), None)),
        (10_000, "p99 at 10 k/s ms", (None, Some(5.0))),
        (30_000, "p99 at 30 k/s ms", (None, Some(15.0))),
    ] {
        rows.less(11, what, bars, of(None, Some(rate), throughput::kept_p99));
    }
}

fn restarts(figures: &[restart::Figure], rows: &mut Rows) {
    let of = |all_in_log, get: fn(&restart::Figure) -> f64| -> BySystem {
        let figures = figures.iter();
        let figures = figures.filter(|f| f.all_in_log == all_in_log);
        figures.map(|f| (f.system, get(f))).collect()
    };
    let restart = restart::Figure::restart;
    rows.less(15, "restart s", (Some(5.0), Some(1.0)), of(false, restart));
    let bars = (Some(5.0), Some(3.0));
    rows.less(15, "restart, all in log, s", bars, of(true, restart));
    let bars = (Some(500.0), Some(150.0));
    let disk = |f: &restart::Figure| f.disk_bytes as f64 / 1e6;
    rows.less(19, "data directory MB", bars, of(false, disk));
}

fn catch_ups(figures: &[catch_up::Figure], rows: &mut Rows) {
    for (all_in_log, policy) in [(false, ""), (true, ", all in log")] {
        let of = |get: fn(&catch_up::Figure) -> f64| -> BySystem {
            let figures = figures.iter();
            let figures = figures.filter(|f| f.all_in_log == all_in_log);
            // Under less load than it should be, a figure reaches nothing.
            let held = |f: &catch_up::Figure| if f.is_loaded() { get(f) } else { f64::NAN };
            figures.map(|f| (f.system, held(f))).collect()
        };
        let bars = (Some(30.0), Some(6.0));
        rows.less(16, &format!("catch-up{policy} s"), bars, of(|f| f.seconds));
        let times = of(catch_up::Figure::slower);
        let what = format!("p99 in it{policy}, times");
        rows.less(16, &what, (None, Some(2.0)), times);
    }
}

fn snapshots(figures: &[snapshot::Figure], rows: &mut Rows) {
    let of = |get: fn(&snapshot::Figure) -> f64| -> BySystem {
        figures.iter().map(|f| (f.system, get(f))).collect()
    };
    let bars = (Some(100.0), Some(20.0));
    rows.less(18, "snapshot MB", bars, of(|f| f.bytes as f64 / 1e6));
    let time = of(snapshot::Figure::time);
    rows.less(18, "snapshot s", (None, Some(0.5)), time);
    // A pause and the slowest sync of the disk are one here, so the same is told without a snapshot.
    let bars = (Some(50.0), Some(1.0));
    let longest = of(snapshot::Figure::longest);
    rows.less(18, "longest write in one ms", bars, longest);
    let longest = of(snapshot::Figure::longest_before);
    rows.less(18, "without one ms", (None, None), longest);
    let longest = of(|f| f.meanwhile.max_ms);
    rows.less(18, "longest in all of them", (None, None), longest);
    let longest = of(|f| f.normal.max_ms);
    rows.less(18, "without them", (None, None), longest);
}
