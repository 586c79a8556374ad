//! What is compared, and the arithmetic of it: medians over rounds, their range, and ratios to the baseline round by round. Pure.

use crate::gauge::Gauge;
use std::collections::BTreeMap;

/// A quantity that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Records a second: read ones where a load reads, else acknowledged ones.
    Records,
    /// 10^6 bytes of their values a second.
    Megabytes,
    /// A latency in milliseconds.
    Latency(Waits, Percentile),
    /// User and system seconds of the broker for 10^9 bytes of values that went in or out.
    CpuPerGigabyte,
    /// The most memory of the broker during a turn, in 2^20 bytes.
    PeakMemory,
    /// Seconds from a broker's start until it tells who its brokers are.
    Start,
}

/// What a latency waits for, from the time at which a record was meant to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waits {
    /// Its acknowledgement.
    Acknowledged,
    /// That it is read.
    Read,
}

/// A place in a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Percentile {
    /// Half are less.
    P50,
    /// All but one of a hundred are less.
    P99,
    /// All but one of a thousand are less.
    P999,
    /// The most.
    Max,
}

/// Which values of a figure are good ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// High ones.
    Higher,
    /// Low ones.
    Lower,
}

const PERCENTILES: [Percentile; 4] = [Percentile::P50, Percentile::P99, Percentile::P999, Percentile::Max];

impl Percentile {
    fn name(self) -> &'static str {
        match self {
            Percentile::P50 => "p50",
            Percentile::P99 => "p99",
            Percentile::P999 => "p99.9",
            Percentile::Max => "max",
        }
    }

    fn of_hundred(self) -> f64 {
        match self {
            Percentile::P50 => 50.0,
            Percentile::P99 => 99.0,
            Percentile::P999 => 99.9,
            Percentile::Max => 100.0,
        }
    }
}

impl Waits {
    /// The side of a load that counts it.
    fn side(self) -> &'static str {
        match self {
            Waits::Acknowledged => "produce",
            Waits::Read => "e2e",
        }
    }
}

impl Figure {
    /// All there are, in the order in which they are told.
    pub fn all() -> impl Iterator<Item = Figure> {
        let latencies = [Waits::Acknowledged, Waits::Read]
            .into_iter()
            .flat_map(|waits| PERCENTILES.map(|percentile| Figure::Latency(waits, percentile)));
        let rates = [Figure::Records, Figure::Megabytes].into_iter();
        rates.chain(latencies).chain([Figure::CpuPerGigabyte, Figure::PeakMemory, Figure::Start])
    }

    /// Its name in documents.
    pub fn key(self) -> String {
        match self {
            Figure::Records => "records_per_second".to_owned(),
            Figure::Megabytes => "megabytes_per_second".to_owned(),
            Figure::Latency(waits, percentile) => format!("{}_{}_ms", waits.side(), percentile.name()),
            Figure::CpuPerGigabyte => "broker_cpu_seconds_per_gigabyte".to_owned(),
            Figure::PeakMemory => "broker_peak_rss_mebibytes".to_owned(),
            Figure::Start => "start_seconds".to_owned(),
        }
    }

    /// Its name in tables, which ends with its unit.
    pub fn title(self) -> String {
        match self {
            Figure::Records => "records/s".to_owned(),
            Figure::Megabytes => "MB/s".to_owned(),
            Figure::Latency(waits, percentile) => {
                format!("{} latency {}, ms", waits.side(), percentile.name())
            }
            Figure::CpuPerGigabyte => "broker CPU s/GB".to_owned(),
            Figure::PeakMemory => "broker peak RSS, MiB".to_owned(),
            Figure::Start => "start until the first metadata, s".to_owned(),
        }
    }

    /// Which of its values are good ones.
    pub fn better(self) -> Better {
        match self {
            Figure::Records | Figure::Megabytes => Better::Higher,
            Figure::Latency(..) | Figure::CpuPerGigabyte | Figure::PeakMemory | Figure::Start => {
                Better::Lower
            }
        }
    }

    /// Whether it is a latency, which measures a broker only when records have intended times.
    pub fn is_latency(self) -> bool {
        match self {
            Figure::Latency(..) => true,
            Figure::Records
            | Figure::Megabytes
            | Figure::CpuPerGigabyte
            | Figure::PeakMemory
            | Figure::Start => false,
        }
    }
}

/// The figures of one turn, from the sides of its load over `seconds`, and what the broker's process has used meanwhile: CPU seconds and
/// the most memory in bytes.
pub fn figures(
    sides: &[(&str, &Gauge)],
    seconds: f64,
    cpu_seconds: Option<f64>,
    peak_rss_bytes: Option<u64>,
) -> BTreeMap<Figure, f64> {
    let mut found = BTreeMap::new();
    if let Some((_, gauge)) = sides.last() {
        found.insert(Figure::Records, gauge.records as f64 / seconds);
        found.insert(Figure::Megabytes, gauge.bytes as f64 / 1e6 / seconds);
    }
    for figure in Figure::all() {
        let Figure::Latency(waits, percentile) = figure else { continue };
        let side = sides.iter().find(|(name, gauge)| *name == waits.side() && !gauge.latencies.is_empty());
        let at = side.map(|(_, gauge)| gauge.latencies.value_at_percentile(percentile.of_hundred()));
        found.extend(at.map(|nanos| (figure, nanos as f64 / 1e6)));
    }
    let moved: u64 = sides.iter().map(|(_, gauge)| gauge.bytes).sum();
    if moved > 0 {
        found.extend(cpu_seconds.map(|cpu| (Figure::CpuPerGigabyte, cpu / (moved as f64 / 1e9))));
    }
    found.extend(peak_rss_bytes.map(|bytes| (Figure::PeakMemory, bytes as f64 / f64::from(1 << 20))));
    found
}

/// What a row of a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// A workload, by its place in the file.
    Workload(usize),
    /// No workload: brokers as they start.
    Start,
}

/// One value: who, where and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// What was measured.
    pub figure: Figure,
    /// Under which load.
    pub row: Row,
    /// Of whom, by its place in the file.
    pub target: usize,
    /// When: points of one round are held against each other.
    pub round: i64,
    /// The value, in the figure's unit.
    pub value: f64,
}

/// Several values in short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle, or the mean of the two there.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// How many there were.
    pub count: usize,
}

impl Spread {
    /// Of values; `None` when there is none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), least, most, count: values.len() })
    }
}

/// What a cell of a table holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Of the target's values.
    pub values: Spread,
    /// Of their ratios to the baseline's of the same round; `None` for the baseline itself, and where it has none but zeros.
    pub ratio: Option<Spread>,
}

/// The cells of all tables, by figure, row and target.
pub type Cells = BTreeMap<(Figure, Row, usize), Cell>;

/// Makes cells of points.
pub fn summarise(points: &[Point], baseline: usize) -> Cells {
    let mut by_cell: BTreeMap<(Figure, Row, usize), BTreeMap<i64, f64>> = BTreeMap::new();
    for point in points {
        by_cell.entry((point.figure, point.row, point.target)).or_default().insert(point.round, point.value);
    }
    let cell = |(&(figure, row, target), rounds): (&(Figure, Row, usize), &BTreeMap<i64, f64>)| {
        let values = Spread::of(rounds.values().copied())?;
        let ratio = by_cell
            .get(&(figure, row, baseline))
            .filter(|_| target != baseline)
            .and_then(|base| Spread::of(ratios(rounds, base)));
        Some(((figure, row, target), Cell { values, ratio }))
    };
    by_cell.iter().filter_map(cell).collect()
}

/// Ratios of the rounds that both have.
fn ratios(rounds: &BTreeMap<i64, f64>, base: &BTreeMap<i64, f64>) -> impl Iterator<Item = f64> {
    rounds.iter().filter_map(|(round, value)| {
        let base = base.get(round).filter(|base| **base != 0.0)?;
        Some(value / base)
    })
}

#[cfg(test)]
mod tests {
    use super::{Figure, Percentile, Point, Row, Spread, Waits, figures, summarise};
    use crate::gauge::Gauge;
    use std::collections::BTreeSet;

    #[test]
    fn a_spread_is_of_any_number_of_values() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some((3.0, 3.0, 3.0, 1))),
            (vec![4.0, 1.0], Some((2.5, 1.0, 4.0, 2))),
            (vec![9.0, 1.0, 2.0], Some((2.0, 1.0, 9.0, 3))),
            (vec![5.0, 1.0, 2.0, 4.0], Some((3.0, 1.0, 5.0, 4))),
        ] {
            let spread = Spread::of(values.clone());
            let got = spread.map(|spread| (spread.median, spread.least, spread.most, spread.count));
            assert_eq!(got, expected, "{values:?}");
        }
    }

    fn points(target: usize, values: &[(i64, f64)]) -> Vec<Point> {
        let point = |(round, value): &(i64, f64)| Point {
            figure: Figure::Records,
            row: Row::Workload(0),
            target,
            round: *round,
            value: *value,
        };
        values.iter().map(point).collect()
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // In each round twice as much, though the rounds differ by more than that.
        let all = [
            points(0, &[(1, 10.0), (2, 100.0), (3, 1000.0)]),
            points(1, &[(1, 20.0), (2, 200.0), (3, 2000.0)]),
        ];
        let cells = summarise(&all.concat(), 0);
        let cell = cells[&(Figure::Records, Row::Workload(0), 1)];
        assert_eq!((cell.values.median, cell.values.least, cell.values.most), (200.0, 20.0, 2000.0));
        let ratio = cell.ratio.expect("a ratio");
        assert_eq!((ratio.median, ratio.least, ratio.most), (2.0, 2.0, 2.0));
        assert_eq!(cells[&(Figure::Records, Row::Workload(0), 0)].ratio, None);
    }

    #[test]
    fn rounds_that_one_of_both_lacks_are_in_no_ratio() {
        let all = [points(0, &[(2, 2.0), (3, 0.0)]), points(1, &[(1, 70.0), (2, 3.0), (3, 9.0)])];
        let cell = summarise(&all.concat(), 0)[&(Figure::Records, Row::Workload(0), 1)];
        assert_eq!(
            (cell.values.count, cell.ratio.map(|ratio| (ratio.median, ratio.count))),
            (3, Some((1.5, 1)))
        );
        let alone = summarise(&points(1, &[(1, 2.0)]), 0);
        assert_eq!(alone[&(Figure::Records, Row::Workload(0), 1)].ratio, None);
    }

    #[test]
    fn a_turns_figures_are_those_of_its_sides() {
        let mut produced = Gauge { records: 1000, bytes: 1_000_000_000, ..Gauge::default() };
        let mut read = Gauge { records: 500, bytes: 500_000_000, ..Gauge::default() };
        (1..=1000).for_each(|ms| produced.note(ms * 1_000_000, 1));
        read.note(7_000_000, 500);
        let found = figures(&[("produce", &produced), ("e2e", &read)], 2.0, Some(3.0), Some(5 << 20));
        let near = |figure: Figure, due: f64| (found[&figure] - due).abs() <= due / 500.0;
        assert!(near(Figure::Records, 250.0) && near(Figure::Megabytes, 250.0), "{found:?}");
        assert!(near(Figure::CpuPerGigabyte, 2.0) && near(Figure::PeakMemory, 5.0), "{found:?}");
        for (percentile, produce_ms) in [
            (Percentile::P50, 500.0),
            (Percentile::P99, 990.0),
            (Percentile::P999, 999.0),
            (Percentile::Max, 1000.0),
        ] {
            assert!(near(Figure::Latency(Waits::Acknowledged, percentile), produce_ms), "{found:?}");
            assert!(near(Figure::Latency(Waits::Read, percentile), 7.0), "{found:?}");
        }
    }

    #[test]
    fn what_was_not_measured_is_no_figure() {
        let gauge = Gauge::default();
        let found = figures(&[("consume", &gauge)], 1.0, Some(1.0), None);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [Figure::Records, Figure::Megabytes]);
        let mut fetched = Gauge { records: 1, bytes: 1, ..Gauge::default() };
        fetched.note(1, 1);
        let found = figures(&[("consume", &fetched)], 1.0, None, None);
        assert!(!found.keys().any(|figure| figure.is_latency()), "fetches wait for nothing that was meant");
    }

    #[test]
    fn figures_have_names_of_their_own() {
        let keys: BTreeSet<String> = Figure::all().map(Figure::key).collect();
        let titles: BTreeSet<String> = Figure::all().map(Figure::title).collect();
        assert_eq!((keys.len(), titles.len()), (Figure::all().count(), Figure::all().count()));
    }
}
