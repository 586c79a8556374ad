//! Reading one request: its first line counts, and of its headers the length of its body. A body comes with PUT alone.

use super::time_left;
use hayate_rt::MonoTime;
use std::fmt;
use std::io::{self, Read};
use std::net::TcpStream;

/// The most bytes that first line and headers may take.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The most bytes that a body may take.
const BODY_BYTES_MAX: usize = 4 << 10;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Show.
    Get,
    /// Show no body.
    Head,
    /// Change.
    Put,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub method: Method,
    /// Without the query.
    pub path: String,
    /// Empty but for PUT.
    pub body: Vec<u8>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// It is no HTTP/1.
    Malformed,
    /// Only GET and HEAD are.
    Method,
    /// A body that does not say how long it is.
    LengthRequired,
    /// Its head is too large.
    TooLarge,
    /// Its body is too large.
    BodyTooLarge,
}

impl RequestError {
    /// The status line's end.
    pub fn status(self) -> &'static str {
        match self {
            RequestError::Malformed => "400 Bad Request",
            RequestError::Method => "405 Method Not Allowed\r\nAllow: GET, HEAD",
            RequestError::LengthRequired => "411 Length Required",
            RequestError::TooLarge => "431 Request Header Fields Too Large",
            RequestError::BodyTooLarge => "413 Content Too Large",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            RequestError::Malformed => "this is no request of HTTP/1",
            RequestError::Method => "only GET and HEAD are served",
            RequestError::LengthRequired => "the request's head does not say how long its body is",
            RequestError::TooLarge => "the request's head is too large",
            RequestError::BodyTooLarge => "the request's body is too large",
        })
    }
}

/// Reads until the head's empty line, or to the end of the body that it announces.
///
/// # Errors
/// The connection ended, or `deadline` came, before that.
pub(super) fn read_request(
    stream: &mut TcpStream,
    deadline: MonoTime,
) -> io::Result<Result<Request, RequestError>> {
    let mut received = Vec::new();
    loop {
        if let Some(request) = examine(&received) {
            return Ok(request);
        }
        read_more(stream, &mut received, deadline)?;
    }
}

/// The request that begins with what was `received`; `None` while more of it has to come.
pub fn examine(received: &[u8]) -> Option<Result<Request, RequestError>> {
    let Some((end, begin)) = end_of_head(received) else {
        return (received.len() > HEAD_BYTES_MAX).then_some(Err(RequestError::TooLarge));
    };
    match parse(received.get(..end).unwrap_or_default()) {
        Ok((request, body_bytes)) => {
            let body = received.get(begin..begin + body_bytes)?.to_vec();
            Some(Ok(Request { body, ..request }))
        }
        Err(error) => Some(Err(error)),
    }
}

fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>, deadline: MonoTime) -> io::Result<()> {
    let mut buffer = [0; 1024];
    stream.set_read_timeout(Some(time_left(deadline)?))?;
    let count = stream.read(&mut buffer)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    received.extend_from_slice(buffer.get(..count).unwrap_or_default());
    Ok(())
}

/// Where the empty line begins, and where it ends.
fn end_of_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let place = |end: &[u8]| {
        let at = bytes.windows(end.len()).position(|window| window == end)?;
        Some((at, at + end.len()))
    };
    place(b"\r\n\r\n").or_else(|| place(b"\n\n"))
}

/// The request without its body, and how long that is.
fn parse(head: &[u8]) -> Result<(Request, usize), RequestError> {
    let text = str::from_utf8(head).map_err(|_| RequestError::Malformed)?;
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RequestError::Malformed);
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !target.starts_with('/') {
        return Err(RequestError::Malformed);
    }
    let (method, body_bytes) = match method {
        "GET" => (Method::Get, 0),
        "HEAD" => (Method::Head, 0),
        "PUT" => (Method::Put, body_bytes(lines)?),
        _ => return Err(RequestError::Method),
    };
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok((Request { method, path, body: Vec::new() }, body_bytes))
}

fn body_bytes<'a>(headers: impl Iterator<Item = &'a str>) -> Result<usize, RequestError> {
    let mut headers = headers.filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-length"));
    let (_, length) = length.ok_or(RequestError::LengthRequired)?;
    match length.trim().parse() {
        Ok(bytes) if bytes <= BODY_BYTES_MAX => Ok(bytes),
        Ok(_) => Err(RequestError::BodyTooLarge),
        Err(_) => Err(RequestError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let asks = |path: &str, method, body_bytes| {
            Ok((Request { method, path: path.to_owned(), body: Vec::new() }, body_bytes))
        };
        for (head, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: a", asks("/metrics", Method::Get, 0)),
            ("HEAD /ready?x=1 HTTP/1.0", asks("/ready", Method::Head, 0)),
            ("PUT /a HTTP/1.1\r\nHost: a\r\ncontent-length: 12", asks("/a", Method::Put, 12)),
            ("PUT /a HTTP/1.1\r\nHost: a", Err(RequestError::LengthRequired)),
            ("PUT /a HTTP/1.1\r\nContent-Length: 4097", Err(RequestError::BodyTooLarge)),
            ("PUT /a HTTP/1.1\r\nContent-Length: -1", Err(RequestError::Malformed)),
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
        assert_eq!(end_of_head(b"a\r\nb\r\n\r\nc"), Some((4, 8)));
        assert_eq!(end_of_head(b"a\n\nc"), Some((1, 3)));
        assert_eq!(end_of_head(b"a\r\nb\r\n"), None);
    }
}
