//! Reading the page `/stages` over HTTP/1.1: one request a connection, sizes and times bounded.

use super::figures::{Kinds, parse};
use crate::PerfError;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long the broker may take for each step.
const TIME_MAX: Duration = Duration::from_secs(10);
/// A larger answer is none of a broker's.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What the broker has counted since its start.
///
/// # Errors
/// [`PerfError::Broke`] when it cannot be reached, and [`PerfError::Impossible`] when it has no such page.
pub fn stages(address: &str) -> Result<Kinds, PerfError> {
    let failed =
        |cause: io::Error| PerfError::Broke { address: address.to_owned(), cause: cause.to_string() };
    let answer = ask(address).map_err(failed)?;
    let impossible = |what: &str| PerfError::Impossible(format!("{address}: {what}"));
    let (status, body) = split(&answer).ok_or_else(|| {
        impossible("no answer of HTTP (this asks the broker's http.listeners, not its listeners)")
    })?;
    match status {
        200 => parse(body)
            .ok_or_else(|| impossible("its page /stages is of another form than this program knows")),
        404 => Err(impossible(
            "has no page /stages: this broker does not tell where the time of its requests goes",
        )),
        other => Err(impossible(&format!("its page /stages answers with status {other}"))),
    }
}

fn ask(address: &str) -> io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(TIME_MAX))?;
    stream.set_write_timeout(Some(TIME_MAX))?;
    write!(stream, "GET /stages HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        // A peer of another protocol may close on what it does not understand.
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        Ok(_) | Err(_) => Ok(answer),
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "no such address");
    for target in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&target, TIME_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Status and body of an answer.
fn split(answer: &[u8]) -> Option<(u16, &str)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some((status.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::{split, stages};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn answers_are_taken_apart() {
        for (answer, due) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", Some((200, "body"))),
            ("HTTP/1.0 404 Not Found\r\n\r\n", Some((404, ""))),
            ("HTTP/1.1 OK\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n", None),
            ("", None),
            ("\0\0\0\x01", None),
        ] {
            assert_eq!(split(answer.as_bytes()), due, "{answer}");
        }
    }

    /// What is said of a server that answers with this.
    fn said(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 8];
            stream.read_exact(&mut request).expect("a request");
            stream.write_all(answer).expect("taken");
        });
        let said = stages(&address).expect_err("no figures").to_string();
        serving.join().expect("served");
        said
    }

    #[test]
    fn what_tells_nothing_of_stages_is_said_in_one_line() {
        for (answer, due) in [
            (&b"HTTP/1.1 404 Not Found\r\n\r\nno"[..], "has no page /stages"),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "status 503"),
            (b"HTTP/1.1 200 OK\r\n\r\n{\"requests\": 5}", "another form"),
            (b"HTTP/1.1 200 OK\r\n\r\nhello", "another form"),
            (b"", "no answer of HTTP"),
        ] {
            let said = said(answer);
            assert!(said.contains(due) && !said.contains('\n'), "{said}");
        }
        let said = stages("127.0.0.1:1").expect_err("nobody is there").to_string();
        assert!(said.starts_with("127.0.0.1:1: "), "{said}");
    }
}
