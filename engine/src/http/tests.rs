//! The server over real sockets.

use super::*;
use crate::metrics::{RequestTimes, Stages};
use std::io::Read;
use std::net::SocketAddr;

fn server() -> (SocketAddr, Arc<Pages>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let pages =
        Pages::new(&Arc::new(Metrics::new(2)), &Arc::default(), &Arc::default(), ProcessFigures::default);
    let pages = Arc::new(pages);
    serve(listener, pages.clone()).unwrap();
    (address, pages)
}

fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
}

#[test]
fn pages_are_served() {
    let (address, pages) = server();
    let metrics = get(address, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nhayate_shards 2\n"));
    let body_bytes = metrics.split("\r\n\r\n").nth(1).unwrap().len();
    assert!(metrics.contains(&format!("Content-Length: {body_bytes}\r\n")));
    let at = MonoTime::from_nanos;
    let mut stages = Stages::new(at(0), at(300));
    stages.answered(at(1_300));
    let times = RequestTimes { dispatch_nanos: 1_000, ..RequestTimes::default() };
    pages.metrics.shard(1).request_done(18, &times, &stages);
    let page = get(address, "/stages");
    let body = page.split("\r\n\r\n").nth(1).unwrap();
    let figures: serde_json::Value = serde_json::from_str(body).unwrap();
    let thousand = serde_json::json!({ "count": 1, "sum_nanos": 1000, "buckets": [[992, 1024, 1]] });
    let receive = serde_json::json!({ "count": 1, "sum_nanos": 300, "buckets": [[288, 304, 1]] });
    let stages = serde_json::json!({ "receive": receive, "handle": thousand });
    let due = serde_json::json!({ "requests": { "ApiVersions": { "total": thousand, "stages": stages } } });
    assert_eq!(figures, due);
    assert!(get(address, "/nothing").starts_with("HTTP/1.1 404"));
    assert!(get(address, "/ready").starts_with("HTTP/1.1 503"));
    pages.phase.set(Phase::Serving);
    assert!(get(address, "/ready").ends_with("\r\n\r\nready\n"));
    let head = ask(address, b"HEAD /ready HTTP/1.1\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: 6\r\n"), "{head}");
    pages.phase.set(Phase::Stopping);
    assert!(get(address, "/ready").contains("503 Service Unavailable"));
}

#[test]
fn a_shard_that_hangs_is_unhealthy() {
    let (address, pages) = server();
    assert!(get(address, "/health").contains("200 OK"), "no shard has run yet");
    let current = now();
    pages.metrics.shard(0).ran(current);
    pages.metrics.shard(1).ran(MonoTime::from_nanos(current.as_nanos().saturating_sub(1)));
    assert!(get(address, "/health").contains("200 OK"));
    let past = MonoTime::from_nanos(1);
    let later = past + SHARD_SILENCE_MAX + Duration::from_secs(2);
    pages.metrics.shard(1).ran(past);
    assert_eq!(pages.metrics.longest_silence(later).map(|(shard, _)| shard), Some(1));
}

#[test]
fn bad_requests_get_an_answer_or_an_end() {
    let (address, _) = server();
    assert!(ask(address, b"\x16\x03\x01\n\n").starts_with("HTTP/1.1 400"));
    assert!(
        ask(address, b"DELETE / HTTP/1.1\r\n\r\n").contains("405 Method Not Allowed\r\nAllow: GET, HEAD\r\n")
    );
    let mut stream = TcpStream::connect(address).unwrap();
    let long = vec![b'a'; 9 << 10];
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let _ = stream.write_all(&long);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 431"));
}

#[test]
fn idle_connections_are_bounded_and_do_not_keep_others_out_for_long() {
    let (address, _) = server();
    let idle: Vec<_> = (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut refused = TcpStream::connect(address).unwrap();
    let mut answer = Vec::new();
    let _ = refused.read_to_end(&mut answer);
    assert!(answer.is_empty(), "one more than is served is closed");
    drop(idle);
    let served = (0..100).any(|_| {
        pause();
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer.starts_with(b"HTTP/1.1 200")
    });
    assert!(served);
}

fn put(address: SocketAddr, path: &str, body: &str) -> String {
    let length = body.len();
    let answer = ask(
        address,
        format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {}", head.split(' ').nth(1).unwrap(), body.trim_end())
}

#[test]
fn levels_are_shown_and_changed() {
    let (address, pages) = server();
    let all = get(address, "/loggers");
    assert!(all.contains("\r\nContent-Type: application/json\r\n"), "{all}");
    assert!(
        all.contains(r#""root":{"level":"INFO"}"#) && all.contains(r#""hayate_engine::shard":{"#),
        "{all}"
    );
    for (name, body, answer) in [
        ("hayate_storage::log", r#"{"level":"DEBUG"}"#, r#"200 ["hayate_storage::log","#),
        ("hayate_storage%3A%3Astore", r#"{"level":"trace"}"#, r#"200 ["hayate_storage::store","#),
        (
            "hayate_rt",
            r#"{"level":"loud"}"#,
            r#"404 {"error_code":404,"message":"invalid log level 'loud'."}"#,
        ),
        ("hayate_rt", r#"{}"#, r#"400 {"error_code":400,"message":"Desired 'level' parameter"#),
        ("hayate_rt", "\u{0}", "400 "),
        ("nobody", r#"{"level":"DEBUG"}"#, r#"404 {"error_code":404,"message":"Logger nobody not found."}"#),
        ("", r#"{"level":"DEBUG"}"#, "405 "),
    ] {
        let said = put(address, &format!("/loggers/{name}"), body);
        assert!(said.starts_with(answer), "{name} {body}: {said}");
    }
    assert!(get(address, "/loggers/hayate_storage::log::open").ends_with("\r\n\r\n{\"level\":\"DEBUG\"}\n"));
    assert!(get(address, "/loggers/nobody").starts_with("HTTP/1.1 404"));
    assert!(get(address, "/loggersandmore").starts_with("HTTP/1.1 404"));
    assert!(put(address, "/metrics", "").starts_with("405 "));
    let levels = pages.loggers.levels();
    assert_eq!(levels.of("hayate_storage::store::lifecycle"), crate::logging::Level::Trace);
    assert_eq!(levels.of("hayate_rt"), crate::logging::Level::Info);
}
