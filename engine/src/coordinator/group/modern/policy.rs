//! What the broker says about consumer groups: `group.consumer.*`.

use crate::coordinator::assignor::Assignor;

/// Which groups change their kind while they have members (`group.consumer.migration.policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Classic groups become consumer groups, and these become classic ones again.
    Bidirectional,
    /// Classic groups become consumer groups.
    Upgrade,
    /// Consumer groups become classic groups.
    Downgrade,
    /// None does.
    Disabled,
}

impl MigrationPolicy {
    /// Their names, in Kafka's order.
    pub const NAMES: &'static [&'static str] = &["disabled", "downgrade", "upgrade", "bidirectional"];

    /// The policy of that name, in whatever case.
    pub fn of_name(name: &str) -> Option<MigrationPolicy> {
        match name.to_ascii_lowercase().as_str() {
            "bidirectional" => Some(MigrationPolicy::Bidirectional),
            "upgrade" => Some(MigrationPolicy::Upgrade),
            "downgrade" => Some(MigrationPolicy::Downgrade),
            "disabled" => Some(MigrationPolicy::Disabled),
            _ => None,
        }
    }

    pub(in crate::coordinator::group) fn upgrades(self) -> bool {
        matches!(self, MigrationPolicy::Bidirectional | MigrationPolicy::Upgrade)
    }

    pub(in crate::coordinator::group) fn downgrades(self) -> bool {
        matches!(self, MigrationPolicy::Bidirectional | MigrationPolicy::Downgrade)
    }
}

/// The assignors that members may ask for; the first is that of groups whose members ask for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignors([Option<Assignor>; Assignor::ALL.len()]);

impl Default for Assignors {
    fn default() -> Assignors {
        Assignors(Assignor::ALL.map(Some))
    }
}

impl Assignors {
    /// From their names, each once; `None` if one is unknown, or there is none.
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Assignors> {
        let mut kept = [None; Assignor::ALL.len()];
        for name in names {
            let assignor = Assignor::of_name(name)?;
            if !kept.contains(&Some(assignor)) {
                *kept.iter_mut().find(|slot| slot.is_none())? = Some(assignor);
            }
        }
        kept[0].is_some().then_some(Assignors(kept))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Assignor> {
        self.0.into_iter().flatten()
    }

    /// The first.
    pub fn first(&self) -> Assignor {
        self.iter().next().unwrap_or(Assignor::Uniform)
    }
}

/// What the broker says about consumer groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    /// `group.consumer.session.timeout.ms`, where the group itself says nothing.
    pub session_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`, where the group itself says nothing.
    pub heartbeat_ms: i32,
    /// `group.consumer.min.session.timeout.ms` and `…max…`: what a group may say.
    pub session_ms_range: (i32, i32),
    /// `group.consumer.min.heartbeat.interval.ms` and `…max…`: what a group may say.
    pub heartbeat_ms_range: (i32, i32),
    /// `group.consumer.max.size`
    pub size_max: usize,
    /// `group.consumer.assignors`
    pub assignors: Assignors,
    /// `group.consumer.migration.policy`
    pub migration: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms`
    pub expressions_refresh_ms: i64,
}

impl Default for ConsumerGroupConfig {
    /// Kafka's defaults.
    fn default() -> ConsumerGroupConfig {
        ConsumerGroupConfig {
            session_ms: 45_000,
            heartbeat_ms: 5_000,
            session_ms_range: (45_000, 60_000),
            heartbeat_ms_range: (5_000, 15_000),
            size_max: i32::MAX as usize,
            assignors: Assignors::default(),
            migration: MigrationPolicy::Bidirectional,
            expressions_refresh_ms: 600_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        for name in MigrationPolicy::NAMES {
            assert!(MigrationPolicy::of_name(name).is_some(), "{name}");
        }
        assert_eq!(MigrationPolicy::of_name("Upgrade"), Some(MigrationPolicy::Upgrade));
        assert_eq!(MigrationPolicy::of_name("both"), None);
        let read = |names: &[&str]| {
            Assignors::of_names(names.iter().copied()).map(|all| all.iter().collect::<Vec<_>>())
        };
        assert_eq!(read(&["range"]), Some(vec![Assignor::Range]));
        assert_eq!(read(&["range", "uniform", "range"]), Some(vec![Assignor::Range, Assignor::Uniform]));
        assert_eq!((read(&[]), read(&["sticky"])), (None, None));
    }
}
