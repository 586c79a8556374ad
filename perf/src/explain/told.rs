//! What is told of where the time went: a table, a sentence, a document. Pure.

use super::figures::{Request, Times};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The stages in the order of a request's way; others follow.
const ORDER: [&str; 12] = [
    "receive",
    "queue",
    "hop",
    "validate",
    "append",
    "flush_queue",
    "flush_wait",
    "wait",
    "read",
    "handle",
    "respond",
    "send",
];
/// Comes before the whole time begins: the client's and the network's.
const BEFORE: &str = "receive";
/// A fetch's patience.
const PATIENCE: &str = "wait";
/// A stage that is at least this part of the longest dominates beside it.
const DOMINATING_PART: f64 = 0.5;

const MICRO: f64 = 1e3;
const MILLI: f64 = 1e6;

/// The first line.
pub fn heading(name: &str, request: &Request, span: Duration) -> String {
    let count = request.total.count();
    match span.is_zero() {
        true => format!("{name}: {count} requests since the broker's start\n"),
        false => format!("{name}: {count} requests in {} s\n", span.as_secs_f64()),
    }
}

/// A line a stage, and one for the whole.
pub fn table(request: &Request, percentiles: &[f64]) -> String {
    let mut text = format!("{:<12}{:>10}", "stage", "count");
    percentiles.iter().for_each(|percentile| text += &format!("{:>12}", format!("p{percentile}")));
    text += &format!("{:>12}{:>9}\n", "mean", "share");
    for (name, times) in ordered(request) {
        let share = share(request, times);
        let share = if name == BEFORE { "before".to_owned() } else { format!("{:.1} %", share * 100.0) };
        text += &row(name, times, percentiles, &share);
    }
    text + &row("whole", &request.total, percentiles, "100 %")
}

fn row(name: &str, times: &Times, percentiles: &[f64], share: &str) -> String {
    let mut text = format!("{name:<12}{:>10}", times.count());
    percentiles
        .iter()
        .for_each(|percentile| text += &format!("{:>12}", shown(times.percentile_nanos(*percentile))));
    text + &format!("{:>12}{share:>9}\n", shown(times.mean_nanos()))
}

fn ordered(request: &Request) -> Vec<(&str, &Times)> {
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    let mut stages: Vec<_> = request.stages.iter().map(|(name, times)| (name.as_str(), times)).collect();
    stages.sort_by_key(|(name, _)| place(name));
    stages
}

/// The part of all requests' time that was spent in a stage.
fn share(request: &Request, times: &Times) -> f64 {
    times.sum_nanos as f64 / request.total.sum_nanos.max(1) as f64
}

/// The stages that are longest at a percentile, the longest first: all that are at least half of it.
pub fn dominating(request: &Request, percentile: f64) -> Vec<&str> {
    let within = request.stages.iter().filter(|(name, _)| name.as_str() != BEFORE);
    let mut stages: Vec<(&str, f64)> =
        within.map(|(name, times)| (name.as_str(), times.percentile_nanos(percentile))).collect();
    stages.sort_by(|one, other| other.1.total_cmp(&one.1));
    let least = stages.first().map_or(0.0, |(_, longest)| longest * DOMINATING_PART);
    stages.into_iter().filter(|(_, nanos)| *nanos > 0.0 && *nanos >= least).map(|(name, _)| name).collect()
}

/// What dominates, in words.
pub fn sentence(name: &str, request: &Request, percentile: f64) -> String {
    let told = |stage: &&str| {
        let times = &request.stages[*stage];
        let (nanos, share) = (times.percentile_nanos(percentile), share(request, times) * 100.0);
        format!("{stage} ({}; {share:.0} % of all time)", shown(nanos))
    };
    let stages = dominating(request, percentile);
    let named: Vec<String> = stages.iter().map(told).collect();
    let whole = shown(request.total.percentile_nanos(percentile));
    let mut text = format!(
        "\nAt p{percentile} a {name} takes {whole}. Longest at that percentile: {}.\n",
        named.join(", ")
    );
    if stages.contains(&PATIENCE) {
        text += "wait is the fetch's own patience (fetch.min.bytes, fetch.max.wait.ms), not slowness.\n";
    }
    text + "Percentiles of stages do not add up: the slowest requests of one stage are not those of another. Means do.\n"
}

/// A histogram for the document: times in milliseconds.
pub fn json(times: &Times, percentiles: &[f64]) -> Value {
    let mut fields: Map<String, Value> = percentiles
        .iter()
        .map(|percentile| (format!("p{percentile}_ms"), json!(times.percentile_nanos(*percentile) / MILLI)))
        .collect();
    fields.insert("count".to_owned(), json!(times.count()));
    fields.insert("mean_ms".to_owned(), json!(times.mean_nanos() / MILLI));
    Value::Object(fields)
}

fn shown(nanos: f64) -> String {
    match nanos {
        nanos if nanos < MILLI => format!("{:.1} µs", nanos / MICRO),
        nanos => format!("{:.2} ms", nanos / MILLI),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Request, parse};
    use super::*;

    fn request() -> Request {
        let page = r#"{"requests": {"Produce": {
            "total": {"count": 100, "sum_nanos": 200000000, "buckets": [[1000000, 2000000, 98], [3000000, 4000000, 2]]},
            "stages": {
                "send": {"count": 100, "sum_nanos": 20000000, "buckets": [[0, 200000, 98], [1500000, 2000000, 2]]},
                "receive": {"count": 100, "sum_nanos": 900000000, "buckets": [[8000000, 9000000, 100]]},
                "novel": {"count": 1, "sum_nanos": 0, "buckets": [[0, 256, 1]]},
                "flush_wait": {"count": 90, "sum_nanos": 180000000, "buckets": [[1000000, 2000000, 89], [2000000, 3000000, 1]]}
            }
        }}}"#;
        parse(page).expect("a page")["Produce"].clone()
    }

    #[test]
    fn the_table_goes_the_way_of_a_request() {
        let table = table(&request(), &[50.0, 99.0]);
        let due = "\
stage            count         p50         p99        mean    share
receive            100     8.50 ms     8.99 ms     9.00 ms   before
flush_wait          90     1.51 ms     3.00 ms     2.00 ms   90.0 %
send               100    102.0 µs     1.75 ms    200.0 µs   10.0 %
novel                1      0.3 µs      0.3 µs      0.0 µs    0.0 %
whole              100     1.51 ms     3.50 ms     2.00 ms    100 %
";
        assert_eq!(table, due);
    }

    #[test]
    fn what_dominates_depends_on_the_percentile_and_is_never_what_came_before() {
        let request = request();
        assert_eq!(dominating(&request, 50.0), ["flush_wait"]);
        assert_eq!(dominating(&request, 99.0), ["flush_wait", "send"]);
        assert!(dominating(&Request::default(), 99.0).is_empty());
        let said = sentence("Produce", &request, 99.0);
        let due = "\nAt p99 a Produce takes 3.50 ms. Longest at that percentile: flush_wait (3.00 ms; 90 % of all time), \
                   send (1.75 ms; 10 % of all time).\n";
        assert!(said.starts_with(due), "{said}");
        assert!(said.contains("do not add up") && !said.contains("patience"));
    }

    #[test]
    fn a_fetch_that_waits_is_patient_not_slow() {
        let page = r#"{"requests": {"Fetch": {
            "total": {"count": 1, "sum_nanos": 500000000, "buckets": [[400000000, 600000000, 1]]},
            "stages": {"wait": {"count": 1, "sum_nanos": 500000000, "buckets": [[400000000, 600000000, 1]]}}
        }}}"#;
        let fetch = parse(page).expect("a page")["Fetch"].clone();
        assert!(sentence("Fetch", &fetch, 99.0).contains("patience"));
    }
}
