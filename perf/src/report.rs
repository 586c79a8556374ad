//! What a run says: a line a second, a summary, a JSON document and an interval log.

mod hlog;
mod json;
mod live;

pub use hlog::IntervalLog;
pub use json::{Document, side};
pub use live::{line, summary};

/// Percentiles that are told, by their names in the document.
pub const PERCENTILES: [(&str, f64); 7] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
    ("p99.999", 99.999),
    ("max", 100.0),
];
