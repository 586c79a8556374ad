//! What only the kernel half can be asked: who owns a buffer when, how the ring fills and drains, and that it rests.

use super::ring::ENTRIES;
use super::*;
use crate::disk::AlignedBuf;
use crate::disk::tests::{TempDir, filled, runs};
use hayate_rt::Queue;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Runs on an executor with a disk and a folder of its own.
fn on_a_shard<T: 'static, F: Future<Output = T> + 'static>(
    name: &str,
    work: impl FnOnce(Rt, KernelDisk, PathBuf) -> F + 'static,
) -> T {
    let dir = TempDir::new(name);
    let root = dir.0.clone();
    glommio::LocalExecutor::default().run(async move {
        let rt = Rt::kernel();
        let disk = KernelDisk::new(&rt).unwrap();
        work(rt, disk, root).await
    })
}

/// A block of one letter whose end of life shows.
fn watched(letter: u8) -> (Bytes, Arc<AtomicBool>) {
    struct Watched(AlignedBuf, Arc<AtomicBool>);
    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }
    impl Drop for Watched {
        fn drop(&mut self) {
            self.1.store(true, Ordering::SeqCst);
        }
    }
    let gone = Arc::new(AtomicBool::new(false));
    let mut buf = AlignedBuf::zeroed(BLOCK_BYTES).unwrap();
    buf.as_mut_slice().fill(letter);
    (Bytes::from_owner(Watched(buf, gone.clone())), gone)
}

/// Starts a future without waiting for it.
fn start<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
    let mut future = Box::pin(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    future
}

async fn until(rt: &Rt, mut condition: impl FnMut() -> bool) {
    while !condition() {
        rt.sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_dropped_write_owns_its_buffer_until_the_kernel_has_answered() {
    on_a_shard("dropped", |rt, disk, root| async move {
        let file = disk.open(&root.join("f"), OpenMode::CreateNew).await.unwrap();
        let (data, gone) = watched(b'w');
        drop(start(file.write_at(0, data, Durability::Cached)));
        assert!(!gone.load(Ordering::SeqCst), "the kernel may still read it");
        until(&rt, || gone.load(Ordering::SeqCst)).await;
        assert_eq!(runs(&file.read_at(0, 10).await.unwrap()), "w*10");
    });
}

#[test]
fn a_dropped_write_that_the_kernel_has_not_seen_is_withdrawn() {
    on_a_shard("withdrawn", |rt, disk, root| async move {
        let file = disk.open(&root.join("f"), OpenMode::CreateNew).await.unwrap();
        file.write_at(0, filled(BLOCK_BYTES, b'o'), Durability::Durable).await.unwrap();
        let reads: Vec<_> = (0..ENTRIES).map(|_| start(file.read_at(0, 1))).collect();
        let (data, gone) = watched(b'w');
        let write = start(file.write_at(0, data, Durability::Cached));
        assert_eq!(disk.ring.busy(), ENTRIES as usize + 1);
        drop(write);
        assert!(gone.load(Ordering::SeqCst), "nobody else needs it");
        for read in reads {
            assert_eq!(read.await.unwrap(), &b"o"[..]);
        }
        until(&rt, || disk.ring.busy() == 0).await;
        assert_eq!(runs(&file.read_at(0, BLOCK_BYTES).await.unwrap()), "o*4096");
    });
}

#[test]
fn a_thousand_operations_at_once_go_through_a_ring_of_sixty_four() {
    on_a_shard("thousand", |rt, disk, root| async move {
        let file = Rc::new(disk.open(&root.join("f"), OpenMode::CreateNew).await.unwrap());
        let tasks: Vec<_> = (0..1000u64)
            .map(|number| {
                let file = file.clone();
                rt.spawn(Queue::Foreground, async move {
                    let data = filled(BLOCK_BYTES, b'a' + (number % 26) as u8);
                    let durability = if number % 7 == 0 { Durability::Durable } else { Durability::Cached };
                    file.write_at(number * BLOCK, data.clone(), durability).await.unwrap();
                    assert_eq!(file.read_at(number * BLOCK, BLOCK_BYTES).await.unwrap(), data);
                    if number % 50 == 0 {
                        file.sync().await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(disk.ring.busy(), 0);
        assert_eq!(file.len().await, Ok(1000 * BLOCK));
    });
}

#[test]
fn a_part_of_a_shared_buffer_is_written_both_ways_of_making_it_durable() {
    on_a_shard("parts", |_, disk, root| async move {
        let file = disk.open(&root.join("f"), OpenMode::CreateNew).await.unwrap();
        let mut buf = AlignedBuf::zeroed(64 * BLOCK_BYTES).unwrap();
        for (number, block) in buf.as_mut_slice().chunks_mut(BLOCK_BYTES).enumerate() {
            block.fill(b'0' + number as u8);
        }
        let whole = buf.into_bytes();
        for dsync_bytes_max in [0, usize::MAX] {
            disk.set_dsync_bytes_max(dsync_bytes_max);
            let part = whole.slice(BLOCK_BYTES..17 * BLOCK_BYTES);
            file.write_at(BLOCK, part.clone(), Durability::Durable).await.unwrap();
            assert_eq!(file.read_at(BLOCK, part.len()).await.unwrap(), part);
            file.truncate(0).await.unwrap();
        }
    });
}

#[test]
fn what_is_read_travels_to_other_threads_and_outlives_the_file() {
    let bytes = on_a_shard("travels", |_, disk, root| async move {
        let file = disk.open(&root.join("f"), OpenMode::CreateNew).await.unwrap();
        file.write_at(0, filled(2 * BLOCK_BYTES, b'r'), Durability::Cached).await.unwrap();
        file.read_at(100, 5000).await.unwrap()
    });
    #[expect(clippy::disallowed_methods, reason = "another thread is the point of the test")]
    let reader = std::thread::spawn(move || runs(&bytes));
    assert_eq!(reader.join().unwrap(), "r*5000");
}

#[test]
fn an_executor_may_end_while_the_kernel_has_requests() {
    for round in 0..20 {
        // Either the tasks leak, and their buffers with them, or the ring waits; never is a buffer freed too early.
        on_a_shard("ends", move |rt, disk, root| async move {
            let file = Rc::new(disk.open(&root.join("f"), OpenMode::CreateNew).await.unwrap());
            let writer = file.clone();
            let data = filled(BLOCK_BYTES, b'w');
            let write = async move { drop(writer.write_at(0, data, Durability::Durable).await) };
            if round % 2 == 0 {
                drop(start(write));
            } else {
                rt.spawn(Queue::Foreground, write).detach();
                rt.yield_now().await;
            }
        });
    }
}

#[test]
fn a_ring_that_is_dropped_waits_for_what_the_kernel_still_has() {
    let dir = TempDir::new("waits");
    for round in 0..50 {
        let path = dir.0.join(format!("f{round}"));
        let file = Arc::new(control::open(&path, OpenMode::CreateNew).unwrap());
        let (data, gone) = watched(b'w');
        let sync = if round % 2 == 0 { WriteSync::Dsync } else { WriteSync::Linked };
        ring::submit_and_drop(Op { file, request: Request::Write { data, pos: 0, sync } });
        assert!(gone.load(Ordering::SeqCst));
        assert_eq!(std::fs::read(&path).unwrap(), [b'w'; BLOCK_BYTES]);
    }
}

/// How often this thread went to sleep, and its CPU time in milliseconds.
fn activity() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    let switches = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let cpu_ns: u64 = stat.split_whitespace().next().unwrap().parse().unwrap();
    (switches, cpu_ns / 1_000_000)
}

#[test]
fn an_idle_ring_wakes_nobody() {
    on_a_shard("idle", |rt, disk, root| async move {
        let file = disk.open(&root.join("f"), OpenMode::CreateNew).await.unwrap();
        file.write_at(0, filled(BLOCK_BYTES, b'w'), Durability::Durable).await.unwrap();
        rt.sleep(Duration::from_millis(20)).await;
        let before = activity();
        rt.sleep(Duration::from_millis(500)).await;
        let after = activity();
        assert_eq!(disk.ring.busy(), 0);
        assert!(after.0 - before.0 < 10, "slept {} times", after.0 - before.0);
        assert!(after.1 - before.1 < 50, "burnt {} ms", after.1 - before.1);
    });
}

#[test]
fn a_held_file_stays_open_as_long_as_the_ring() {
    let lock = |path: &Path| {
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.unwrap();
        file.try_lock().ok().map(|()| file)
    };
    let path = on_a_shard("held", move |_rt, disk, root| async move {
        let path = std::env::temp_dir().join(format!("{}.lock", root.file_name().unwrap().display()));
        let locked = lock(&path).expect("nobody has it");
        disk.hold(std::os::fd::AsFd::as_fd(&locked)).unwrap();
        drop(locked);
        assert!(lock(&path).is_none(), "the ring has it");
        path
    });
    let waited = path.clone();
    let freed = glommio::LocalExecutor::default().run(async move {
        // The kernel takes a ring down in its own time.
        Rt::kernel().timeout(Duration::from_secs(10), until(&Rt::kernel(), || lock(&waited).is_some())).await
    });
    std::fs::remove_file(&path).unwrap();
    assert!(freed.is_ok(), "gone with the ring");
}
