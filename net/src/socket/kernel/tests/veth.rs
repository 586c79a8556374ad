//! The same over a pair of virtual Ethernet devices between two network namespaces, with a queue that holds each packet for a while:
//! there the device's queue reads the sender's memory, long after the send.
//!
//! The namespaces belong to a child process: this test again, in a user namespace of its own. Where none may be made, the test says so.

use super::*;
use nix::sched::{CloneFlags, unshare};
use std::process::Command;

/// Set in the child.
const INSIDE: &str = "HAYATE_TEST_IN_NAMESPACE";
const THIS_TEST: &str = "socket::kernel::tests::veth::memory_in_a_devices_queue_arrives_as_it_was_sent";
const HERE: &str = "10.99.0.1";
const THERE: &str = "10.99.0.2";

/// Runs `ip` or `tc`.
fn command(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let done = Command::new(words.next().unwrap_or_default()).args(words).output();
    let done = done.map_err(|error| format!("{line}: {error}"))?;
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {}", String::from_utf8_lossy(&done.stderr)))
    }
}

fn commands(lines: &[&str]) -> Result<(), String> {
    lines.iter().try_for_each(|line| command(line))
}

/// A listener in another network namespace, at the other end of a cable whose packets wait in a queue.
fn listener_there() -> Result<TcpListener, String> {
    command("ip link add here type veth peer name there")?;
    let (enter, entered) = flume::bounded(1);
    let (connected, go_on) = flume::bounded(1);
    #[expect(clippy::disallowed_methods, reason = "a network namespace is a thread's")]
    let there = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("unshare: {errno}"))?;
        // SAFETY: gettid takes and touches nothing.
        enter.send(unsafe { libc::gettid() }).map_err(|error| error.to_string())?;
        go_on.recv().map_err(|_| "the other end was not made".to_owned())?;
        let address = format!("ip addr add {THERE}/24 dev there");
        commands(&[&address, "ip link set there up"])?;
        // A socket keeps the namespace that it was made in.
        TcpListener::bind((THERE, 0)).map_err(|error| format!("bind: {error}"))
    });
    if let Ok(thread) = entered.recv() {
        let over = format!("ip link set there netns /proc/self/task/{thread}/ns/net");
        let over = over.replace("self", &std::process::id().to_string());
        let address = format!("ip addr add {HERE}/24 dev here");
        commands(&[
            &over,
            &address,
            "ip link set here up",
            "tc qdisc add dev here root tbf rate 400mbit burst 64kb latency 400ms",
        ])?;
        let _ = connected.send(());
    }
    there.join().map_err(|_| "the other end panicked".to_owned())?
}

fn inside() -> Result<(), String> {
    let listener = listener_there()?;
    let addr = listener.local_addr().map_err(|error| error.to_string())?;
    run(async move || {
        let network = Network::kernel_with(FORCED);
        let NetworkInner::Kernel(kernel) = network.inner.clone() else {
            unreachable!("the kernel's was made")
        };
        let sender = KernelSocket::connect(addr, &kernel).await.unwrap();
        let reader = kernel.adopt(listener.accept().unwrap().0).unwrap();
        check_reuse(Bench::new(network, sender, reader), 0).await;
    });
    Ok(())
}

#[test]
fn memory_in_a_devices_queue_arrives_as_it_was_sent() {
    if std::env::var_os(INSIDE).is_some() {
        match inside() {
            Ok(()) => println!("inside: sent and checked"),
            Err(reason) => println!("inside: skipped: {reason}"),
        }
        return;
    }
    let again = std::env::current_exe().expect("a test has a path");
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(again)
        .args(["--exact", THIS_TEST, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let Ok(child) = child else { return println!("skipped: there is no command unshare") };
    let (told, complained) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    println!("{told}{complained}");
    if told.contains("inside: sent and checked") {
        assert!(child.status.success());
    } else if child.status.success() || !told.contains("running 1 test") {
        println!("skipped: no network namespace of one's own could be made");
    } else {
        panic!("the test failed in its namespace");
    }
}
