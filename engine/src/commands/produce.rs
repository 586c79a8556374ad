//! `hayate produce`: lines in, records out, in batches. What is gathered is bounded; while it is under way nothing more is read, so that
//! a slow cluster slows the input down.

mod delivery;
mod input;
mod partitioner;

use super::cluster::Cluster;
use super::settings::{Settings, codec};
use super::{CommandError, json};
use crate::cli::Produce;
use delivery::Delivery;
use hayate_rt::kernel::{now, wall_ms};
use input::{Input, Next};
use partitioner::Partitioner;

/// Bytes of lines that are gathered at most before they are sent.
const ROUND_BYTES: usize = 1 << 20;

/// A record to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// Names and values.
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// `None`: to be chosen.
    pub(super) partition: Option<i32>,
    pub(super) timestamp_ms: i64,
}

impl Line {
    /// About what it takes in a batch, and here.
    fn bytes(&self) -> usize {
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + optional(value) + 10).sum();
        optional(&self.key) + optional(&self.value) + headers + 32
    }
}

pub(super) fn run(cluster: &mut Cluster, asked: &Produce) -> Result<(), CommandError> {
    let settings = settings(&cluster.settings, asked);
    let linger = settings.linger;
    cluster.settings = settings;
    let mut input = Input::start(asked.delimiter).map_err(|error| CommandError::Input(error.to_string()))?;
    let mut delivery = Delivery::begin(cluster, &asked.topic)?;
    let mut partitioner = Partitioner::new(wall_ms().unsigned_abs());
    loop {
        let mut round = Round { asked, lines: Vec::new(), bytes: 0 };
        let mut outcome = round.fill(&mut input, linger);
        let lines = delivery.place(round.lines, &mut partitioner);
        // What came before a line that cannot be sent is sent.
        delivery.deliver(lines?)?;
        if outcome.take_end()? {
            return Ok(());
        }
    }
}

/// The settings under what the command line says.
fn settings(settings: &Settings, asked: &Produce) -> Settings {
    let acks = asked.acks.unwrap_or(settings.acks);
    Settings {
        acks,
        // As in Kafka's producers: exactly once takes the acknowledgement of all.
        idempotence: settings.idempotence && acks == -1,
        codec: asked.compression.as_deref().and_then(codec).unwrap_or(settings.codec),
        ..settings.clone()
    }
}

/// Lines that are sent together.
struct Round<'a> {
    asked: &'a Produce,
    lines: Vec<Line>,
    bytes: usize,
}

/// How gathering ended.
enum Filled {
    /// There may be more.
    More,
    /// The input is at its end.
    End,
    /// A line cannot be sent.
    Failed(CommandError),
}

impl Filled {
    fn take_end(&mut self) -> Result<bool, CommandError> {
        match std::mem::replace(self, Filled::End) {
            Filled::More => Ok(false),
            Filled::End => Ok(true),
            Filled::Failed(error) => Err(error),
        }
    }
}

impl Round<'_> {
    /// Waits for a line, and then for `linger` for more, as far as there is room.
    fn fill(&mut self, input: &mut Input, linger: std::time::Duration) -> Filled {
        let mut wait = None;
        let mut deadline = None;
        while self.bytes < ROUND_BYTES {
            let line = match input.next(wait) {
                Ok(Next::Line(line)) => self.record(&line, input.number()),
                Ok(Next::Nothing) => return Filled::More,
                Ok(Next::End) => return Filled::End,
                Err(error) => return Filled::Failed(error),
            };
            match line {
                Ok(line) => {
                    self.bytes += line.bytes();
                    self.lines.push(line);
                }
                Err(error) => return Filled::Failed(error),
            }
            let deadline = *deadline.get_or_insert_with(|| now() + linger);
            wait = Some(deadline.since(now()));
        }
        Filled::More
    }

    fn record(&self, text: &[u8], number: u64) -> Result<Line, CommandError> {
        let asked = self.asked;
        let bare = Line {
            key: None,
            value: None,
            headers: asked
                .headers
                .iter()
                .map(|(name, value)| (name.clone().into(), Some(value.clone().into())))
                .collect(),
            partition: asked.partition,
            timestamp_ms: wall_ms(),
        };
        if asked.json {
            return json::read(text, bare)
                .map_err(|reason| CommandError::Input(format!("line {number}: {reason}")));
        }
        let (key, value) = match asked.key_separator.as_deref().and_then(|separator| split(text, separator)) {
            Some((key, value)) => (Some(key), value),
            None => (None, text),
        };
        let kept = |bytes: &&[u8]| !(asked.empty_as_null && bytes.is_empty());
        let owned = |bytes: Option<&[u8]>| bytes.filter(kept).map(<[u8]>::to_vec);
        Ok(Line { key: owned(key), value: owned(Some(value)), ..bare })
    }
}

/// What stands before and behind the first `separator`.
fn split<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    Some((text.get(..at)?, text.get(at + separator.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key_separator: Option<&[u8]>, empty_as_null: bool) -> Produce {
        Produce {
            topic: "t".to_owned(),
            partition: None,
            json: false,
            key_separator: key_separator.map(<[u8]>::to_vec),
            delimiter: b'\n',
            headers: vec![("h".to_owned(), "x".to_owned())],
            empty_as_null,
            acks: None,
            compression: None,
        }
    }

    #[test]
    fn lines_become_records() {
        for (separator, empty_as_null, text, key, value) in [
            (None, false, &b"a:b"[..], None, Some(&b"a:b"[..])),
            (Some(&b":"[..]), false, b"a:b:c", Some(&b"a"[..]), Some(b"b:c")),
            (Some(b"::"), false, b"a:b", None, Some(b"a:b")),
            (Some(b":"), false, b":", Some(b""), Some(b"")),
            (Some(b":"), true, b":", None, None),
            (Some(b"\t"), true, b"k\t", Some(b"k"), None),
            (None, false, b"\xff\xfe", None, Some(b"\xff\xfe")),
        ] {
            let asked = asked(separator, empty_as_null);
            let line = Round { asked: &asked, lines: Vec::new(), bytes: 0 }.record(text, 1).unwrap();
            let headers = vec![(b"h".to_vec(), Some(b"x".to_vec()))];
            assert_eq!((line.key.as_deref(), line.value.as_deref()), (key, value), "{text:?}");
            assert_eq!((line.headers, line.partition), (headers, None));
        }
    }

    #[test]
    fn idempotence_goes_with_the_acknowledgement_of_all() {
        let own = Settings::default();
        for (acks, expected) in [(None, (-1, true)), (Some(1), (1, false)), (Some(0), (0, false))] {
            let settings = settings(&own, &Produce { acks, ..asked(None, false) });
            assert_eq!((settings.acks, settings.idempotence), expected);
        }
    }
}
