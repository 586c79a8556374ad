//! The figures of the page `/stages`, what lies between two of them, and percentiles. Pure.
//!
//! ```text
//! {"requests": {"Produce": {"total": TIMES, "stages": {"queue": TIMES, …}}, …}}
//! TIMES = {"count": 3, "sum_nanos": 4100, "buckets": [[above, up to, count], …]}
//! ```
//! Bounds are nanoseconds; the last bucket's upper bound is null.

use serde_json::Value;
use std::collections::BTreeMap;

/// The kinds of requests by Kafka's names.
pub type Kinds = BTreeMap<String, Request>;

/// One kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its whole time, from a frame's last byte to its answer's last byte.
    pub total: Times,
    /// By the stages' names.
    pub stages: BTreeMap<String, Times>,
}

/// A histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The sum of all.
    pub sum_nanos: u64,
    /// Upper bound, if there is one, and count, by the lower bound.
    buckets: BTreeMap<u64, (Option<u64>, u64)>,
}

/// Reads a page; `None` when it is of another form.
pub fn parse(text: &str) -> Option<Kinds> {
    let page: Value = serde_json::from_str(text).ok()?;
    let kind = |(name, kind): (&String, &Value)| {
        let stages = kind["stages"].as_object()?.iter();
        let stages = stages.map(|(stage, of)| Some((stage.clone(), times(of)?))).collect::<Option<_>>()?;
        Some((name.clone(), Request { total: times(&kind["total"])?, stages }))
    };
    page["requests"].as_object()?.iter().map(kind).collect()
}

fn times(value: &Value) -> Option<Times> {
    let bucket = |bucket: &Value| {
        let (above, count) = (bucket[0].as_u64()?, bucket[2].as_u64()?);
        let up_to = if bucket[1].is_null() { None } else { Some(bucket[1].as_u64()?) };
        up_to.is_none_or(|up_to| up_to > above).then_some((above, (up_to, count)))
    };
    let buckets = value["buckets"].as_array()?.iter().map(bucket).collect::<Option<_>>()?;
    Some(Times { sum_nanos: value["sum_nanos"].as_u64()?, buckets })
}

/// What was counted between two pages: the kinds that were answered, and their stages that were reached. `None` when the second is no
/// continuation of the first.
pub fn between(before: &Kinds, after: &Kinds) -> Option<Kinds> {
    if before.keys().any(|name| !after.contains_key(name)) {
        return None;
    }
    let none = Request::default();
    let mut kinds = Kinds::new();
    for (name, kind) in after {
        let earlier = before.get(name).unwrap_or(&none);
        let total = kind.total.since(&earlier.total)?;
        let mut stages = BTreeMap::new();
        for (stage, times) in &kind.stages {
            let times = match earlier.stages.get(stage) {
                Some(earlier) => times.since(earlier)?,
                None => times.clone(),
            };
            if times.count() > 0 {
                stages.insert(stage.clone(), times);
            }
        }
        if total.count() > 0 {
            kinds.insert(name.clone(), Request { total, stages });
        }
    }
    Some(kinds)
}

impl Times {
    fn since(&self, earlier: &Times) -> Option<Times> {
        let mut buckets = self.buckets.clone();
        for (above, (_, count)) in &earlier.buckets {
            let (_, left) = buckets.get_mut(above)?;
            *left = left.checked_sub(*count)?;
        }
        buckets.retain(|_, (_, count)| *count > 0);
        Some(Times { sum_nanos: self.sum_nanos.checked_sub(earlier.sum_nanos)?, buckets })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.values().map(|(_, count)| count).sum()
    }

    /// Their mean in nanoseconds; 0 when there are none.
    pub fn mean_nanos(&self) -> f64 {
        self.sum_nanos as f64 / self.count().max(1) as f64
    }

    /// The time that `percentile` of them do not pass, in nanoseconds: within its bucket as if all there lay evenly. 0 when there are none.
    pub fn percentile_nanos(&self, percentile: f64) -> f64 {
        let count = self.count();
        let rank = ((percentile / 100.0 * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        for (above, (up_to, count)) in &self.buckets {
            if below + count >= rank {
                let width = up_to.map_or(0, |up_to| up_to - above) as f64;
                return *above as f64 + width * (rank - below) as f64 / *count as f64;
            }
            below += count;
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Kinds, Times, between, parse};

    const PAGE: &str = r#"{"requests": {
        "Produce": {
            "total": {"count": 100, "sum_nanos": 210000, "buckets": [[1000, 2000, 98], [9000, 10000, 1], [20000, null, 1]]},
            "stages": {
                "queue": {"count": 100, "sum_nanos": 10000, "buckets": [[0, 256, 100]]},
                "flush_wait": {"count": 90, "sum_nanos": 200000, "buckets": [[1000, 2000, 90]]}
            }
        },
        "ApiVersions": {"total": {"count": 1, "sum_nanos": 5, "buckets": [[0, 256, 1]]}, "stages": {}}
    }}"#;

    fn page() -> Kinds {
        parse(PAGE).expect("a page")
    }

    #[test]
    fn percentiles_lie_within_their_buckets() {
        let total = page()["Produce"].total.clone();
        for (percentile, nanos) in [
            (50.0, 1000.0 + 1000.0 * 50.0 / 98.0),
            (98.0, 2000.0),
            (99.0, 10000.0),
            (99.9, 20000.0),
            (0.001, 1000.0 + 1000.0 / 98.0),
        ] {
            assert!((total.percentile_nanos(percentile) - nanos).abs() < 1e-6, "p{percentile}");
        }
        assert_eq!((total.count(), total.mean_nanos()), (100, 2100.0));
        assert_eq!((Times::default().percentile_nanos(50.0), Times::default().mean_nanos()), (0.0, 0.0));
    }

    #[test]
    fn what_lies_between_two_pages_is_what_the_second_has_more() {
        let later = PAGE
            .replace(
                r#""count": 100, "sum_nanos": 210000, "buckets": [[1000, 2000, 98]"#,
                r#""count": 110, "sum_nanos": 310000, "buckets": [[500, 600, 3], [1000, 2000, 105]"#,
            )
            .replace(
                r#""sum_nanos": 200000, "buckets": [[1000, 2000, 90]]"#,
                r#""sum_nanos": 290000, "buckets": [[1000, 2000, 97]]"#,
            );
        let later = parse(&later).expect("a page");
        let kinds = between(&page(), &later).expect("a continuation");
        assert_eq!(kinds.keys().collect::<Vec<_>>(), ["Produce"], "others were not asked for meanwhile");
        let produce = &kinds["Produce"];
        assert_eq!((produce.total.count(), produce.total.sum_nanos), (10, 100_000));
        assert_eq!(produce.stages.keys().collect::<Vec<_>>(), ["flush_wait"]);
        assert_eq!(produce.stages["flush_wait"].count(), 7);
        assert_eq!(between(&later, &page()), None, "counts do not go back");
        assert_eq!(between(&page(), &Kinds::new()), None);
        assert_eq!(between(&Kinds::new(), &page()), Some(page()), "all since the start");
    }

    #[test]
    fn pages_of_another_form_are_none() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"requests": []}"#,
            r#"{"requests": {"Produce": {}}}"#,
            r#"{"requests": {"Produce": {"total": {"sum_nanos": 1, "buckets": [[5, 5, 1]]}, "stages": {}}}}"#,
            r#"{"requests": {"Produce": {"total": {"sum_nanos": 1, "buckets": [[-5, 5, 1]]}, "stages": {}}}}"#,
            r#"{"requests": {"Produce": {"total": {"sum_nanos": 1, "buckets": [[5]]}, "stages": {}}}}"#,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(r#"{"requests": {}}"#), Some(Kinds::new()));
    }
}
