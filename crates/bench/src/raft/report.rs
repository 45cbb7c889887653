//! A measurement as it is printed: the machine it was taken on, then the figures.

use serde::Serialize;

use super::flags::Common;
use super::host::Host;
use super::system::System;
use super::table;

#[derive(Debug, Serialize)]
struct Report<'a, F> {
    host: &'a Host,
    figures: &'a [F],
    /// What could not be measured, and why.
    failures: &'a [String],
}

/// Measures every system that is installed, one after the other, `turns` times, and prints what
/// that gave. What fails is told at the end; the others are measured nevertheless.
pub(crate) async fn of_each<F: Serialize>(
    common: &Common,
    turns: u32,
    mut measure: impl AsyncFnMut(System, u32) -> anyhow::Result<Vec<F>>,
    print: fn(&[F]),
) -> anyhow::Result<()> {
    let host = Host::measure(&common.dir())?;
    if !common.json {
        host.print();
    }
    let systems = common.systems();
    let mut figures = Vec::new();
    let mut failures = Vec::new();
    for turn in 1..=turns {
        for &system in &systems {
            match measure(system, turn).await {
                Ok(more) => figures.extend(more),
                Err(error) => {
                    let failure = format!("{system}: {error:#}");
                    table::progress(format_args!("{failure}"));
                    failures.push(failure);
                }
            }
        }
    }
    if common.json {
        table::json(&Report {
            host: &host,
            figures: &figures,
            failures: &failures,
        })?;
    } else {
        print(&figures);
    }
    anyhow::ensure!(
        failures.is_empty(),
        "not measured:\n{}",
        failures.join("\n")
    );
    Ok(())
}
