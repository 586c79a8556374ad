//! What the disk seam's kernel half makes of the machine's disk: durable writes into written space, and reads. Not a
//! test: figures depend on the machine, and are compared only within one run, or with `fio` doing the same.
//!
//! `cargo bench -p hayate-storage --bench disk [-- FOLDER [FILTER]]`; the folder must be on a file system with direct IO,
//! and defaults to the build's own. Only patterns whose name holds the filter are run.

use bytes::Bytes;
use hayate_rt::{Queue, Rt};
use hayate_storage::disk::{AlignedBuf, Disk, Durability, File, OpenMode};
use std::path::PathBuf;
use std::time::Duration;

const FILE_BYTES: u64 = 64 << 20;
/// Space that is filled with zeroes at a time.
const ZEROED_STEP: u64 = 16 << 20;
const SPAN: Duration = Duration::from_secs(2);

/// One pattern of use.
struct Pattern {
    name: &'static str,
    bytes: usize,
    /// How many loops, each on a file of its own.
    files: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One `O_DSYNC` write.
    Dsync,
    /// A write linked with its flush.
    Linked,
    /// As linked, at the end of a file that grows: what a direct append does.
    Growing,
    /// The same where the space ahead is filled with zeroes first, in steps; the filling counts.
    Zeroed,
    Cached,
    Read,
}

const PATTERNS: &[Pattern] = &[
    Pattern { name: "dsync 4 KiB", bytes: 4 << 10, files: 1, kind: Kind::Dsync },
    Pattern { name: "linked 4 KiB", bytes: 4 << 10, files: 1, kind: Kind::Linked },
    Pattern { name: "dsync 16 KiB", bytes: 16 << 10, files: 1, kind: Kind::Dsync },
    Pattern { name: "linked 16 KiB", bytes: 16 << 10, files: 1, kind: Kind::Linked },
    Pattern { name: "dsync 32 KiB", bytes: 32 << 10, files: 1, kind: Kind::Dsync },
    Pattern { name: "linked 32 KiB", bytes: 32 << 10, files: 1, kind: Kind::Linked },
    Pattern { name: "dsync 64 KiB", bytes: 64 << 10, files: 1, kind: Kind::Dsync },
    Pattern { name: "linked 64 KiB", bytes: 64 << 10, files: 1, kind: Kind::Linked },
    Pattern { name: "dsync 256 KiB", bytes: 256 << 10, files: 1, kind: Kind::Dsync },
    Pattern { name: "linked 256 KiB", bytes: 256 << 10, files: 1, kind: Kind::Linked },
    Pattern { name: "dsync 1 MiB", bytes: 1 << 20, files: 1, kind: Kind::Dsync },
    Pattern { name: "linked 1 MiB", bytes: 1 << 20, files: 1, kind: Kind::Linked },
    Pattern { name: "dsync 4 KiB, 8 files", bytes: 4 << 10, files: 8, kind: Kind::Dsync },
    Pattern { name: "linked 4 KiB, 8 files", bytes: 4 << 10, files: 8, kind: Kind::Linked },
    Pattern { name: "growing 256 KiB", bytes: 256 << 10, files: 1, kind: Kind::Growing },
    Pattern { name: "zeroed 256 KiB", bytes: 256 << 10, files: 1, kind: Kind::Zeroed },
    Pattern { name: "growing 1 MiB", bytes: 1 << 20, files: 1, kind: Kind::Growing },
    Pattern { name: "zeroed 1 MiB", bytes: 1 << 20, files: 1, kind: Kind::Zeroed },
    Pattern { name: "growing 4 MiB", bytes: 4 << 20, files: 1, kind: Kind::Growing },
    Pattern { name: "zeroed 4 MiB", bytes: 4 << 20, files: 1, kind: Kind::Zeroed },
    Pattern { name: "cached 64 KiB", bytes: 64 << 10, files: 1, kind: Kind::Cached },
    Pattern { name: "cached 1 MiB", bytes: 1 << 20, files: 1, kind: Kind::Cached },
    Pattern { name: "read 64 KiB", bytes: 64 << 10, files: 1, kind: Kind::Read },
    Pattern { name: "read 1 MiB, 4 files", bytes: 1 << 20, files: 4, kind: Kind::Read },
];

fn random_bytes(rt: &Rt, len: usize) -> Bytes {
    let mut buf = AlignedBuf::zeroed(len).expect("a small buffer");
    for word in buf.as_mut_slice().chunks_exact_mut(8) {
        word.copy_from_slice(&rt.random_u64().to_le_bytes());
    }
    buf.into_bytes()
}

/// A file whose extents are written, so that a later write moves data alone.
async fn written_file(disk: &Disk, path: PathBuf, data: &Bytes) -> File {
    if disk.exists(&path).await.expect("the folder can be read") {
        disk.remove_file(&path).await.expect("the file is ours");
    }
    let file = disk.open(&path, OpenMode::CreateNew).await.expect("the folder can be written");
    let mut pos = 0;
    while pos < FILE_BYTES {
        file.write_at(pos, data.clone(), Durability::Cached).await.expect("there is space");
        pos += data.len() as u64;
    }
    file.sync().await.expect("the disk works");
    file
}

/// Runs through the file, again and again, until the span is over; the time of each operation in nanoseconds.
async fn run_through(rt: Rt, file: File, data: Bytes, kind: Kind) -> Vec<u64> {
    let grows = matches!(kind, Kind::Growing | Kind::Zeroed);
    if grows {
        file.truncate(0).await.expect("cut");
        file.sync().await.expect("synced");
    }
    let zeroes = AlignedBuf::zeroed(1 << 20).expect("a small buffer").into_bytes();
    let (mut zeroed, mut pos, mut spans) = (0, 0, Vec::new());
    let start = rt.now();
    while rt.now() - start < SPAN {
        let began = rt.now();
        if kind == Kind::Zeroed && pos + data.len() as u64 > zeroed {
            for _ in 0..ZEROED_STEP >> 20 {
                file.write_at(zeroed, zeroes.clone(), Durability::Cached).await.expect("written");
                zeroed += 1 << 20;
            }
            file.sync().await.expect("synced");
        }
        match kind {
            Kind::Dsync | Kind::Linked | Kind::Growing | Kind::Zeroed => {
                file.write_at(pos, data.clone(), Durability::Durable).await.expect("written")
            }
            Kind::Cached => file.write_at(pos, data.clone(), Durability::Cached).await.expect("written"),
            Kind::Read => drop(file.read_at(pos, data.len()).await.expect("read")),
        }
        spans.push((rt.now() - began).as_nanos() as u64);
        pos += data.len() as u64;
        if !grows {
            pos %= FILE_BYTES;
        }
    }
    spans
}

async fn measure(rt: &Rt, files: &[File], pattern: &Pattern) {
    let data = random_bytes(rt, pattern.bytes);
    let start = rt.now();
    let loops: Vec<_> = files[..pattern.files]
        .iter()
        .map(|file| {
            let run = run_through(rt.clone(), file.clone(), data.clone(), pattern.kind);
            rt.spawn(Queue::Foreground, run)
        })
        .collect();
    let mut spans = Vec::new();
    for one in loops {
        spans.extend(one.await);
    }
    let seconds = (rt.now() - start).as_secs_f64();
    spans.sort_unstable();
    let micros = |share: f64| spans[((spans.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "{:<24} {:>9.0}/s {:>8.1} MB/s   p50 {:>7.1} us   p99 {:>8.1} us",
        pattern.name,
        spans.len() as f64 / seconds,
        (spans.len() * pattern.bytes) as f64 / seconds / 1e6,
        micros(0.5),
        micros(0.99),
    );
}

async fn bench(dir: PathBuf, filter: String) {
    let rt = Rt::kernel();
    let disk = Disk::kernel(&rt).expect("io_uring is allowed");
    disk.create_dir_all(&dir).await.expect("the folder can be made");
    let fill = random_bytes(&rt, 1 << 20);
    let mut files = Vec::new();
    for pattern in PATTERNS.iter().filter(|pattern| pattern.name.contains(&filter)) {
        while files.len() < pattern.files {
            files.push(written_file(&disk, dir.join(format!("bench-{}", files.len())), &fill).await);
        }
        disk.set_dsync_bytes_max(if pattern.kind == Kind::Dsync { usize::MAX } else { 0 });
        measure(&rt, &files, pattern).await;
        if matches!(pattern.kind, Kind::Growing | Kind::Zeroed) {
            files.clear(); // the next patterns need written files
        }
    }
    drop(files);
    disk.remove_dir_all(&dir).await.expect("the folder is ours");
}

fn main() {
    let mut given = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let own = || std::env::current_exe().expect("a path").with_extension("data");
    let dir =
        given.next().map_or_else(own, PathBuf::from).join(format!("hayate-bench-{}", std::process::id()));
    let filter = given.next().unwrap_or_default();
    let builder = glommio::LocalExecutorBuilder::new(glommio::Placement::Fixed(0));
    let executor = builder.spawn(move || bench(dir, filter)).expect("an executor");
    executor.join().expect("the bench ends");
}
