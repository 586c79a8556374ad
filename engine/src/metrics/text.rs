//! Prometheus' text exposition format, version 0.0.4.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>. A family's `# HELP` and `# TYPE` lines come once,
//! before its samples, and its samples stay together: [`TextWriter::family`] opens one, and samples go into the open one.

use super::cells::{BOUNDS_NANOS, Times};
use super::fine::{FineTimes, SHOWN_BITS};
use std::fmt::Write;

/// The `Content-Type` of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl MetricType {
    const fn name(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
        }
    }
}

/// Builds the text.
#[derive(Debug, Default)]
pub struct TextWriter {
    text: String,
    family: &'static str,
}

/// Labels of a sample: names are ours, values may be anything.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl TextWriter {
    /// Opens a family. `help` is one line.
    pub fn family(&mut self, name: &'static str, kind: MetricType, help: &str) {
        debug_assert_eq!(kind == MetricType::Counter, name.ends_with("_total"), "{name}");
        self.family = name;
        self.push(format_args!("# HELP {name} {}\n# TYPE {name} {}\n", help.replace('\n', " "), kind.name()));
    }

    /// A whole number of the open family.
    pub fn sample(&mut self, labels: Labels<'_>, value: u64) {
        self.line("", labels, format_args!("{value}"));
    }

    /// Any number of the open family.
    pub(super) fn decimal(&mut self, labels: Labels<'_>, value: f64) {
        match value {
            f64::INFINITY => self.line("", labels, format_args!("+Inf")),
            f64::NEG_INFINITY => self.line("", labels, format_args!("-Inf")),
            value => self.line("", labels, format_args!("{value}")),
        }
    }

    /// Nanoseconds, shown as seconds, of the open family.
    pub fn seconds(&mut self, labels: Labels<'_>, nanos: u64) {
        self.line("", labels, format_args!("{}", seconds(nanos)));
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &'static str, kind: MetricType, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// A histogram of the open family, in seconds.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, times: &Times) {
        let mut below = 0;
        let bounds = BOUNDS_NANOS.iter().map(|nanos| seconds(*nanos)).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(times.buckets) {
            below += count;
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line("_bucket", &labels, format_args!("{below}"));
        }
        self.line("_sum", labels, format_args!("{}", seconds(times.sum_nanos)));
        self.line("_count", labels, format_args!("{below}"));
    }

    /// A fine histogram of the open family, in seconds, by powers of two of nanoseconds.
    pub(super) fn fine_histogram(&mut self, labels: Labels<'_>, times: &FineTimes) {
        let count = times.count();
        let bounds = SHOWN_BITS.map(|bits| (seconds(1 << bits), times.up_to(bits)));
        for (bound, below) in bounds.chain([("+Inf".to_owned(), count)]) {
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line("_bucket", &labels, format_args!("{below}"));
        }
        self.line("_sum", labels, format_args!("{}", seconds(times.sum_nanos())));
        self.line("_count", labels, format_args!("{count}"));
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, value: std::fmt::Arguments<'_>) {
        let family = self.family;
        self.push(format_args!("{family}{suffix}"));
        for (index, (name, content)) in labels.iter().enumerate() {
            let opening = if index == 0 { '{' } else { ',' };
            self.push(format_args!("{opening}{name}=\"{}\"", escaped(content)));
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        self.push(format_args!("{closing} {value}\n"));
    }

    fn push(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.text.write_fmt(arguments).expect("a String takes all that is written to it");
    }
}

/// Nanoseconds as decimal seconds, exact, without trailing zeroes.
pub(super) fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        for (nanos, text) in [
            (0, "0"),
            (50_000, "0.00005"),
            (1_000_000_000, "1"),
            (10_500_000_000, "10.5"),
            (1, "0.000000001"),
        ] {
            assert_eq!(seconds(nanos), text);
        }
    }

    #[test]
    fn any_number_can_be_read_back() {
        let mut writer = TextWriter::default();
        writer.family("a", MetricType::Gauge, "x");
        for value in [0.1, -3.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            writer.decimal(&[], value);
        }
        let text = writer.finish();
        let shown: Vec<_> = text.lines().skip(2).map(|line| line.trim_start_matches("a ")).collect();
        assert_eq!((&shown[..2], &shown[3..]), (&["0.1", "-3"][..], &["NaN", "+Inf", "-Inf"][..]));
        assert_eq!(shown[2].parse(), Ok(1e300));
    }

    #[test]
    fn label_values_are_escaped() {
        let mut writer = TextWriter::default();
        writer.family("a_b", MetricType::Gauge, "two\nlines");
        writer.sample(&[("x", "q\"\\\n"), ("y", "")], 1);
        let expected = "# HELP a_b two lines\n# TYPE a_b gauge\na_b{x=\"q\\\"\\\\\\n\",y=\"\"} 1\n";
        assert_eq!(writer.finish(), expected);
    }
}
