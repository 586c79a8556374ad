//! Lines for people.

use super::PERCENTILES;
use crate::error::code_name;
use crate::gauge::Gauge;

const MS: f64 = 1e6;
const MB: f64 = 1e6;

/// One side of a load over `seconds`, in one line.
pub fn line(what: &str, gauge: &Gauge, seconds: f64) -> String {
    let rate = gauge.records as f64 / seconds;
    let megabytes = gauge.bytes as f64 / MB / seconds;
    let mut line = format!("{what}: {rate:.0} records/s, {megabytes:.2} MB/s");
    if !gauge.latencies.is_empty() {
        let at = |percentile| gauge.latencies.value_at_percentile(percentile) as f64 / MS;
        line += &format!(", p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms", at(50.0), at(99.0), at(100.0));
    }
    let refused: Vec<String> =
        gauge.refused.iter().map(|(code, count)| format!("{count} {}", code_name(*code))).collect();
    if !refused.is_empty() {
        line += &format!(", refused: {}", refused.join(", "));
    }
    line
}

/// One side of a whole run, in a line for rates and one for latencies.
pub fn summary(what: &str, gauge: &Gauge, seconds: f64) -> String {
    let mut text = format!("{} of {} records\n", line(what, gauge, seconds), gauge.records);
    if !gauge.latencies.is_empty() {
        let told = PERCENTILES.iter().map(|(name, percentile)| {
            format!("{name} {:.3}", gauge.latencies.value_at_percentile(*percentile) as f64 / MS)
        });
        text += &format!("  latency in ms: {}\n", told.collect::<Vec<_>>().join("  "));
    }
    text
}
