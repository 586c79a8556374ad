//! Peers that send bytes of their own making, and what strangers send. Knows no broker but its address.

use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// An end or an answer that takes longer does not come.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Where the name of a client begins in a frame.
pub const CLIENT_ID_AT: usize = 14;
/// Where the correlation id stands in a request.
const CORRELATION_AT: std::ops::Range<usize> = 8..12;
/// What a client that reads little leaves to the kernel.
const RECEIVE_BUFFER_BYTES: usize = 4096;

/// A connection.
pub struct Peer(TcpStream);

impl Peer {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_read_timeout(Some(TIME_MAX)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Peer(stream)
    }

    /// The same connection, for another thread.
    pub fn another(&self) -> Peer {
        Peer(self.0.try_clone().expect("one more descriptor"))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the broker reads");
    }

    /// Sends bytes as they are.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends nothing more.
    pub fn say_no_more(&mut self) {
        // The broker may have ended the connection already.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Lets the kernel keep little of what comes.
    pub fn read_little(&mut self) {
        setsockopt(&self.0, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES).expect("a socket's buffer");
    }

    /// Sending fails after that time.
    pub fn give_up_after(&mut self, time: Duration) {
        self.0.set_write_timeout(Some(time)).expect("a timeout");
    }

    /// Is gone without a word when dropped.
    pub fn reset_when_dropped(&mut self) {
        setsockopt(&self.0, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).expect("no linger");
    }

    /// The answer to a request that was sent, by its number.
    pub fn answer_to(&mut self, request: &[u8]) {
        let mut prefix = [0; 4];
        self.0.read_exact(&mut prefix).expect("an answer");
        let mut answer = vec![0; u32::from_be_bytes(prefix) as usize];
        self.0.read_exact(&mut answer).expect("all of it");
        assert_eq!(answer[..4], request[CORRELATION_AT], "answers come in the order of their requests");
    }

    /// The broker ends the connection and says nothing.
    pub fn await_end(&mut self, what: &str) {
        let mut said = Vec::new();
        match self.0.read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{what}: the broker does not end the connection: {error}"),
        }
        assert!(said.is_empty(), "{what} is answered: {said:?}");
    }

    /// Sends this, upon which the broker ends the connection.
    pub fn is_refused(&mut self, what: &str, bytes: &[u8]) {
        self.send(bytes);
        self.await_end(what);
    }
}

/// What somebody sends who is no client of this protocol, and as what it is counted.
pub struct Stranger {
    /// For people.
    pub what: &'static str,
    /// The label of `hayate_protocol_errors_total`.
    pub kind: &'static str,
    /// All that is sent.
    pub bytes: fn() -> Vec<u8>,
}

/// Everyone of them.
pub const STRANGERS: &[Stranger] = &[
    Stranger { what: "a TLS hello", kind: "tls", bytes: client_hello },
    Stranger {
        what: "HTTP",
        kind: "frame_size",
        bytes: || b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n".to_vec(),
    },
    Stranger { what: "SSH", kind: "frame_size", bytes: || b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec() },
    Stranger { what: "Redis", kind: "frame_size", bytes: || b"*1\r\n$4\r\nPING\r\n".to_vec() },
    Stranger { what: "length -1", kind: "frame_size", bytes: || vec![0xff; 64] },
    Stranger { what: "the least length", kind: "frame_size", bytes: || i32::MIN.to_be_bytes().to_vec() },
    Stranger { what: "the greatest length", kind: "frame_size", bytes: || i32::MAX.to_be_bytes().to_vec() },
    Stranger {
        what: "one byte more than socket.request.max.bytes",
        kind: "frame_size",
        bytes: || 104_857_601_i32.to_be_bytes().to_vec(),
    },
    Stranger {
        what: "ApiVersions of 64 MiB",
        kind: "frame_size",
        bytes: || vec![4, 0, 0, 0, 0, 18, 0, 0, 0, 0, 0, 1],
    },
    Stranger { what: "an empty frame", kind: "header", bytes: || vec![0; 4] },
    Stranger { what: "half a header", kind: "header", bytes: || framed(&[0, 18, 0]) },
    Stranger {
        what: "a name that is longer than its frame",
        kind: "header",
        bytes: || request(3, 1, &[0x7f, 0xff, b'x']),
    },
    Stranger { what: "a kind that is not", kind: "unknown_api", bytes: || request(999, 0, &[0xff, 0xff]) },
    Stranger { what: "a negative kind", kind: "unknown_api", bytes: || request(-1, 0, &[0xff, 0xff]) },
    Stranger {
        what: "a version that is not",
        kind: "unsupported_version",
        bytes: || request(3, 99, &[0xff, 0xff]),
    },
    Stranger {
        what: "two billion topics in eight bytes",
        kind: "body",
        bytes: || request(3, 1, &[0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0, 0]),
    },
];

fn framed(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).expect("a small frame");
    [&length.to_be_bytes(), body].concat()
}

/// A request of that kind and version: what follows its number is `rest`.
fn request(key: i16, version: i16, rest: &[u8]) -> Vec<u8> {
    let (key, version, number) = (key.to_be_bytes(), version.to_be_bytes(), 1_i32.to_be_bytes());
    framed(&[&key[..], &version, &number, rest].concat())
}

/// The first record of TLS 1.2 and 1.3: a handshake of 508 bytes, a hello.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(5 + 512, 0x5a);
    hello
}

/// ApiVersions, version 0, from nobody.
pub fn versions_request(number: i32) -> Vec<u8> {
    let mut frame = request(18, 0, &[0xff, 0xff]);
    frame[CORRELATION_AT].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The first bytes of a produce request of a megabyte.
pub fn half_frame(length: usize) -> Vec<u8> {
    let mut frame = vec![0, 16, 0, 0, 0, 0, 0, 13, 0, 0, 0, 1, 0, 4, b'h', b'a', b'l', b'f'];
    frame.resize(length.max(frame.len()), 0);
    frame.truncate(length);
    frame
}

/// Up to 2,000 bytes, the same for the same seed (xorshift64*).
pub fn garbage(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    };
    let length = 4 + draw() % 2_000;
    (0..length).map(|_| draw() as u8).collect()
}
