//! What one client has pushed, as series of bounded number and size.
//!
//! A push brings every gauge that there is, so those of the push before go; sums go on, because a client tells what came since.

use super::otlp::{self, OtlpError, Point, PointKind};
use std::collections::BTreeMap;

/// Bytes of a metric's name, and of one label's value.
const TEXT_BYTES_MAX: usize = 128;
/// Bytes of a label's name.
const LABEL_BYTES_MAX: usize = 48;
/// Labels that a series has at most, besides those that tell the client.
const LABELS_MAX: usize = 16;
/// Names of labels that are not a client's to choose.
const RESERVED: [&str; 5] = ["metric", "client_id", "client_instance_id", "le", "quantile"];

/// What tells a series of a client from its others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The metric's name, as the client has it.
    pub metric: String,
    /// Names and values, by name, each name once.
    pub labels: Vec<(String, String)>,
}

/// What a client has pushed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientFigures {
    /// The client's name for itself, or none.
    pub client_id: String,
    /// Its instance's id, as text.
    pub instance_id: String,
    /// How things stood at the last push.
    pub gauges: BTreeMap<Series, f64>,
    /// What only grows.
    pub sums: BTreeMap<Series, f64>,
}

impl ClientFigures {
    /// How many series there are.
    pub fn len(&self) -> usize {
        self.gauges.len() + self.sums.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes over a push, as far as `series_max` series; how many points were left out.
    pub(super) fn take(&mut self, message: &[u8], series_max: usize) -> Result<usize, OtlpError> {
        let mut left_out = 0;
        self.gauges.clear();
        let skipped = otlp::read(message, &mut |point| {
            if !self.add(point, series_max) {
                left_out += 1;
            }
        })?;
        Ok(skipped + left_out)
    }

    fn add(&mut self, point: &Point<'_>, series_max: usize) -> bool {
        let Some(series) = series_of(point) else { return false };
        let has_room = self.len() < series_max;
        let figures = match point.kind {
            PointKind::Gauge => &mut self.gauges,
            PointKind::Added | PointKind::Total => &mut self.sums,
        };
        if !has_room && !figures.contains_key(&series) {
            return false;
        }
        let figure = figures.entry(series).or_default();
        match point.kind {
            PointKind::Gauge | PointKind::Total => *figure = point.value,
            PointKind::Added => *figure += point.value,
        }
        true
    }
}

/// `None` for a point whose texts are too long.
fn series_of(point: &Point<'_>) -> Option<Series> {
    if point.metric.is_empty() || point.metric.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in point.attributes.iter().take(LABELS_MAX) {
        if key.is_empty() || key.len() > LABEL_BYTES_MAX {
            return None;
        }
        let (name, value) = (label_name(key), value.to_string());
        if value.len() > TEXT_BYTES_MAX {
            return None;
        }
        if !name.starts_with("__") && !RESERVED.contains(&name.as_str()) {
            labels.insert(name, value);
        }
    }
    Some(Series { metric: point.metric.to_owned(), labels: labels.into_iter().collect() })
}

/// The name with everything replaced that Prometheus does not allow in one.
fn label_name(key: &str) -> String {
    let legal = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let mut name: String = key.chars().map(legal).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::super::otlp::tests::{gauge, message, sum, whole};
    use super::*;

    fn shown(figures: &BTreeMap<Series, f64>) -> Vec<String> {
        let text = |(series, value): (&Series, &f64)| {
            let labels: Vec<_> =
                series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}{{{}}} {value}", series.metric, labels.join(","))
        };
        figures.iter().map(text).collect()
    }

    #[test]
    fn gauges_are_replaced_and_sums_go_on() {
        let mut figures = ClientFigures::default();
        let first = message(&[
            gauge("open", &[whole(1, &[("node", "1")]), whole(2, &[("node", "2")])]),
            sum("sent", 1, 1, &[whole(3, &[])]),
            sum("since", 2, 1, &[whole(9, &[])]),
        ]);
        assert_eq!(figures.take(&first, 100), Ok(0));
        let second = message(&[
            gauge("open", &[whole(4, &[("node", "2")])]),
            sum("sent", 1, 1, &[whole(5, &[])]),
            sum("since", 2, 1, &[whole(11, &[])]),
        ]);
        assert_eq!(figures.take(&second, 100), Ok(0));
        assert_eq!(shown(&figures.gauges), ["open{client_rack=r1,node=2} 4"]);
        assert_eq!(shown(&figures.sums), ["sent{client_rack=r1} 8", "since{client_rack=r1} 11"]);
    }

    #[test]
    fn there_are_no_more_series_than_allowed_and_no_long_ones() {
        let mut figures = ClientFigures::default();
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let points: Vec<_> = (0..9).map(|node| whole(node, &[("node", &node.to_string())])).collect();
        let bytes = message(&[
            gauge(&long, &[whole(1, &[])]),
            gauge("long", &[whole(1, &[("topic", &long)]), whole(1, &[(&long, "x")])]),
            gauge("nodes", &points),
        ]);
        assert_eq!(figures.take(&bytes, 5), Ok(3 + 4));
        assert_eq!(figures.len(), 5);
        assert_eq!(figures.take(&message(&[sum("sent", 1, 1, &points)]), 5), Ok(4));
    }

    #[test]
    fn labels_are_ones_that_prometheus_takes_and_never_ours() {
        let mut figures = ClientFigures::default();
        let attributes = [
            ("client-id", "a"),
            ("client.id", "b"),
            ("9lives", "c"),
            ("__name__", "d"),
            ("metric", "e"),
            ("x.y", "f"),
        ];
        figures.take(&message(&[gauge("m", &[whole(1, &attributes)])]), 9).expect("valid");
        assert_eq!(shown(&figures.gauges), ["m{_9lives=c,client_rack=r1,x_y=f} 1"]);
    }
}
