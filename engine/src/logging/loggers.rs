//! The loggers of a process, shared by whoever reads or changes their levels while it runs: requests, on any shard, and HTTP.
//! Nothing is kept over a restart, as in Kafka. A change waits for nothing but another change.

use super::levels::{Level, Levels};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::{Layer, Registry, reload};

/// Their levels, and the log that goes by them.
#[derive(Debug, Default)]
pub struct Loggers {
    levels: Mutex<Levels>,
    /// Of a process that logs.
    log: OnceLock<reload::Handle<Threshold, Registry>>,
}

impl Loggers {
    /// With these levels, for a log that is to begin with what is returned beside.
    pub(super) fn new(levels: Levels) -> (Loggers, reload::Layer<Threshold, Registry>) {
        let (threshold, handle) = reload::Layer::new(Threshold(levels.clone()));
        (Loggers { levels: Mutex::new(levels), log: OnceLock::from(handle) }, threshold)
    }

    /// The levels now.
    pub fn levels(&self) -> Levels {
        self.lock().clone()
    }

    /// Changes levels; they are in force when this returns.
    pub fn change<T>(&self, change: impl FnOnce(&mut Levels) -> T) -> T {
        let mut levels = self.lock();
        let changed = change(&mut levels);
        if let Some(log) = self.log.get() {
            // It fails when the process has no log any more.
            let _ = log.reload(Threshold(levels.clone()));
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets through what the levels allow. Each place in the source is judged once, until levels change.
#[derive(Debug)]
pub(super) struct Threshold(Levels);

impl Threshold {
    fn allows(&self, place: &Metadata<'_>) -> bool {
        *place.level() <= filter(self.0.of(place.target()))
    }
}

impl<S: Subscriber> Layer<S> for Threshold {
    fn register_callsite(&self, place: &'static Metadata<'static>) -> Interest {
        if self.allows(place) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, place: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.allows(place)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter(self.0.most()))
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off | Level::Fatal => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing::Event;
    use tracing_subscriber::layer::SubscriberExt;

    /// Counts what gets through.
    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_change_is_in_force_at_once() {
        let (loggers, threshold) = Loggers::new(Levels::parse("error").unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let log = tracing_subscriber::registry().with(threshold).with(Count(count.clone()));
        tracing::subscriber::with_default(log, || {
            let here = module_path!();
            let seen = || {
                count.store(0, Ordering::Relaxed);
                tracing::error!("one");
                tracing::debug!("two");
                tracing::debug!(target: "elsewhere", "three");
                count.load(Ordering::Relaxed)
            };
            for (logger, level, expected) in [
                ("elsewhere", Level::Error, 1),
                (here, Level::Debug, 2),
                ("elsewhere", Level::Trace, 3),
                (here, Level::Fatal, 1),
            ] {
                loggers.change(|levels| levels.set(logger, level));
                assert_eq!(seen(), expected, "{logger} {level}");
            }
            loggers.change(|levels| levels.unset(here));
            assert_eq!(seen(), 2);
        });
    }
}
