//! A report as one page that needs nothing else: no scripts, no fonts, nothing from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::{BUCKET_MS, Report, Result as Ended};

/// Size of the plots.
const WIDTH: f64 = 1000.0;
const LANE: f64 = 18.0;
const PLOT: f64 = 120.0;
/// Room for names at the left.
const LEFT: f64 = 150.0;

const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --dim: #667; --line: #d5d9de;
  --good: #1a7f37; --bad: #cf222e; --warn: #9a6700; --fault: #cf222e; --blue: #0969da; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --dim: #8d96a0;
  --line: #30363d; --good: #3fb950; --bad: #f85149; --warn: #d29922; --fault: #f85149;
  --blue: #58a6ff; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 1080px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.dim { color: var(--dim); } .good { color: var(--good); } .bad { color: var(--bad); }
.warn { color: var(--warn); } .result { font-weight: 700; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .25rem .6rem;
  border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } svg text { fill: var(--text); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); } .fault { fill: var(--fault); } .none { fill: var(--dim); }
.written { fill: var(--good); } .lost { fill: var(--bad); }
.latency { fill: none; stroke: var(--blue); stroke-width: 1.5; }
ul { margin: 0; padding-left: 1.2rem; } code { font-size: .9em; overflow-wrap: anywhere; }
";

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let (class, what) = match report.result {
        Ended::Passed => (
            "good",
            "passed: every fault that was demanded struck, and every promise that was tried was kept",
        ),
        Ended::Failed => ("bad", "failed: a promise was broken"),
        Ended::Void => (
            "warn",
            "void: something that was demanded did not happen, so this says nothing",
        ),
        Ended::Trouble => (
            "warn",
            "trouble: the harness did not work, so this says nothing of the cluster",
        ),
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "regency chaos: " (report.scenario.name) " " (report.result.name()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "regency chaos: " (report.scenario.name) }
                p class="dim" { (report.scenario.about) }
                p class={ "result " (class) } { (what) }
                @if !report.reasons.is_empty() {
                    ul { @for reason in &report.reasons { li { (reason) } } }
                }
                (facts(report))
                h2 { "Timeline" }
                (timeline(report))
                h2 { "Writes: answered and not, and the slowest answer" }
                (availability(report))
                h2 { "Promises" }
                (promises(report))
                h2 { "Faults" }
                (coverage(report))
                h2 { "What struck" }
                (strikes(report))
            }
        }
    };
    markup.into_string()
}

fn facts(report: &Report) -> Markup {
    let written: u64 = report.buckets.iter().map(|b| b.written).sum();
    let read: u64 = report.buckets.iter().map(|b| b.read).sum();
    let not: u64 = report.buckets.iter().map(|b| b.not_written).sum();
    let struck: u64 = report.coverage.values().map(|c| c.struck).sum();
    let rows = [
        ("Seed", report.seed.to_string()),
        (
            "Driver",
            format!("{}, {} masters", report.driver, report.masters),
        ),
        ("Faults for", seconds(report.run_for_ms * 1000)),
        ("Faults that struck", struck.to_string()),
        (
            "Terms seen",
            report
                .history
                .leaders
                .iter()
                .map(|l| l.term)
                .max()
                .unwrap_or_default()
                .to_string(),
        ),
        (
            "Writes",
            format!("{written} answered, {not} failed or unknown"),
        ),
        ("Consistent reads", format!("{read} answered")),
        (
            "Longest time without a write",
            format!(
                "{} ms, from {}",
                report.longest_outage_ms,
                seconds(report.longest_outage_at_ms * 1000)
            ),
        ),
        (
            "Well again",
            report.history.healed_after_ms.map_or_else(
                || "never".to_owned(),
                |ms| format!("{ms} ms after the faults"),
            ),
        ),
        ("Program", report.program.clone()),
    ];
    html! {
        table { tbody { @for (name, value) in rows { tr { th { (name) } td { (value) } } } } }
        p class="dim" { "Again: " code { "regency chaos replay REPORT.json" } }
    }
}

/// Where a time is on the plots.
fn x(report: &Report, us: u64) -> f64 {
    let all = (report.ran_ms * 1000).max(1) as f64;
    LEFT + (WIDTH - LEFT) * (us as f64 / all).min(1.0)
}

fn timeline(report: &Report) -> Markup {
    let mut lanes: Vec<String> = Vec::new();
    let masters = report
        .history
        .leaders
        .iter()
        .filter_map(|leader| leader.master);
    let mut masters: Vec<u64> = masters.collect();
    masters.sort_unstable();
    masters.dedup();
    lanes.extend(masters.iter().map(|id| format!("master {id} leads")));
    lanes.push("nobody leads".to_owned());
    let n_leading = lanes.len();
    let mut kinds: Vec<&str> = report.strikes.iter().map(|s| s.nemesis.name()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    lanes.extend(kinds.iter().map(|kind| (*kind).to_owned()));
    let height = LANE * (lanes.len() as f64 + 1.5);
    let y = |lane: usize| LANE * lane as f64 + 4.0;
    let ends = report
        .history
        .leaders
        .iter()
        .skip(1)
        .map(|leader| leader.at_us);
    let ends = ends.chain([report.ran_ms * 1000]);
    let led = report.history.leaders.iter().zip(ends);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="leaders and faults over time" {
            @for (lane, name) in lanes.iter().enumerate() {
                text x="0" y=(y(lane) + 11.0) { (name) }
                line class="grid" x1=(LEFT) x2=(WIDTH) y1=(y(lane) + LANE - 3.0) y2=(y(lane) + LANE - 3.0) {}
            }
            @for (leader, to) in led {
                @let lane = leader.master.and_then(|id| masters.binary_search(&id).ok()).unwrap_or(n_leading - 1);
                (bar(report, lane, (leader.at_us, to), if leader.master.is_some() { "written" } else { "none" },
                    &match leader.master {
                        Some(id) => format!("master {id} leads term {} from {}", leader.term, seconds(leader.at_us)),
                        None => format!("nobody leads from {}", seconds(leader.at_us)),
                    }))
            }
            @for strike in &report.strikes {
                @let kind = kinds.binary_search(&strike.nemesis.name()).unwrap_or_default();
                (bar(report, n_leading + kind, (strike.from_us, strike.to_us),
                    if strike.confirmed > 0 { "fault" } else { "none" },
                    &format!("{} at {}: {}", strike.nemesis.name(), seconds(strike.from_us), strike.evidence)))
            }
            (axis(report, height))
        }
    }
}

fn bar(report: &Report, lane: usize, (from, to): (u64, u64), class: &str, title: &str) -> Markup {
    let (from, to) = (x(report, from), x(report, to));
    html! {
        rect class=(class) x=(px(from)) width=(px((to - from).max(1.5))) y=(LANE * lane as f64 + 4.0) height=(LANE - 6.0) {
            title { (title) }
        }
    }
}

/// Times below a plot.
fn axis(report: &Report, height: f64) -> Markup {
    const MARKS: u64 = 8;
    html! {
        @for mark in 0..=MARKS {
            @let us = report.ran_ms * 1000 * mark / MARKS;
            @let anchor = if mark == MARKS { "end" } else { "middle" };
            text x=(px(x(report, us))) y=(height - 4.0) text-anchor=(anchor) { (seconds(us)) }
        }
    }
}

fn availability(report: &Report) -> Markup {
    let most = report
        .buckets
        .iter()
        .map(|b| b.written + b.not_written)
        .max()
        .unwrap_or_default()
        .max(1) as f64;
    let slowest = report
        .buckets
        .iter()
        .map(|b| b.slowest_us)
        .max()
        .unwrap_or_default()
        .max(1);
    let width = (WIDTH - LEFT) / report.buckets.len().max(1) as f64;
    let at = |n: usize| x(report, n as u64 * BUCKET_MS * 1000);
    // Latencies over several powers of ten.
    let up = |us: u64| {
        PLOT * ((us.max(100) as f64 / 100.0).ln() / (slowest.max(1000) as f64 / 100.0).ln())
    };
    let mut line = String::new();
    for (n, bucket) in report.buckets.iter().enumerate() {
        if bucket.slowest_us > 0 {
            let first = if line.is_empty() { 'M' } else { 'L' };
            line.push_str(&format!(
                "{first}{:.1} {:.1}",
                at(n),
                2.0 * PLOT + 20.0 - up(bucket.slowest_us)
            ));
        }
    }
    let height = 2.0 * PLOT + 40.0;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="answers to writes over time" {
            text x="0" y="14" { "writes per " (BUCKET_MS) " ms" }
            text x="0" y="28" { "at most " (most) }
            text x="0" y=(PLOT + 34.0) { "slowest answer" }
            text x="0" y=(PLOT + 48.0) { "at most " (slowest / 1000) " ms, log" }
            @for (n, bucket) in report.buckets.iter().enumerate() {
                @let (good, bad) = (PLOT * bucket.written as f64 / most, PLOT * bucket.not_written as f64 / most);
                @if good > 0.0 {
                    rect class="written" x=(px(at(n))) width=(px(width)) y=(px(PLOT - good)) height=(px(good)) {}
                }
                @if bad > 0.0 {
                    rect class="lost" x=(px(at(n))) width=(px(width)) y=(px(PLOT - good - bad)) height=(px(bad)) {}
                }
            }
            line class="grid" x1=(LEFT) x2=(WIDTH) y1=(PLOT) y2=(PLOT) {}
            path class="latency" d=(line) {}
            (axis(report, height))
        }
        p class="dim" { "Green was answered with 2xx; red failed, or nobody knows." }
    }
}

fn promises(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { "" } th { "Promise" } th class="n" { "Looked at" } th { "Verdict" } } }
            tbody {
                @for verdict in &report.verdicts {
                    tr {
                        th { (verdict.id) }
                        td {
                            (verdict.promise)
                            @if !verdict.violations.is_empty() {
                                ul { @for one in &verdict.violations { li class="bad" { code { (one) } } } }
                            }
                        }
                        td class="n" { (verdict.checked) }
                        td {
                            @if let Some(why) = &verdict.undecided { span class="warn" { "undecided: " (why) } }
                            @else if verdict.n_violations > 0 { span class="bad" { (verdict.n_violations) " violations" } }
                            @else if verdict.checked == 0 { span class="dim" { "not tried" } }
                            @else { span class="good" { "kept" } }
                        }
                    }
                }
            }
        }
    }
}

fn coverage(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { "Fault" } th { "Demanded" } th class="n" { "Tried" } th class="n" { "Struck" } th { "" } } }
            tbody {
                @for (nemesis, of_kind) in &report.coverage {
                    tr {
                        td { (nemesis.name()) }
                        td { (if of_kind.demanded { "yes" } else { "" }) }
                        td class="n" { (of_kind.tried) }
                        td class={ "n " (if of_kind.demanded && of_kind.struck == 0 { "bad" } else { "" }) } { (of_kind.struck) }
                        td class="dim" { (of_kind.lacks.as_deref().unwrap_or_default()) }
                    }
                }
            }
        }
    }
}

fn strikes(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th class="n" { "At" } th class="n" { "For" } th { "Fault" } th { "Whom" } th { "What was seen" } } }
            tbody {
                @for strike in &report.strikes {
                    tr {
                        td class="n" { (seconds(strike.from_us)) }
                        td class="n" { (seconds(strike.to_us - strike.from_us)) }
                        td { (strike.nemesis.name()) @if strike.confirmed == 0 { span class="warn" { " did not strike" } } }
                        td { (strike.targets.join(", ")) }
                        td { (strike.evidence) }
                    }
                }
            }
        }
    }
}

fn seconds(us: u64) -> String {
    format!("{:.1} s", us as f64 / 1e6)
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::history::{History, Leader};
    use crate::invariants::{judge, made};
    use crate::report::{Strike, VERSION, buckets};
    use crate::scenario::{Nemesis, Scenario};
    use crate::schedule::draw;

    #[test]
    fn the_page_stands_alone_and_shows_what_was_found() {
        let scenario = Scenario::find("leader-kill").expect("a scenario");
        let leader = |at_us, master, term| Leader {
            at_us,
            master,
            term,
        };
        let history = History {
            operations: vec![
                made::write(0, 900_000, 1),
                made::read(950_000, 960_000, None),
            ],
            leaders: vec![
                leader(0, Some(2), 1),
                leader(1_000_000, None, 1),
                leader(2_000_000, Some(3), 2),
            ],
            ..History::default()
        };
        let report = Report {
            version: VERSION,
            result: Ended::Failed,
            reasons: vec!["<b>".to_owned()],
            program: "0".to_owned(),
            seed: 7,
            run_for_ms: 9_000,
            ran_ms: 10_000,
            driver: "local".to_owned(),
            masters: 3,
            schedule: draw(&scenario, 7, Duration::from_secs(9)),
            scenario,
            strikes: vec![Strike {
                step: 0,
                nemesis: Nemesis::LeaderKill,
                from_us: 1_000_000,
                to_us: 2_000_000,
                targets: vec!["master 2".to_owned()],
                confirmed: 1,
                evidence: "pid 4 is gone".to_owned(),
            }],
            coverage: [(Nemesis::LeaderKill, crate::report::Coverage::default())].into(),
            verdicts: judge(&history),
            longest_outage_ms: 0,
            longest_outage_at_ms: 0,
            buckets: buckets(&history, 10_000),
            history,
        };
        let page = page(&report);
        for part in [
            "knew of nothing",
            "pid 4 is gone",
            "master 2 leads term 1",
            "&lt;b&gt;",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for foreign in ["http://", "https://", "<script", "<link", "src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        let json = serde_json::to_string(&report).expect("JSON");
        let again = Report::parse(&json).expect("the same");
        assert_eq!(again.history.operations, report.history.operations);
        assert_eq!(again.schedule, report.schedule);
    }
}
