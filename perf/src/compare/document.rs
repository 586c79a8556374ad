//! A comparison as JSON: what was asked for, the machine, every sample, and the summary. Pure, but for this process's command line.

use super::figures::{Better, Figure, Row, Spread};
use super::results::Results;
use crate::report::Document;
use serde_json::{Map, Value, json};

/// The document; `file` is the text that was read.
pub fn document(results: &Results, file: &str) -> Document {
    let mut document = Document::default();
    let comparison = &results.comparison;
    document.set("environment", results.environment.clone());
    document.set("command", json!(std::env::args().collect::<Vec<_>>()));
    document.set("file", json!(file));
    document.set("rounds", json!(comparison.rounds));
    document.set("warm_up_rounds", json!(comparison.warm_up_rounds));
    document.set("baseline", json!(comparison.targets[comparison.baseline()].name));
    document.set("warnings", json!(results.warnings()));
    document.set("targets", targets(results));
    document.set("workloads", workloads(results));
    document.set("figures", Figure::all().map(figure).collect());
    document.set("samples", samples(results));
    document.set("starts", starts(results));
    document.set("limits", limits(results));
    document.set("failures", failures(results));
    document.set("summary", summary(results));
    document
}

fn targets(results: &Results) -> Value {
    let target = |target: &super::file::Target| json!({ "name": target.name, "about": target.about, "start": target.start, "bootstrap": target.bootstrap() });
    results.comparison.targets.iter().map(target).collect()
}

fn workloads(results: &Results) -> Value {
    let workload = |workload: &super::file::Workload| {
        json!({
            "name": workload.name, "run": workload.run, "before": workload.before, "limit": workload.limit,
            "limit_unit": workload.limit_unit, "paced": workload.is_paced(),
        })
    };
    results.comparison.workloads.iter().map(workload).collect()
}

fn figure(figure: Figure) -> Value {
    let better = match figure.better() {
        Better::Higher => "higher",
        Better::Lower => "lower",
    };
    json!({ "key": figure.key(), "title": figure.title(), "better": better })
}

fn target_name(results: &Results, target: usize) -> &str {
    &results.comparison.targets[target].name
}

fn workload_name(results: &Results, workload: usize) -> &str {
    &results.comparison.workloads[workload].name
}

fn samples(results: &Results) -> Value {
    let sample = |sample: &super::results::Sample| {
        let figures: Map<String, Value> =
            sample.figures.iter().map(|(figure, value)| (figure.key(), json!(value))).collect();
        json!({
            "round": sample.turn.round,
            "counts": sample.turn.counts(),
            "workload": workload_name(results, sample.turn.workload),
            "target": target_name(results, sample.turn.target),
            "figures": figures,
            "sides": sample.sides,
        })
    };
    results.samples.iter().map(sample).collect()
}

fn starts(results: &Results) -> Value {
    let start = |start: &super::results::Started| json!({ "target": target_name(results, start.target), "number": start.number, "seconds": start.seconds });
    results.starts.iter().map(start).collect()
}

fn limits(results: &Results) -> Value {
    let limit = |limit: &super::results::Limit| json!({ "workload": workload_name(results, limit.workload), "round": limit.round, "value": limit.value });
    results.limits.iter().map(limit).collect()
}

fn failures(results: &Results) -> Value {
    let failure = |failure: &super::results::Failure| {
        json!({
            "round": failure.round,
            "workload": workload_name(results, failure.workload),
            "target": failure.target.map(|target| target_name(results, target)),
            "why": failure.why,
            "partial": failure.partial,
        })
    };
    results.failures.iter().map(failure).collect()
}

fn summary(results: &Results) -> Value {
    let cells = results.cells();
    let cell = |((figure, row, target), cell): (&(Figure, Row, usize), &super::figures::Cell)| {
        let workload = match row {
            Row::Workload(workload) => Some(workload_name(results, *workload)),
            Row::Start => None,
        };
        json!({
            "figure": figure.key(),
            "workload": workload,
            "target": target_name(results, *target),
            "values": spread(&cell.values),
            "ratio": cell.ratio.as_ref().map(spread),
        })
    };
    cells.iter().map(cell).collect()
}

fn spread(spread: &Spread) -> Value {
    json!({ "median": spread.median, "least": spread.least, "most": spread.most, "count": spread.count })
}
