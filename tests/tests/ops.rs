//! The dashboard and the alert rules in `engine/ops` name figures that a broker shows, and can be read by what reads them.

use hayate_engine::metrics::{Metrics, ProcessFigures};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use yaml_rust2::{Yaml, YamlLoader};

const DASHBOARD: &str = include_str!("../../engine/ops/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../engine/ops/alerts.yml");

/// What a broker shows: name and type.
fn families() -> BTreeMap<String, String> {
    let text = Metrics::new(1).render(&ProcessFigures::default());
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    declared.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The names of figures in an expression.
fn names(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("hayate_") || word.starts_with("process_")).collect()
}

/// Whether a broker shows series of that name. Counters are asked for by their rates, and by nothing else.
fn is_shown(families: &BTreeMap<String, String>, name: &str) -> bool {
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let is_histogram = |name: &str| families.get(name).is_some_and(|kind| kind == "histogram");
    match base {
        Some(base) if is_histogram(base) => true,
        _ => families.contains_key(name) && !is_histogram(name),
    }
}

#[track_caller]
fn check(place: &str, expression: &str, families: &BTreeMap<String, String>) {
    let names = names(expression);
    assert!(!names.is_empty(), "{place} asks for no figure of a broker: {expression}");
    for name in names {
        assert!(is_shown(families, name), "{place}: no broker shows {name}");
    }
    let balance = expression.matches('(').count() as i64 - expression.matches(')').count() as i64;
    assert_eq!(balance, 0, "{place}: {expression}");
}

/// Every expression below a value: Grafana calls them `expr`, and `query` in variables.
fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| name == "expr" || name == "query") {
                    Some(expression) => found.push(expression),
                    None => expressions(field, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_figures_that_are_shown() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let families = families();
    found
        .iter()
        .filter(|query| **query != "prometheus")
        .for_each(|query| check("dashboard", query, &families));
    let asked: BTreeSet<&str> = found.iter().flat_map(|query| names(query)).collect();
    let parts = |name: &String| ["", "_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}"));
    let unasked =
        families.keys().filter(|name| !parts(name).iter().any(|part| asked.contains(part.as_str())));
    let unasked: Vec<&str> = unasked.map(String::as_str).collect();
    let left_out = ["hayate_contained_panics_total", "process_max_fds", "process_open_fds"];
    assert_eq!(unasked, left_out, "figures that the dashboard leaves out: show them, or list them here");
    let ids = dashboard["panels"].as_array().expect("panels").iter().map(|panel| panel["id"].as_i64());
    let (count, distinct) = (ids.clone().count(), ids.collect::<BTreeSet<_>>().len());
    assert_eq!(count, distinct, "each panel has an id of its own");
}

#[test]
fn the_alert_rules_ask_for_figures_that_are_shown() {
    let documents = YamlLoader::load_from_str(ALERTS).expect("YAML");
    let rules = documents[0]["groups"][0]["rules"].as_vec().expect("rules");
    let families = families();
    let mut alerts = BTreeSet::new();
    for rule in rules {
        let text = |field: &Yaml| field.as_str().expect("text").to_owned();
        let alert = text(&rule["alert"]);
        check(&alert, &text(&rule["expr"]), &families);
        assert!(["critical", "warning"].contains(&text(&rule["labels"]["severity"]).as_str()), "{alert}");
        for part in ["summary", "description"] {
            assert!(!text(&rule["annotations"][part]).is_empty(), "{alert}: {part}");
        }
        names(&text(&rule["annotations"]["description"])).into_iter().for_each(|name| {
            assert!(families.contains_key(name), "{alert}: no broker shows {name}");
        });
        assert!(alerts.insert(alert.clone()), "{alert} is there twice");
    }
    assert!(alerts.len() > 10, "{alerts:?}");
}

#[test]
fn names_that_are_not_shown_are_found() {
    let families = families();
    for name in [
        "hayate_nothing",
        "hayate_partitions_total",
        "hayate_request_duration_seconds",
        "hayate_shards_count",
    ] {
        assert!(!is_shown(&families, name), "{name}");
    }
    assert_eq!(names("rate(hayate_a_b{x=\"hayate\"}[5m]) / process_c"), ["hayate_a_b", "process_c"].into());
}
