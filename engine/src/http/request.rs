//! Reading one request: its first line counts, its headers are read over, a body is not expected.

use super::time_left;
use hayate_rt::MonoTime;
use std::fmt;
use std::io::{self, Read};
use std::net::TcpStream;

/// The most bytes that first line and headers may take.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Without the query.
    pub path: String,
    /// The answer's body is not wanted.
    pub head_only: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// It is no HTTP/1.
    Malformed,
    /// Only GET and HEAD are.
    Method,
    /// Its head is too large.
    TooLarge,
}

impl RequestError {
    /// The status line's end.
    pub fn status(self) -> &'static str {
        match self {
            RequestError::Malformed => "400 Bad Request",
            RequestError::Method => "405 Method Not Allowed\r\nAllow: GET, HEAD",
            RequestError::TooLarge => "431 Request Header Fields Too Large",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            RequestError::Malformed => "this is no request of HTTP/1",
            RequestError::Method => "only GET and HEAD are served",
            RequestError::TooLarge => "the request's head is too large",
        })
    }
}

/// Reads until the head's empty line.
///
/// # Errors
/// The connection ended, or `deadline` came, before that.
pub(super) fn read_request(
    stream: &mut TcpStream,
    deadline: MonoTime,
) -> io::Result<Result<Request, RequestError>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        stream.set_read_timeout(Some(time_left(deadline)?))?;
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if let Some(request) = examine(&head) {
            return Ok(request);
        }
    }
}

/// The request whose beginning was `received`; `None` while more of its head has to come.
pub fn examine(received: &[u8]) -> Option<Result<Request, RequestError>> {
    match end_of_head(received) {
        Some(end) => Some(parse(received.get(..end).unwrap_or_default())),
        None if received.len() > HEAD_BYTES_MAX => Some(Err(RequestError::TooLarge)),
        None => None,
    }
}

/// Where the empty line begins.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let strict = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    strict.or_else(|| bytes.windows(2).position(|window| window == b"\n\n"))
}

fn parse(head: &[u8]) -> Result<Request, RequestError> {
    let text = str::from_utf8(head).map_err(|_| RequestError::Malformed)?;
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RequestError::Malformed);
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !target.starts_with('/') {
        return Err(RequestError::Malformed);
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(RequestError::Method),
    };
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Request { path, head_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let asks = |path: &str, head_only| Ok(Request { path: path.to_owned(), head_only });
        for (head, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: a", asks("/metrics", false)),
            ("HEAD /ready?x=1 HTTP/1.0", asks("/ready", true)),
            ("POST /metrics HTTP/1.1", Err(RequestError::Method)),
            ("GET metrics HTTP/1.1", Err(RequestError::Malformed)),
            ("GET /metrics HTTP/2", Err(RequestError::Malformed)),
            ("GET /a b HTTP/1.1", Err(RequestError::Malformed)),
            ("\u{0}\u{1}", Err(RequestError::Malformed)),
            ("", Err(RequestError::Malformed)),
        ] {
            assert_eq!(parse(head.as_bytes()), expected, "{head:?}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.1"), Err(RequestError::Malformed));
    }

    #[test]
    fn heads_end_with_an_empty_line() {
        assert_eq!(end_of_head(b"a\r\nb\r\n\r\nc"), Some(4));
        assert_eq!(end_of_head(b"a\n\nc"), Some(1));
        assert_eq!(end_of_head(b"a\r\nb\r\n"), None);
    }
}
