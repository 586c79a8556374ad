//! The JSON document of a run.

use super::PERCENTILES;
use crate::PerfError;
use crate::error::code_name;
use crate::gauge::Gauge;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The document, as it grows.
#[derive(Clone, Debug, Default)]
pub struct Document {
    fields: Map<String, Value>,
}

impl Document {
    /// Sets a field of the document.
    pub fn set(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`PerfError::File`].
    pub fn write(&self, path: &Path) -> Result<(), PerfError> {
        let text = format!("{:#}\n", Value::Object(self.fields.clone()));
        let failed = |cause| PerfError::File { path: path.display().to_string(), cause };
        std::fs::write(path, text).map_err(failed)
    }
}

/// One side of a load over `seconds`: rates per second, latencies in milliseconds.
pub fn side(gauge: &Gauge, seconds: f64) -> Value {
    let ms = |nanos: u64| nanos as f64 / 1e6;
    let percentiles: Map<String, Value> = PERCENTILES
        .iter()
        .map(|(name, percentile)| {
            ((*name).to_owned(), json!(ms(gauge.latencies.value_at_percentile(*percentile))))
        })
        .chain([("mean".to_owned(), json!(gauge.latencies.mean() / 1e6))])
        .collect();
    let refused: Map<String, Value> =
        gauge.refused.iter().map(|(code, count)| (code_name(*code), json!(count))).collect();
    json!({
        "records": gauge.records,
        "bytes": gauge.bytes,
        "seconds": seconds,
        "records_per_second": gauge.records as f64 / seconds,
        "megabytes_per_second": gauge.bytes as f64 / 1e6 / seconds,
        "latency_ms": if gauge.latencies.is_empty() { Value::Null } else { Value::Object(percentiles) },
        "refused": refused,
    })
}

#[cfg(test)]
mod tests {
    use super::side;
    use crate::gauge::Gauge;

    #[test]
    fn a_side_tells_rates_a_second_and_latencies_in_milliseconds() {
        let mut gauge = Gauge { records: 100, bytes: 4_000_000, ..Gauge::default() };
        (1..=100).for_each(|ms| gauge.note(ms * 1_000_000, 1));
        gauge.refused.insert(6, 3);
        let told = side(&gauge, 2.0);
        assert_eq!((&told["records_per_second"], &told["megabytes_per_second"]), (&50.0.into(), &2.0.into()));
        let near = |value: &serde_json::Value, due: f64| {
            (value.as_f64().expect("a number") - due).abs() < due / 500.0
        };
        assert!(near(&told["latency_ms"]["p50"], 50.0) && near(&told["latency_ms"]["max"], 100.0), "{told}");
        assert_eq!(told["refused"]["NOT_LEADER_OR_FOLLOWER"], 3);
        assert!(side(&Gauge::default(), 1.0)["latency_ms"].is_null());
    }
}
