//! The page `GET /stages`: where the time of requests went since the start, in histograms that are fine enough for percentiles.
//!
//! ```text
//! {"requests": {"Produce": {"total": TIMES, "stages": {"queue": TIMES, …}}, …}}
//! TIMES = {"count": 3, "sum_nanos": 4100, "buckets": [[above, up to, count], …]}
//! ```
//! Bounds are nanoseconds; the last bucket's upper bound is null; empty buckets do not come. All counts only grow, so that two pages tell
//! of the time between them.

use super::{Response, json as page};
use crate::metrics::{FineTimes, Metrics};
use serde_json::{Map, Value, json};

/// The page.
pub(super) fn show(metrics: &Metrics) -> Response {
    let requests: Map<String, Value> = metrics
        .stages()
        .into_iter()
        .map(|(request, kind)| {
            let stages: Map<String, Value> =
                kind.stages.iter().map(|(stage, of)| (stage.name().to_owned(), times(of))).collect();
            (request.to_owned(), json!({ "total": times(&kind.total), "stages": stages }))
        })
        .collect();
    page("200 OK", &json!({ "requests": requests }))
}

fn times(of: &FineTimes) -> Value {
    let buckets = of.buckets().map(|bucket| json!([bucket.above_nanos, bucket.up_to_nanos, bucket.count]));
    json!({ "count": of.count(), "sum_nanos": of.sum_nanos(), "buckets": buckets.collect::<Vec<_>>() })
}
