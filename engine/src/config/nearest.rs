//! The nearest known name to one that nobody knows.

/// Slips of the pen in the longest names.
const SLIPS_MAX: usize = 6;

/// Of `names` the one nearest to `name`, if it is near enough to be a slip of the pen: at most a third of its letters
/// inserted, dropped, exchanged or swapped with their neighbour.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let slips_max = (name.len() / 3).clamp(1, SLIPS_MAX);
    // What is longer or shorter by more cannot be near: a name of any length costs no more than the longest known one.
    let candidates = names.filter(|candidate| candidate.len().abs_diff(name.len()) <= slips_max);
    let near = candidates.map(|candidate| (distance(name, candidate), candidate)).min()?;
    (near.0 <= slips_max).then_some(near.1)
}

/// Optimal string alignment distance, in bytes.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let exchanged = rows[i][j] + usize::from(a != b);
            let mut best = exchanged.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "ab", 1),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
        ] {
            assert_eq!((distance(one, other), distance(other, one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn only_slips_are_corrected() {
        let names = ["num.partitions", "log.retention.ms", "listeners"];
        let find = |name| nearest(name, names.into_iter());
        assert_eq!(find("num.partition"), Some("num.partitions"));
        assert_eq!(find("listners"), Some("listeners"));
        assert_eq!(find("log_retention_ms"), Some("log.retention.ms"));
        assert_eq!(find("my.own.plugin.setting"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn a_name_of_a_megabyte_is_compared_with_none() {
        assert_eq!(nearest(&"x".repeat(1 << 20), ["num.partitions"; 500].into_iter()), None);
    }
}
