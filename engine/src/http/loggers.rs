//! The pages of the loggers: their levels, read and changed, in the form of Kafka Connect's admin REST (KIP-495).
//!
//! `GET /loggers`, `GET /loggers/NAME`, and `PUT /loggers/NAME` with `{"level":"DEBUG"}`, which holds for all loggers below too and
//! answers with their names. What is changed lasts until the process ends.

use super::request::{Method, Request};
use super::{Response, json as page};
use crate::logging::{Level, Loggers};
use serde_json::{Map, Value, json};

/// Below which path the pages are.
pub(super) const PATH: &str = "/loggers";

/// The answer, if the path is one of these pages.
pub(super) fn respond(loggers: &Loggers, request: &Request) -> Option<Response> {
    let rest = request.path.strip_prefix(PATH)?;
    let name = match rest.strip_prefix('/') {
        Some(name) => decoded(name),
        None if rest.is_empty() => String::new(),
        None => return None,
    };
    Some(match (request.method, name.as_str()) {
        (Method::Get | Method::Head, "") => list(loggers),
        (Method::Put, "") => Response::not_allowed(),
        (Method::Get | Method::Head, name) => show(loggers, name),
        (Method::Put, name) => set(loggers, name, &request.body),
    })
}

/// With what stands as `%` and two digits put back; `:` is what clients write so.
fn decoded(name: &str) -> String {
    name.replace("%3A", ":").replace("%3a", ":")
}

fn list(loggers: &Loggers) -> Response {
    let levels = loggers.levels();
    let one = |name: String| {
        let level = described(levels.of(&name));
        (name, level)
    };
    page("200 OK", &Value::Object(levels.loggers().into_iter().map(one).collect::<Map<_, _>>()))
}

fn show(loggers: &Loggers, name: &str) -> Response {
    let levels = loggers.levels();
    match levels.loggers().contains(name) {
        true => page("200 OK", &described(levels.of(name))),
        false => not_found(name),
    }
}

fn set(loggers: &Loggers, name: &str, body: &[u8]) -> Response {
    let asked: Option<Value> = serde_json::from_slice(body).ok();
    let Some(level) = asked.as_ref().and_then(|asked| asked.get("level")?.as_str()) else {
        let message = "Desired 'level' parameter was not specified in request.";
        return refused("400 Bad Request", 400, message);
    };
    let Some(level) = Level::settable(&level.to_ascii_uppercase()) else {
        return refused("404 Not Found", 404, &format!("invalid log level '{level}'."));
    };
    let affected = loggers.change(|levels| {
        let exists = levels.loggers().contains(name);
        exists.then(|| levels.set_below(name, level))
    });
    match affected {
        Some(affected) => {
            tracing::warn!(logger = name, %level, "the log level was changed over HTTP");
            page("200 OK", &json!(affected))
        }
        None => not_found(name),
    }
}

fn described(level: Level) -> Value {
    json!({ "level": level.name() })
}

fn not_found(name: &str) -> Response {
    refused("404 Not Found", 404, &format!("Logger {name} not found."))
}

fn refused(status: &'static str, code: u16, message: &str) -> Response {
    page(status, &json!({ "error_code": code, "message": message }))
}
