//! What holds for share groups: the broker's settings, and what a group is set to instead.
//!
//! Names and defaults are those of Kafka 4.2's `ShareGroupConfig`, `GroupCoordinatorConfig` and `GroupConfig`.

use super::partition::ShareLimits;
use crate::metadata::image::{ConfigKind, ConfigResource, MetadataImage};
use crate::partition::Isolation;
use std::time::Duration;

/// Where a group begins.
pub const RESET: &str = "share.auto.offset.reset";
/// How often a member of a share group is to tell of itself.
pub const HEARTBEAT: &str = "share.heartbeat.interval.ms";
/// How far a share group may see.
pub const ISOLATION: &str = "share.isolation.level";
/// How long a member of a share group may keep a record.
pub const LOCK: &str = "share.record.lock.duration.ms";
/// How long a member of a share group may be silent.
pub const SESSION: &str = "share.session.timeout.ms";

/// What the broker says about share groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareConfig {
    /// What bounds a share partition.
    pub limits: ShareLimits,
    /// `group.share.record.lock.duration.ms`: how long a member may keep a record.
    pub lock_ms: i32,
    /// What a group may be set to: `group.share.min.record.lock.duration.ms` and `max`.
    pub lock_ms_range: (i32, i32),
    /// `group.share.session.timeout.ms`: how long a member may be silent.
    pub session_ms: i32,
    /// What a group may be set to: `group.share.min.session.timeout.ms` and `max`.
    pub session_ms_range: (i32, i32),
    /// `group.share.heartbeat.interval.ms`: how often it is to tell of itself.
    pub heartbeat_ms: i32,
    /// What a group may be set to: `group.share.min.heartbeat.interval.ms` and `max`.
    pub heartbeat_ms_range: (i32, i32),
    /// `group.share.max.size`: members of a group.
    pub size_max: usize,
    /// `group.share.max.share.sessions`: share sessions of the broker.
    pub sessions_max: usize,
}

impl Default for ShareConfig {
    /// Kafka's defaults.
    fn default() -> ShareConfig {
        ShareConfig {
            limits: ShareLimits::default(),
            lock_ms: 30_000,
            lock_ms_range: (15_000, 60_000),
            session_ms: 45_000,
            session_ms_range: (45_000, 60_000),
            heartbeat_ms: 5_000,
            heartbeat_ms_range: (5_000, 15_000),
            size_max: 200,
            sessions_max: 2_000,
        }
    }
}

/// Where a group begins in a partition that it has not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// Behind the last record.
    Latest,
    /// At the first record.
    Earliest,
    /// At the first record that is not older than this.
    ByDuration(Duration),
}

impl OffsetReset {
    /// `latest`, `earliest`, or `by_duration:` and a span as ISO 8601 has it.
    pub fn parse(text: &str) -> Option<OffsetReset> {
        match text.split_once(':') {
            None if text.eq_ignore_ascii_case("latest") => Some(OffsetReset::Latest),
            None if text.eq_ignore_ascii_case("earliest") => Some(OffsetReset::Earliest),
            Some((kind, span)) if kind.eq_ignore_ascii_case("by_duration") => {
                span_of(span).map(OffsetReset::ByDuration)
            }
            None | Some(_) => None,
        }
    }
}

/// A span in days, hours, minutes and seconds: `P1DT2H3M4.5S`.
fn span_of(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix(['P', 'p'])?;
    let (days, times) = rest.split_once(['T', 't']).map_or((rest, None), |(days, times)| (days, Some(times)));
    if times.is_some_and(str::is_empty) || (days.is_empty() && times.is_none()) {
        return None;
    }
    let seconds = parts(days, &[('D', 86_400.0)])? + parts(times.unwrap_or_default(), TIMES)?;
    Duration::try_from_secs_f64(seconds).ok()
}

const TIMES: &[(char, f64)] = &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)];

/// Numbers, each with its unit, in the order of the units.
fn parts(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut seconds = 0.0;
    for (unit, worth) in units {
        if let Some((number, rest)) = text.split_once([*unit, unit.to_ascii_lowercase()]) {
            seconds += number.parse::<f64>().ok()? * worth;
            text = rest;
        }
    }
    text.is_empty().then_some(seconds)
}

/// What holds for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// How long a member may keep a record.
    pub lock_ms: i32,
    /// How long a member may be silent.
    pub session_ms: i32,
    /// How often it is to tell of itself.
    pub heartbeat_ms: i32,
    /// Where the group begins.
    pub reset: OffsetReset,
    /// How far it may see.
    pub isolation: Isolation,
}

impl ShareConfig {
    /// What holds for `group`.
    pub fn of_group(&self, image: &MetadataImage, group: &str) -> GroupSettings {
        let set = image.config(&ConfigResource { kind: ConfigKind::Group, name: group.to_owned() });
        let text = |name: &str| set.and_then(|set| set.get(name)).map(|value| value.trim());
        let number =
            |name: &str, otherwise| text(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise);
        let committed = text(ISOLATION).is_some_and(|it| it.eq_ignore_ascii_case("read_committed"));
        GroupSettings {
            lock_ms: number(LOCK, self.lock_ms),
            session_ms: number(SESSION, self.session_ms),
            heartbeat_ms: number(HEARTBEAT, self.heartbeat_ms),
            reset: text(RESET).and_then(OffsetReset::parse).unwrap_or(OffsetReset::Latest),
            isolation: if committed { Isolation::Committed } else { Isolation::Uncommitted },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_java_writes_them() {
        for (text, expected) in [
            ("latest", Some(OffsetReset::Latest)),
            ("Earliest", Some(OffsetReset::Earliest)),
            ("by_duration:PT0S", Some(OffsetReset::ByDuration(Duration::ZERO))),
            ("by_duration:P1DT2H3M4.5S", Some(OffsetReset::ByDuration(Duration::from_millis(93_784_500)))),
            ("by_duration:P3D", Some(OffsetReset::ByDuration(Duration::from_secs(259_200)))),
            ("by_duration:-PT1S", None),
            ("by_duration:PT", None),
            ("by_duration:P", None),
            ("by_duration:PT1S2H", None),
            ("by_duration:", None),
            ("none", None),
        ] {
            assert_eq!(OffsetReset::parse(text), expected, "{text}");
        }
    }
}
