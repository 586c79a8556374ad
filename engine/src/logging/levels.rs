//! How much is logged, by logger: a pure table. Loggers are modules, named as in each line of the log, below a root; what has no
//! level of its own goes by its nearest ancestor's, as in Log4j, whose levels and root name clients know (KIP-412).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The logger that all others are below, by Kafka's name.
pub const ROOT: &str = "root";

/// The modules that log. `tests/tests/tidy/loggers.rs` holds the list to the source.
pub const MODULES: &[&str] = &[
    "hayate_engine::api::alteration",
    "hayate_engine::api::broker_loggers",
    "hayate_engine::broker::controller",
    "hayate_engine::broker::controller::snapshots",
    "hayate_engine::broker::kafka",
    "hayate_engine::broker::progress",
    "hayate_engine::broker::startup",
    "hayate_engine::coordinator::group::modern::fence",
    "hayate_engine::coordinator::group::modern::migrate",
    "hayate_engine::coordinator::group::share::heartbeat",
    "hayate_engine::coordinator::hosted",
    "hayate_engine::coordinator::runtime",
    "hayate_engine::coordinator::topics",
    "hayate_engine::http",
    "hayate_engine::http::loggers",
    "hayate_engine::logging",
    "hayate_engine::partition::topic_config",
    "hayate_engine::preflight::limits",
    "hayate_engine::process",
    "hayate_engine::shard",
    "hayate_engine::shard::admission",
    "hayate_engine::shard::connection",
    "hayate_engine::shard::follower",
    "hayate_engine::shard::panics",
    "hayate_engine::share::leaders::writing",
    "hayate_engine::telemetry::instances",
    "hayate_engine::telemetry::subscriptions",
    "hayate_net::socket::kernel::completions",
    "hayate_net::socket::kernel::stream",
    "hayate_rt::kernel",
    "hayate_storage::disk::kernel::ring",
    "hayate_storage::foreign",
    "hayate_storage::kafka_folder",
    "hayate_storage::kafka_folder::settle",
    "hayate_storage::log::aborted",
    "hayate_storage::log::indexes",
    "hayate_storage::log::materialise",
    "hayate_storage::log::open",
    "hayate_storage::recovery",
    "hayate_storage::recovery::replay",
    "hayate_storage::store",
    "hayate_storage::store::lifecycle",
    "hayate_storage::store::retention",
];

/// How much a logger lets through: what is named here and what is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing. Can be said in the environment alone.
    Off,
    /// Nothing that this broker says: what ends it is an error here.
    Fatal,
    /// What failed.
    Error,
    /// What someone should look at.
    Warn,
    /// What happens now and then.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Those that clients may set, in the order of their names.
    pub const SETTABLE: [Level; 6] =
        [Level::Debug, Level::Error, Level::Fatal, Level::Info, Level::Trace, Level::Warn];

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Off => "OFF",
            Level::Fatal => "FATAL",
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
            Level::Trace => "TRACE",
        }
    }

    /// The one of that name, in capitals, of those that clients may set.
    pub fn settable(name: &str) -> Option<Level> {
        Level::SETTABLE.into_iter().find(|level| level.name() == name)
    }

    /// The one of that name, in any case.
    fn any(name: &str) -> Option<Level> {
        let name = name.to_ascii_uppercase();
        if name == Level::Off.name() { Some(Level::Off) } else { Level::settable(&name) }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The levels of all loggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    root: Level,
    /// Of those that have one of their own.
    own: BTreeMap<String, Level>,
}

impl Default for Levels {
    fn default() -> Levels {
        Levels { root: Level::Info, own: BTreeMap::new() }
    }
}

impl Levels {
    /// From a list such as `warn,hayate_storage=trace`. What it does not say stays as by default, but that a list of modules alone
    /// silences the others.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Levels, String> {
        let mut root = None;
        let mut levels = Levels::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (logger, level) = word.split_once('=').unwrap_or((ROOT, word));
            let level = Level::any(level.trim()).ok_or_else(|| {
                format!("{level} is no level; those are off, fatal, error, warn, info, debug and trace")
            })?;
            match logger.trim() {
                ROOT => root = Some(level),
                module => levels.set(module, level),
            }
        }
        let otherwise = if levels.own.is_empty() { levels.root } else { Level::Off };
        levels.root = root.unwrap_or(otherwise);
        Ok(levels)
    }

    /// The level that a logger goes by.
    pub fn of(&self, logger: &str) -> Level {
        let mut at = logger;
        loop {
            if let Some(level) = self.own.get(at) {
                return *level;
            }
            match at.rsplit_once("::") {
                Some((parent, _)) => at = parent,
                None => return self.root,
            }
        }
    }

    /// Gives a logger a level of its own.
    pub fn set(&mut self, logger: &str, level: Level) {
        if logger == ROOT {
            self.root = level;
        } else {
            self.own.insert(logger.to_owned(), level);
        }
    }

    /// Takes a logger's own level back. The root keeps its.
    pub fn unset(&mut self, logger: &str) {
        self.own.remove(logger);
    }

    /// Gives a logger and all below it a level, as Connect does; who they are.
    pub fn set_below(&mut self, logger: &str, level: Level) -> Vec<String> {
        let is_below = |name: &str| {
            logger == ROOT
                || name.strip_prefix(logger).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let affected: Vec<String> = self.loggers().into_iter().filter(|name| is_below(name)).collect();
        self.own.retain(|name, _| !is_below(name));
        self.set(logger, level);
        affected
    }

    /// Every logger: the root, the modules that log, those that they lie in, and whatever else has a level.
    pub fn loggers(&self) -> BTreeSet<String> {
        let mut loggers = BTreeSet::from([ROOT.to_owned()]);
        for module in MODULES.iter().copied().chain(self.own.keys().map(String::as_str)) {
            let ends = module.match_indices("::").map(|(at, _)| at).chain([module.len()]);
            loggers.extend(ends.map(|end| module[..end].to_owned()));
        }
        loggers
    }

    /// The most that any logger lets through.
    pub(super) fn most(&self) -> Level {
        self.own.values().copied().chain([self.root]).max().unwrap_or(self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_goes_by_its_nearest_ancestor() {
        let mut levels = Levels::parse("warn,hayate_storage=trace, hayate_engine::shard = Debug").unwrap();
        levels.set("hayate_engine::shard::panics", Level::Fatal);
        for (logger, level) in [
            (ROOT, Level::Warn),
            ("elsewhere", Level::Warn),
            ("hayate_storage", Level::Trace),
            ("hayate_storage::log::open", Level::Trace),
            ("hayate_storage_too", Level::Warn),
            ("hayate_engine", Level::Warn),
            ("hayate_engine::shard::connection", Level::Debug),
            ("hayate_engine::shards", Level::Warn),
            ("hayate_engine::shard::panics", Level::Fatal),
        ] {
            assert_eq!(levels.of(logger), level, "{logger}");
        }
        assert_eq!(levels.most(), Level::Trace);
        levels.unset("hayate_storage");
        levels.unset(ROOT);
        assert_eq!((levels.of("hayate_storage::log"), levels.of(ROOT)), (Level::Warn, Level::Warn));
    }

    #[test]
    fn lists_are_read() {
        assert_eq!(Levels::parse(""), Ok(Levels::default()));
        assert_eq!(Levels::parse("off").unwrap().root, Level::Off);
        assert_eq!(Levels::parse("hayate_net=info").unwrap().of("hayate_engine"), Level::Off);
        assert_eq!(Levels::parse("root=error").unwrap().root, Level::Error);
        for (text, wrong) in [("loud", "loud"), ("warn,hayate_net=", ""), ("info,hayate_net", "hayate_net")] {
            let error = Levels::parse(text).unwrap_err();
            assert!(error.starts_with(&format!("{wrong} is no level")), "{text}: {error}");
        }
    }

    #[test]
    fn a_level_for_all_below_takes_back_what_they_had() {
        let mut levels = Levels::parse("info,hayate_storage::log=trace,hayate_storage::store=warn").unwrap();
        let affected = levels.set_below("hayate_storage::log", Level::Error);
        let log = ["", "::aborted", "::indexes", "::materialise", "::open"]
            .map(|rest| format!("hayate_storage::log{rest}"));
        assert_eq!(affected, log);
        assert_eq!(levels.of("hayate_storage::log::open"), Level::Error);
        assert_eq!(levels.of("hayate_storage::store"), Level::Warn);
        assert_eq!(levels.set_below(ROOT, Level::Debug).len(), levels.loggers().len());
        assert_eq!(levels.of("hayate_storage::store"), Level::Debug);
    }

    #[test]
    fn loggers_are_modules_their_ancestors_and_what_was_named() {
        let loggers = Levels::parse("info,my::own=debug").unwrap().loggers();
        for name in [ROOT, "hayate_engine", "hayate_engine::broker", "hayate_rt::kernel", "my", "my::own"] {
            assert!(loggers.contains(name), "{name}");
        }
        assert!(MODULES.is_sorted());
    }
}
