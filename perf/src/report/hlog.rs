//! An interval log of latencies as HdrHistogram's own tools read it (version 1.3): one line an interval, a tag a side.

use crate::PerfError;
use crate::gauge::Latencies;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Values are nanoseconds, and their maxima in milliseconds.
const NANOS_OF_MS: f64 = 1e6;

/// Intervals, written at the end.
pub struct IntervalLog {
    path: PathBuf,
    began: SystemTime,
    intervals: Vec<(Duration, Duration, &'static str, Latencies)>,
}

impl IntervalLog {
    /// For `path`, whose run begins now.
    pub fn new(path: &Path) -> IntervalLog {
        IntervalLog { path: path.to_owned(), began: SystemTime::now(), intervals: Vec::new() }
    }

    /// Adds an interval that began `since` the run's beginning.
    pub fn add(&mut self, since: Duration, span: Duration, tag: &'static str, latencies: &Latencies) {
        if !latencies.is_empty() {
            self.intervals.push((since, span, tag, latencies.clone()));
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`PerfError::File`].
    pub fn write(&self) -> Result<(), PerfError> {
        let mut out = Vec::new();
        let encoded = self.encode(&mut out);
        let failed = |cause| PerfError::File { path: self.path.display().to_string(), cause };
        encoded.and_then(|()| fs::write(&self.path, out)).map_err(failed)
    }

    fn encode(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new()
            .add_comment("latencies in nanoseconds, by hayate-perf")
            .with_base_time(self.began)
            .with_start_time(self.began)
            .with_max_value_divisor(NANOS_OF_MS)
            .begin_log_with(out, &mut serializer)?;
        for (since, span, tag, latencies) in &self.intervals {
            let written = writer.write_histogram(latencies, *since, *span, Tag::new(tag));
            written.map_err(|error| io::Error::other(format!("{error:?}")))?;
        }
        Ok(())
    }
}
