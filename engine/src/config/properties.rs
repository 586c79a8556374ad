//! The format of Java's `Properties`: what a `server.properties` file is written in.
//!
//! Comments (`#`, `!`), three separators (`=`, `:`, white space), lines continued by a backslash, escapes. Where Java reads
//! Latin-1, UTF-8 is read here when the bytes are UTF-8, as editors write it today. Each property knows its line, so that
//! a message can name it. Source: `java.util.Properties.load`.

use std::fmt;

/// The largest file that is read.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// One property of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its key.
    pub key: String,
    /// Its value; empty when the line has none.
    pub value: String,
    /// The line that it begins on, from 1.
    pub line: usize,
}

/// A `\u` that is not followed by four hex digits, or half of a surrogate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEscape {
    /// The line of its property.
    pub line: usize,
}

impl fmt::Display for BadEscape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: a malformed \\u escape", self.line)
    }
}

impl std::error::Error for BadEscape {}

/// The properties of a file, in their order; of a key that repeats, all.
///
/// # Errors
/// [`BadEscape`].
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, BadEscape> {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let mut lines = Lines { rest: &text, line: 0 };
    let mut properties = Vec::new();
    while let Some((line, logical)) = lines.next_logical() {
        let (key, value) = split(&logical);
        let bad = BadEscape { line };
        properties.push(Property {
            key: unescape(key).ok_or(bad)?,
            value: unescape(value).ok_or(bad)?,
            line,
        });
    }
    Ok(properties)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

struct Lines<'a> {
    rest: &'a str,
    /// Lines taken so far.
    line: usize,
}

impl<'a> Lines<'a> {
    /// A line as it stands in the file, without its end and the space it begins with.
    fn next_natural(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
        let (line, behind) = self.rest.split_at(end);
        self.rest = behind.strip_prefix("\r\n").or_else(|| behind.get(1..)).unwrap_or_default();
        Some(line.trim_start_matches(is_space))
    }

    /// A line that holds a property, joined with those that continue it, and the number of its first.
    fn next_logical(&mut self) -> Option<(usize, String)> {
        loop {
            let line = self.next_natural()?;
            let number = self.line;
            if line.starts_with(['#', '!']) {
                continue;
            }
            let mut joined = line.to_owned();
            while continues(&joined) {
                joined.pop();
                let Some(more) = self.next_natural() else { break };
                joined.push_str(more);
            }
            if !joined.is_empty() {
                return Some((number, joined));
            }
        }
    }
}

/// Whether a line ends with a backslash that no other one escapes.
fn continues(line: &str) -> bool {
    let backslashes = line.chars().rev().take_while(|c| *c == '\\').count();
    backslashes % 2 == 1
}

/// Key and value of a line, still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let ends_key = |c: char| {
        let ends = !escaped && (is_space(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    };
    let (key, rest) = line.split_at(line.find(ends_key).unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_space);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_space))
}

/// `None` for a malformed `\u`.
fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                None => break,
                Some('u') => {
                    units.push(hex(chars.by_ref().take(4))?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
            },
            other => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).ok()
}

fn hex(digits: impl Iterator<Item = char>) -> Option<u16> {
    let digits: Vec<u32> = digits.map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let number = digits.iter().fold(0, |number, digit| number << 4 | digit);
    (digits.len() == 4).then(|| u16::try_from(number).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let parsed = parse(text.as_bytes()).unwrap();
        let parsed: Vec<_> = parsed.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect();
        assert_eq!(parsed, expected, "{text:?}");
    }

    #[test]
    fn lines_are_read_as_java_reads_them() {
        check("", &[]);
        check("# a=1\n! b=2\n\n   \t\n  # c\n", &[]);
        check("a=1\nb = 2 \nc:3\nd 4\ne\n", &[("a", "1"), ("b", "2 "), ("c", "3"), ("d", "4"), ("e", "")]);
        check("a==b\na=:b\na : = b\n", &[("a", "=b"), ("a", ":b"), ("a", "= b")]);
        check("a=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
        check(
            "listeners=A://:1,\\\n   # no comment\\\n  B://:2\nx=1",
            &[("listeners", "A://:1,# no commentB://:2"), ("x", "1")],
        );
        check("a=b\\\\\nc=d", &[("a", "b\\"), ("c", "d")]);
        check("a\\ b\\=c=d", &[("a b=c", "d")]);
        check("a=\\t\\n\\r\\f\\q\\u00e9\\uD83D\\uDE00", &[("a", "\t\n\r\u{c}q\u{e9}\u{1f600}")]);
        check("a=\u{e9}", &[("a", "\u{e9}")]);
        check("a=1\\", &[("a", "1")]);
        check("#x\\\na=1", &[("a", "1")]);
    }

    #[test]
    fn latin_1_is_read_when_it_is_no_utf_8() {
        assert_eq!(parse(b"a=\xe9").unwrap()[0].value, "\u{e9}");
    }

    #[test]
    fn lines_are_counted_and_bad_escapes_named() {
        let lines: Vec<usize> = parse(b"#\na=1\\\n2\n\nb=3").unwrap().iter().map(|p| p.line).collect();
        assert_eq!(lines, [2, 5]);
        for text in ["a=\\u12", "a=\\u12x4", "a=\\ud83d"] {
            assert_eq!(parse(format!("\n{text}").as_bytes()), Err(BadEscape { line: 2 }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn plain_pairs_come_back(pairs in proptest::collection::vec(("[a-z.]{1,12}", "[a-z0-9/,-]{0,12}"), 0..8)) {
            let text: String = pairs.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            let parsed: Vec<_> = parse(text.as_bytes()).unwrap().into_iter().map(|p| (p.key, p.value)).collect();
            prop_assert_eq!(parsed, pairs);
        }
    }
}
