//! Standard input, cut at a delimiter. A thread reads, so that what is there can be sent while nothing more comes; it is ahead by a few
//! reads at most. A line may be of any bytes, and so long as a record may be.

use super::super::CommandError;
use bytes::{Bytes, BytesMut};
use std::io::{self, Read};
use std::time::Duration;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// Reads that may lie there.
const READS_MAX: usize = 8;
/// The longest line.
const LINE_BYTES_MAX: usize = 64 << 20;

/// The lines of an input.
pub(super) struct Input {
    reads: flume::Receiver<io::Result<Bytes>>,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no delimiter.
    searched: usize,
    delimiter: u8,
    is_at_end: bool,
    number: u64,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, without its delimiter.
    Line(Bytes),
    /// Nothing within the time.
    Nothing,
    /// No line will come any more.
    End,
}

impl Input {
    /// Standard input.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(delimiter: u8) -> io::Result<Input> {
        Input::of(io::stdin(), delimiter)
    }

    #[expect(clippy::disallowed_methods, reason = "reading blocks, and a command has no executor")]
    fn of(mut source: impl Read + Send + 'static, delimiter: u8) -> io::Result<Input> {
        let (sender, reads) = flume::bounded(READS_MAX);
        let reading = move || {
            loop {
                let read = read(&mut source);
                let is_last = read.as_ref().map_or(true, Bytes::is_empty);
                if sender.send(read).is_err() || is_last {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("hayate-input".to_owned()).spawn(reading)?;
        Ok(Input { reads, buffer: BytesMut::new(), searched: 0, delimiter, is_at_end: false, number: 0 })
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line; waits for it, for so long as `wait` says.
    ///
    /// # Errors
    /// [`CommandError::Input`]: it cannot be read, or a line is too long.
    pub(super) fn next(&mut self, wait: Option<Duration>) -> Result<Next, CommandError> {
        loop {
            if let Some(line) = self.cut() {
                return Ok(Next::Line(line));
            }
            if self.is_at_end {
                return Ok(self.rest());
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                let number = self.number + 1;
                return Err(CommandError::Input(format!(
                    "line {number} is longer than {LINE_BYTES_MAX} bytes"
                )));
            }
            let read = match wait {
                None => self.reads.recv().ok(),
                Some(wait) => match self.reads.recv_timeout(wait) {
                    Ok(read) => Some(read),
                    Err(flume::RecvTimeoutError::Timeout) => return Ok(Next::Nothing),
                    Err(flume::RecvTimeoutError::Disconnected) => None,
                },
            };
            let bytes = read.unwrap_or_else(|| Ok(Bytes::new()));
            let bytes = bytes.map_err(|error| CommandError::Input(format!("standard input: {error}")))?;
            self.is_at_end = bytes.is_empty();
            self.buffer.extend_from_slice(&bytes);
        }
    }

    fn cut(&mut self) -> Option<Bytes> {
        let fresh = self.buffer.get(self.searched..).unwrap_or_default();
        match fresh.iter().position(|byte| *byte == self.delimiter) {
            Some(at) => {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                line.truncate(self.searched + at);
                self.searched = 0;
                self.number += 1;
                Some(line.freeze())
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    /// What stands behind the last delimiter.
    fn rest(&mut self) -> Next {
        if self.buffer.is_empty() {
            return Next::End;
        }
        self.number += 1;
        self.searched = 0;
        Next::Line(self.buffer.split().freeze())
    }
}

fn read(source: &mut impl Read) -> io::Result<Bytes> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(count) => {
                buffer.truncate(count);
                return Ok(buffer.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: impl Read + Send + 'static, delimiter: u8) -> Vec<Vec<u8>> {
        let mut input = Input::of(source, delimiter).unwrap();
        let mut lines = Vec::new();
        while let Next::Line(line) = input.next(None).unwrap() {
            lines.push(line.to_vec());
        }
        assert_eq!(input.number(), lines.len() as u64);
        lines
    }

    /// Gives a byte a time.
    struct Slow(std::collections::VecDeque<u8>);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            Ok(self.0.pop_front().map_or(0, |byte| {
                into[0] = byte;
                1
            }))
        }
    }

    #[test]
    fn lines_are_cut_wherever_reads_end() {
        for (text, delimiter, expected) in [
            (&b""[..], b'\n', vec![]),
            (b"a\nbc\n\nd", b'\n', vec![&b"a"[..], b"bc", b"", b"d"]),
            (b"a\r\nb\n", b'\n', vec![b"a\r", b"b"]),
            (b"a\0b\n\0\xff", 0, vec![b"a", b"b\n", b"\xff"]),
        ] {
            assert_eq!(lines(text, delimiter), expected);
            assert_eq!(lines(Slow(text.iter().copied().collect()), delimiter), expected);
        }
        let long = vec![b'x'; 3 * READ_BYTES];
        assert_eq!(lines(io::Cursor::new(long.clone()), b'\n'), [long]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut input = Input::of(io::repeat(b'x'), b'\n').unwrap();
        let error = input.next(None).unwrap_err();
        assert_eq!(error.to_string(), "line 1 is longer than 67108864 bytes");
    }

    #[test]
    fn nothing_is_waited_for_longer_than_told() {
        let (_keep_open, reads) = flume::bounded(1);
        let mut input = Input {
            reads,
            buffer: BytesMut::new(),
            searched: 0,
            delimiter: b'\n',
            is_at_end: false,
            number: 0,
        };
        assert_eq!(input.next(Some(Duration::ZERO)).unwrap(), Next::Nothing);
    }

    #[test]
    fn an_input_that_breaks_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let error = Input::of(Broken, b'\n').unwrap().next(None).unwrap_err();
        assert_eq!(error.to_string(), "standard input: gone");
    }
}
