//! Expressions by which members are subscribed, and the topics that they match: resolved for the whole group at once, so that it rebalances
//! once for all of them, a moment after a member brought a new one, after topics were created, or when the last time is long past.
//!
//! After `maybeUpdateRegularExpressions` and `handleRegularExpressionsResult` of Apache Kafka 4.2's `GroupMetadataManager`. Expressions are
//! RE2J's there and `regex`'s here: both match in linear time, and agree on what topics' names (ASCII) are matched with. A name is matched
//! as a whole.

use super::heartbeat::Scene;
use super::{ConsumerGroup, Member, Refusal, records};
use crate::coordinator::records::{
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue, GroupRecord,
};
use kafka_protocol::ResponseError;
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::rc::Rc;

/// A group's expressions are resolved so often at most.
const REFRESH_MS_MIN: i64 = 10_000;
/// The most memory that a compiled expression may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// What an expression matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::coordinator::group) struct Resolved {
    /// The topics' names.
    pub(in crate::coordinator::group) topics: Rc<BTreeSet<Box<str>>>,
    /// The version of the metadata image that they were found in.
    version: i64,
    /// When they were found, milliseconds since the epoch.
    timestamp_ms: i64,
}

impl Resolved {
    pub(super) fn of_record(value: &ConsumerGroupRegularExpressionValue) -> Resolved {
        Resolved {
            topics: Rc::new(value.topics.iter().map(|name| name.as_str().into()).collect()),
            version: value.version,
            timestamp_ms: value.timestamp_ms,
        }
    }
}

/// What became of a member's expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Update {
    /// It is the same.
    None,
    /// It is another, and not resolved yet.
    Changed,
    /// It is another, and what it matches is known: the group can rebalance at once.
    Resolved,
}

/// Compiles an expression, to match names as a whole.
pub(super) fn compile(expression: &str) -> Result<Regex, String> {
    let translated = without_quotes(expression);
    let build =
        |pattern: &str| RegexBuilder::new(pattern).unicode(false).size_limit(COMPILED_BYTES_MAX).build();
    // First as it is: within the brackets below, one that closes too many would pass.
    let whole = build(&translated).and_then(|_| build(&format!(r"\A(?:{translated}){end}", end = r"\z")));
    whole.map_err(|error| match error {
        regex::Error::Syntax(report) => {
            let last = report.lines().last().unwrap_or_default();
            last.trim_start_matches("error:").trim().to_owned()
        }
        error => error.to_string(),
    })
}

/// RE2J takes what stands between `\Q` and `\E` as it is.
fn without_quotes(expression: &str) -> String {
    let mut plain = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (quoted, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            plain.push_str(&regex::escape(quoted));
            rest = after;
        } else {
            let pair = rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end);
            plain.push_str(&rest[..pair]);
            rest = &rest[pair..];
        }
    }
    plain + rest
}

/// Is the expression one?
fn check(expression: &str) -> Result<(), Refusal> {
    let refuse = |why| {
        let message =
            format!("SubscribedTopicRegex `{expression}` is not a valid regular expression: {why}.");
        Refusal::new(ResponseError::InvalidRegularExpression, message)
    };
    compile(expression).map(drop).map_err(refuse)
}

/// Looks at the expression of a member that comes to be another, and says whether the group's are to be resolved anew.
///
/// # Errors
/// `INVALID_REGULAR_EXPRESSION`.
pub(super) fn update(
    group: &ConsumerGroup,
    scene: &Scene<'_>,
    member: &Member,
    updated: &Member,
    written: &mut Vec<GroupRecord>,
) -> Result<(Update, bool), Refusal> {
    let (before, after) = (&*member.expression, &*updated.expression);
    let (mut update, mut is_new) = (Update::None, false);
    if before != after {
        if !before.is_empty() && group.subscribed_by(before) == 1 {
            written.push(records::no_expression(&group.id, before));
        }
        is_new = !after.is_empty() && group.subscribed_by(after) == 0;
        if is_new {
            check(after)?;
        }
        let is_known = after.is_empty() || (!is_new && group.resolved.contains_key(after));
        update = if is_known { Update::Resolved } else { Update::Changed };
    }
    Ok((update, group.wants_resolution(scene, member, updated, is_new)))
}

impl ConsumerGroup {
    fn wants_resolution(&self, scene: &Scene<'_>, member: &Member, updated: &Member, is_new: bool) -> bool {
        if (!is_new && self.expressions().next().is_none()) || self.resolving.is_some() {
            return false;
        }
        let now_ms = scene.moment.wall_ms;
        let last_ms = self.resolved.values().map(|resolved| resolved.timestamp_ms).max();
        if last_ms.is_some_and(|last_ms| now_ms <= last_ms.saturating_add(REFRESH_MS_MIN)) {
            return false;
        }
        let was_last = |expression: &str| {
            *expression == *member.expression
                && member.expression != updated.expression
                && self.subscribed_by(expression) == 1
        };
        let mut subscribed: BTreeSet<&str> =
            self.expressions().filter(|expression| !was_last(expression)).collect();
        subscribed.extend(Some(&*updated.expression).filter(|expression| !expression.is_empty()));
        let version = self.resolved.values().map(|resolved| resolved.version).max().unwrap_or(0);
        let refresh_ms = scene.config.consumer.expressions_refresh_ms;
        let is_due = last_ms.is_none_or(|last_ms| now_ms > last_ms.saturating_add(refresh_ms));
        !subscribed.is_empty()
            && (is_new || subscribed.len() != self.resolved.len() || version < scene.topics.created || is_due)
    }

    /// Resolves all expressions of the group, and says what is to be written, and whether the group rebalances for it.
    pub(in crate::coordinator::group) fn resolve(&self, scene: &Scene<'_>) -> (Vec<GroupRecord>, bool) {
        let image = &scene.moment.image;
        let (version, timestamp_ms) = (image.position().offset.0, scene.moment.wall_ms);
        let mut written = Vec::new();
        let mut names = self.subscribed_names_without_expressions();
        let mut differs = false;
        for expression in self.expressions() {
            let Ok(pattern) = compile(expression) else { continue };
            let matched = image.topics().filter(|topic| pattern.is_match(topic.name.as_bytes()));
            let topics: BTreeSet<Box<str>> = matched.map(|topic| topic.name.as_ref().into()).collect();
            differs |=
                self.resolved.get(expression).map(|resolved| &*resolved.topics).unwrap_or(&BTreeSet::new())
                    != &topics;
            let value = ConsumerGroupRegularExpressionValue {
                topics: topics.iter().map(|name| name.as_ref().into()).collect(),
                version,
                timestamp_ms,
            };
            names.extend(topics);
            let key = ConsumerGroupRegularExpressionKey {
                group: self.id.as_ref().into(),
                regular_expression: expression.into(),
            };
            written.push(GroupRecord::ConsumerGroupRegularExpression(key, Some(value)));
        }
        let hash = scene.topics.hash(names.iter().map(|name| &**name), image);
        let bumps = differs || hash != self.metadata_hash;
        if bumps {
            written.push(records::epoch(&self.id, self.epoch.saturating_add(1), hash));
        }
        (written, bumps)
    }

    fn subscribed_names_without_expressions(&self) -> BTreeSet<Box<str>> {
        self.members.values().flat_map(|member| member.topics.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_a_whole() {
        for (expression, name, matches) in [
            ("foo", "foo", true),
            ("foo", "foobar", false),
            ("foo|bar", "barfoo", false),
            ("foo.*", "foo-1", true),
            ("^foo$", "foo", true),
            (r"\Qa.b\E.*", "a.b-c", true),
            (r"\Qa.b\E", "axb", false),
            (r"\Qa.b", "a.b", true),
            (r"a\.b", "axb", false),
            (r"\w+-\d{2}", "topic-07", true),
            ("(?i)TOPIC", "topic", true),
            ("", "", true),
        ] {
            let pattern = compile(expression).expect(expression);
            assert_eq!(pattern.is_match(name.as_bytes()), matches, "{expression} {name}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for expression in ["(", "a)(?:b", "[a", "*a", r"\", "a{1000000}{1000000}", "(?<!a)b"] {
            let refusal = check(expression).expect_err(expression);
            assert_eq!(refusal.error, ResponseError::InvalidRegularExpression);
            assert!(refusal.message.contains(expression), "{}", refusal.message);
        }
    }
}
