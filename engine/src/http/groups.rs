//! The pages of groups: `GET /groups` lists them, `GET /groups/NAME` shows one with its members and offsets, both as JSON.
//!
//! What is shown was published by the shards within the last seconds. The names of fields are those of Kafka's answers to
//! ListGroups and DescribeGroups where it has one.

use super::request::{Method, Request};
use super::{Response, json as page};
use crate::coordinator::group::{GroupFigures, MemberFigures};
use crate::metrics::GroupSeries;
use serde_json::{Value, json};

/// Below which path the pages are.
const PATH: &str = "/groups";

/// The answer, if the path is one of these pages.
pub(super) fn respond(groups: &GroupSeries, request: &Request) -> Option<Response> {
    let rest = request.path.strip_prefix(PATH)?;
    let name = match rest.strip_prefix('/') {
        Some(name) => Some(name).filter(|name| !name.is_empty()),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some(match (request.method, name) {
        (Method::Put, _) => Response::not_allowed(),
        (Method::Get | Method::Head, None) => list(groups),
        (Method::Get | Method::Head, Some(name)) => show(groups, &decoded(name)),
    })
}

fn list(groups: &GroupSeries) -> Response {
    let mut listed = Vec::new();
    groups.each(|id, figures, end| {
        let offsets = offsets(figures, end);
        let lag: i64 = offsets.iter().filter_map(|offset| offset["lag"].as_i64()).sum();
        listed.push(json!({
            "group_id": id,
            "group_type": figures.kind,
            "group_state": figures.state,
            "protocol_type": figures.protocol_type,
            "members": figures.members.len(),
            "lag": lag,
        }));
    });
    page("200 OK", &json!({ "groups": listed }))
}

fn show(groups: &GroupSeries, name: &str) -> Response {
    let mut found = None;
    groups.each(|id, figures, end| {
        if id == name {
            found = Some(described(id, figures, end));
        }
    });
    match found {
        Some(group) => page("200 OK", &group),
        None => {
            let message = format!("Group {name} not found.");
            page("404 Not Found", &json!({ "error_code": 404, "message": message }))
        }
    }
}

fn described(id: &str, figures: &GroupFigures, end: &dyn Fn(&str, i32) -> Option<i64>) -> Value {
    json!({
        "group_id": id,
        "group_type": figures.kind,
        "group_state": figures.state,
        "protocol_type": figures.protocol_type,
        "protocol_name": figures.protocol,
        "generation_id": figures.generation,
        "members": figures.members.iter().map(member).collect::<Vec<_>>(),
        "offsets": offsets(figures, end),
    })
}

fn member(member: &MemberFigures) -> Value {
    json!({
        "member_id": member.id,
        "group_instance_id": member.instance,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "leader": member.leads,
        "assignment": member.assigned,
    })
}

/// A group's offsets; `end` and `lag` are null where the end is not known.
fn offsets(figures: &GroupFigures, end: &dyn Fn(&str, i32) -> Option<i64>) -> Vec<Value> {
    let topics = figures.committed.iter();
    let each =
        topics.flat_map(|(topic, partitions)| partitions.iter().map(move |(at, offset)| (topic, at, offset)));
    let shown = each.map(|(topic, partition, offset)| {
        let end = end(topic, *partition);
        let lag = end.map(|end| (end - offset).max(0));
        json!({ "topic": topic, "partition": partition, "committed_offset": offset, "log_end_offset": end, "lag": lag })
    });
    shown.collect()
}

/// A part of a path, with what stands as `%` and two digits put back (RFC 3986, section 2.1).
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|_| *first == b'%').and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn names_are_put_back() {
        for (part, name) in [
            ("plain-1", "plain-1"),
            ("a%20b", "a b"),
            ("%C3%A4%2f%", "ä/%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decoded(part), name);
        }
    }
}
