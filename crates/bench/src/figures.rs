//! Distributions as one line of text.

use std::time::Duration;

/// Prints median, p90, p99 and maximum of some durations in milliseconds.
pub(crate) fn print(name: &str, durations: &mut [Duration]) {
    durations.sort();
    let ms = |d: Duration| d.as_secs_f64() * 1000.0;
    let Some(max) = durations.last() else {
        println!("{name:<32} no figures");
        return;
    };
    println!(
        "{name:<32} n {:>3}  p50 {:>7.1}  p90 {:>7.1}  p99 {:>7.1}  max {:>7.1}  ms",
        durations.len(),
        ms(quantile(durations, 50)),
        ms(quantile(durations, 90)),
        ms(quantile(durations, 99)),
        ms(*max),
    );
}

/// The smallest value that at least `percent` of the sorted values do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sorted: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(quantile(&sorted, 50), Duration::from_millis(10));
        assert_eq!(quantile(&sorted, 90), Duration::from_millis(18));
        assert_eq!(quantile(&sorted[..1], 50), Duration::from_millis(1));
    }
}
