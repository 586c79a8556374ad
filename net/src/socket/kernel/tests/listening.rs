//! What a listener is told of its sockets holds for those that it accepts.

use super::*;
use std::net::Ipv4Addr;

/// A listener as any, on a port that the system chose.
pub(super) fn on_loopback(network: &KernelNetwork) -> Result<KernelListener, SocketError> {
    KernelListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &ListenOptions::default(), network)
}

fn on_executor(test: impl AsyncFnOnce(&KernelNetwork)) {
    let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20).make().unwrap();
    executor.run(async { test(&KernelNetwork::new(FORCED)).await });
}

#[test]
fn connections_have_their_listeners_sizes() {
    let options = ListenOptions {
        send_buffer_bytes: Some(20_000),
        receive_buffer_bytes: Some(30_000),
        backlog: 1,
        ipv6_only: false,
    };
    on_executor(async |network| {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = KernelListener::bind(addr, &options, network).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        // The kernel doubles what it is told, for its own book-keeping (socket(7)).
        let stream = accepted.end.stream.fd.get_ref();
        assert_eq!(getsockopt(stream, sockopt::SndBuf).unwrap(), 40_000);
        assert_eq!(getsockopt(stream, sockopt::RcvBuf).unwrap(), 60_000);
    });
}

#[test]
fn an_address_of_ipv6_alone_leaves_the_port_of_ipv4_free() {
    on_executor(async |network| {
        let alone = ListenOptions { ipv6_only: true, ..ListenOptions::default() };
        let six = KernelListener::bind(SocketAddr::from(([0; 16], 0)), &alone, network).unwrap();
        let port = six.local_addr().unwrap().port();
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok());
    });
}
