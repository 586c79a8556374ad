//! A comparison as Markdown: the machine, the targets, what failed, and a table for each figure. Pure.

use super::figures::{Better, Cell, Cells, Figure, Row, Spread};
use super::file::{Comparison, Target};
use super::results::Results;
use std::collections::BTreeMap;
use std::fmt::Write;

/// All that is told.
pub fn markdown(results: &Results) -> String {
    let mut text = head(results);
    let cells = results.cells();
    for figure in Figure::all() {
        text += &table(results, &cells, figure);
    }
    text += &limits(results, &cells);
    text
}

fn head(results: &Results) -> String {
    let comparison = &results.comparison;
    let mut text = format!("{}\n\n{}\n\n", machine(results), manner(comparison));
    for warning in results.warnings() {
        line(&mut text, &format!("**Warning: {warning}.**\n"));
    }
    for target in &comparison.targets {
        line(&mut text, &format!("- `{}`: {}", target.name, about(target)));
    }
    for (what, rounds) in failures(results) {
        let rounds: Vec<String> = rounds.iter().map(i64::to_string).collect();
        line(&mut text, &format!("- **failed:** {what} (in round {})", rounds.join(", ")));
    }
    text
}

fn machine(results: &Results) -> String {
    let found = &results.environment;
    let word = |name: &str| found[name].as_str().unwrap_or("unknown").to_owned();
    format!(
        "{}, {} cores, {:.1} GiB, Linux {}, {}. Load average when it began: {:.2}.",
        word("cpu"),
        found["cores"],
        found["memory_bytes"].as_f64().unwrap_or(0.0) / f64::from(1 << 30),
        word("kernel"),
        word("file_system"),
        found["load_average_before"].as_f64().unwrap_or(0.0),
    )
}

fn manner(comparison: &Comparison) -> String {
    let mut text =
        format!("{} interleaved rounds after {} to warm up", comparison.rounds, comparison.warm_up_rounds);
    for (is_so, what) in [
        (comparison.sync, ", page cache written out before each turn"),
        (comparison.pause_others, ", brokers stopped (SIGSTOP) while others are measured"),
        (comparison.restart, ", a new broker for each turn"),
    ] {
        text += if is_so { what } else { "" };
    }
    if comparison.settle_seconds > 0.0 {
        text += &format!(", {} s for a broker to settle before its turn", comparison.settle_seconds);
    }
    let baseline = &comparison.targets[comparison.baseline()].name;
    text + &format!(
        ". Median (least – most); **ratios** are to `{baseline}` in the same round: their median (least – most)."
    )
}

fn about(target: &Target) -> String {
    let runs = || target.start.clone().unwrap_or_else(|| format!("runs already at {}", target.bootstrap()));
    target.about.clone().unwrap_or_else(runs)
}

/// What failed, and in which rounds.
fn failures(results: &Results) -> BTreeMap<String, Vec<i64>> {
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for failure in &results.failures {
        let workload = &results.comparison.workloads[failure.workload].name;
        let who = failure.target.map_or("the limit", |target| &results.comparison.targets[target].name);
        found.entry(format!("{who}, {workload}: {}", failure.why)).or_default().push(failure.round);
    }
    found
}

/// The table of a figure; empty when nothing of it was measured.
fn table(results: &Results, cells: &Cells, figure: Figure) -> String {
    let comparison = &results.comparison;
    let rows: Vec<String> = rows(comparison, figure)
        .filter(|(row, _)| cells.keys().any(|(of, within, _)| *of == figure && within == row))
        .map(|(row, name)| {
            let cell = |target| cells.get(&(figure, row, target)).map_or("failed".to_owned(), cell_text);
            let told: Vec<String> = (0..comparison.targets.len()).map(cell).collect();
            format!("| {name} | {} |", told.join(" | "))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let better = match figure.better() {
        Better::Higher => "higher",
        Better::Lower => "lower",
    };
    let names: Vec<&str> = comparison.targets.iter().map(|target| target.name.as_str()).collect();
    format!(
        "\n**{}** ({better} is better)\n\n| workload | {} |\n|---|{}\n{}\n",
        figure.title(),
        names.join(" | "),
        "---|".repeat(names.len()),
        rows.join("\n")
    )
}

/// The rows that a figure's table may have. Latencies of loads without a rate mostly measure the load's own queue.
fn rows(comparison: &Comparison, figure: Figure) -> impl Iterator<Item = (Row, &str)> {
    let workloads = comparison.workloads.iter().enumerate();
    let told = workloads.filter(move |(_, workload)| !figure.is_latency() || workload.is_paced());
    let rows = told.map(|(place, workload)| (Row::Workload(place), workload.name.as_str()));
    rows.chain([(Row::Start, "start")])
}

fn cell_text(cell: &Cell) -> String {
    let values = spread(&cell.values, number);
    let ratio =
        |ratio: &Spread| format!(", **{:.2}×**{}", ratio.median, range(ratio, |ratio| format!("{ratio:.2}")));
    values + &cell.ratio.as_ref().map(ratio).unwrap_or_default()
}

fn spread(spread: &Spread, form: impl Fn(f64) -> String) -> String {
    form(spread.median) + &range(spread, form)
}

fn range(spread: &Spread, form: impl Fn(f64) -> String) -> String {
    if spread.count < 2 {
        String::new()
    } else {
        format!(" ({} – {})", form(spread.least), form(spread.most))
    }
}

/// With as many digits as tell something, thousands apart.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let count = digits.len();
    let apart = |(place, digit): (usize, char)| {
        let comma = place > 0 && (count - place).is_multiple_of(3) && !digits[..place].ends_with('-');
        [comma.then_some(','), Some(digit)].into_iter().flatten()
    };
    digits.chars().enumerate().flat_map(apart).collect()
}

/// The table of physical limits; empty when there is none. Where a limit is in a figure's unit, each target's share of it is told.
fn limits(results: &Results, cells: &Cells) -> String {
    let comparison = &results.comparison;
    let mut rows = String::new();
    for (place, workload) in comparison.workloads.iter().enumerate() {
        let Some(limit) = results.limit(place) else { continue };
        let unit = workload.limit_unit.as_deref().unwrap_or_default();
        let figure = Figure::all().find(|figure| figure.title() == unit);
        let share = |target| {
            let cell = cells.get(&(figure?, Row::Workload(place), target))?;
            Some(format!("{:.0} %", cell.values.median / limit.median * 100.0))
        };
        let shares: Vec<String> =
            (0..comparison.targets.len()).map(|target| share(target).unwrap_or_default()).collect();
        line(
            &mut rows,
            &format!("| {} | {} {unit} | {} |", workload.name, spread(&limit, number), shares.join(" | ")),
        );
    }
    if rows.is_empty() {
        return rows;
    }
    let names: Vec<&str> = comparison.targets.iter().map(|target| target.name.as_str()).collect();
    format!(
        "\n**physical limits in the same run**, and what of them was reached\n\n| workload | limit | {} |\n|---|---|{}\n{rows}",
        names.join(" | "),
        "---|".repeat(names.len())
    )
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::{markdown, number};
    use crate::compare::figures::Figure;
    use crate::compare::file::Comparison;
    use crate::compare::results::{Failure, Limit, Results, Sample, Started};
    use crate::compare::turns::Turn;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    const FILE: &str = "baseline = 'k'\nrounds = 2\npause_others = true\n\
        [[target]]\nname = 'h'\nstart = 'hayate'\n[[target]]\nname = 'k'\nabout = 'As it ships'\nbootstrap = 'x:1'\n\
        [[workload]]\nname = 'max'\nrun = 'produce'\nlimit = 'dd'\nlimit_unit = 'MB/s'\n\
        [[workload]]\nname = 'paced'\nrun = 'e2e --rate 5'\n";

    fn results() -> Results {
        let comparison = Comparison::read(FILE).expect("it is right");
        Results {
            comparison,
            environment: json!({ "cpu": "C", "cores": 2, "memory_bytes": 3_u64 << 30, "kernel": "6", "file_system": "ext4", "load_average_before": 0.25 }),
            samples: Vec::new(),
            starts: Vec::new(),
            limits: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn sample(round: i64, workload: usize, target: usize, figures: &[(Figure, f64)]) -> Sample {
        let figures: BTreeMap<Figure, f64> = figures.iter().copied().collect();
        Sample { turn: Turn { round, workload, target }, figures, sides: Value::Null }
    }

    #[test]
    fn numbers_have_the_digits_that_tell_something() {
        for (value, told) in [
            (0.01234, "0.012"),
            (1.234, "1.23"),
            (123.456, "123.5"),
            (999.96, "1000.0"),
            (1234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-123_456.0, "-123,456"),
        ] {
            assert_eq!(number(value), told);
        }
    }

    #[test]
    fn a_table_has_medians_ranges_and_ratios() {
        let mut results = results();
        let latency = Figure::all().find(|figure| figure.is_latency()).expect("one");
        for (round, ours, theirs) in [(0, 1.0, 1.0), (1, 4000.0, 2000.0), (2, 3000.0, 1000.0)] {
            results.samples.push(sample(round, 0, 0, &[(Figure::Records, ours), (latency, 1.0)]));
            results.samples.push(sample(round, 0, 1, &[(Figure::Records, theirs), (latency, 1.0)]));
        }
        results.starts.push(Started { target: 0, number: 1, seconds: 0.5 });
        let told = markdown(&results);
        assert!(
            told.contains("C, 2 cores, 3.0 GiB, Linux 6, ext4. Load average when it began: 0.25."),
            "{told}"
        );
        assert!(told.contains("- `h`: hayate\n- `k`: As it ships\n"), "{told}");
        assert!(told.contains("| workload | h | k |\n|---|---|---|\n"), "{told}");
        let row = "| max | 3,500 (3,000 – 4,000), **2.50×** (2.00 – 3.00) | 1,500 (1,000 – 2,000) |";
        assert!(told.contains(row), "{told}");
        assert!(told.contains("| start | 0.500 | failed |"), "{told}");
        assert!(!told.contains("latency p") && !told.contains("paced |"), "{told}");
        assert!(
            !told.contains("Warning") && !told.contains("failed:**") && !told.contains("limits"),
            "{told}"
        );
    }

    #[test]
    fn limits_failures_and_warnings_are_told() {
        let mut results = results();
        results.environment["load_average_before"] = json!(1.5);
        results.environment["file_system"] = json!("tmpfs");
        results.samples.push(sample(1, 0, 0, &[(Figure::Megabytes, 50.0)]));
        results.limits.push(Limit { workload: 0, round: 1, value: 200.0 });
        for round in [1, 2] {
            let why = "lost".to_owned();
            results.failures.push(Failure { round, workload: 0, target: Some(1), why, partial: Value::Null });
        }
        let told = markdown(&results);
        assert!(told.contains("| max | 50.00 | failed |"), "{told}");
        assert!(told.contains("| max | 200.0 MB/s | 25 % |  |"), "{told}");
        assert!(told.contains("- **failed:** k, max: lost (in round 1, 2)"), "{told}");
        assert!(told.contains("busy with something else") && told.contains("lie in memory"), "{told}");
        let verdict = results.verdict().expect_err("some failed").to_string();
        assert_eq!(verdict, "failed turns: 2; the first: k in round 1, max: lost");
    }
}
