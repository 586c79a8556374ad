//! Gauges of something else than records, told: lines for people, and what stands in the document.

use crate::error::code_name;
use crate::gauge::Gauge;
use crate::report::{self, PERCENTILES};
use serde_json::{Map, Value, json};

const MS: f64 = 1e6;

/// One interval or run of `seconds` in one line; `noun` is what is counted, in the plural.
pub fn line(what: &str, noun: &str, gauge: &Gauge, seconds: f64) -> String {
    let mut line = format!("{what}: {:.0} {noun}/s", gauge.records as f64 / seconds);
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

/// A whole run: a line for rates and one for latencies.
pub fn summary(what: &str, noun: &str, gauge: &Gauge, seconds: f64) -> String {
    format!(
        "{} of {} {noun}\n{}",
        line(what, noun, gauge, seconds),
        gauge.records,
        percentiles("  latency", gauge)
    )
}

/// Percentiles in one line, nothing of an empty gauge.
pub fn percentiles(what: &str, gauge: &Gauge) -> String {
    if gauge.latencies.is_empty() {
        return String::new();
    }
    let told = PERCENTILES.iter().map(|(name, percentile)| {
        format!("{name} {:.3}", gauge.latencies.value_at_percentile(*percentile) as f64 / MS)
    });
    format!("{what} in ms: {}\n", told.collect::<Vec<_>>().join("  "))
}

/// What stands in the document: as of a load's side, but for what is counted.
pub fn side(noun: &str, gauge: &Gauge, seconds: f64) -> Value {
    let mut told = report::side(gauge, seconds);
    let (latency_ms, refused) = (told["latency_ms"].take(), told["refused"].take());
    let mut fields = Map::new();
    fields.insert(noun.to_owned(), json!(gauge.records));
    fields.insert(format!("{noun}_per_second"), json!(gauge.records as f64 / seconds));
    fields.insert("seconds".to_owned(), json!(seconds));
    fields.insert("latency_ms".to_owned(), latency_ms);
    fields.insert("refused".to_owned(), refused);
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::{line, percentiles, side};
    use crate::gauge::Gauge;

    #[test]
    fn what_is_counted_has_its_name() {
        let mut gauge = Gauge { records: 50, ..Gauge::default() };
        gauge.note(2_000_000, 10);
        gauge.refused.insert(16, 5);
        let told = side("offsets", &gauge, 2.0);
        assert_eq!((&told["offsets"], &told["offsets_per_second"]), (&50.into(), &25.0.into()));
        assert_eq!(told["refused"]["NOT_COORDINATOR"], 5);
        assert!(told["latency_ms"]["p50"].as_f64().is_some_and(|ms| (ms - 2.0).abs() < 0.01), "{told}");
        let line = line("commit", "offsets", &gauge, 2.0);
        assert!(line.starts_with("commit: 25 offsets/s, p50 2.0") && line.ends_with("5 NOT_COORDINATOR"));
        assert_eq!(percentiles("x", &Gauge::default()), "");
    }
}
