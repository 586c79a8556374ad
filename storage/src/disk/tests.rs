//! One suite for both halves: scripts of operations, each with the answer that it must give, so that the simulated disk
//! cannot drift from the real one.
//!
//! A line is `operation arguments -> answer`; without an arrow the answer is `ok`. Sizes are in bytes, `4k` is a block.
//! Written bytes are one letter; read bytes are shown as runs, `a*4096 0*10`.

use super::*;
use std::collections::BTreeMap;

/// What files must do, whichever half they are on.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "what is written is read back, at any position and length",
        "create f
         write f 0 4k a
         write f 4k 8k b durable
         len f -> 12288
         read f 0 12k -> a*4096 b*8192
         read f 4090 10 -> a*6 b*4
         read f 12287 1 -> b*1
         sync f
         read f 1 1 -> a*1",
    ),
    (
        "a read is shorter at the end of the file only, and empty beyond it",
        "create f
         write f 0 8k a
         read f 8000 1000 -> a*192
         read f 8192 10 ->
         read f 1m 10 ->
         truncate f 5000
         len f -> 5000
         read f 0 8k -> a*5000
         read f 4999 5000 -> a*1
         read f 5000 1 ->
         read f 5001 1 ->",
    ),
    (
        "holes and what a truncation cut off read as zeroes",
        "create f
         write f 8k 4k a
         read f 0 12k -> 0*8192 a*4096
         truncate f 10000
         truncate f 12k
         read f 8k 4k -> a*1808 0*2288",
    ),
    (
        "a later write replaces an earlier one",
        "create f
         write f 0 12k a durable
         write f 4k 4k b durable
         read f 0 12k -> a*4096 b*4096 a*4096
         write f 0 64k c durable
         write f 0 4k d
         sync f
         read f 0 64k -> d*4096 c*61440",
    ),
    (
        "allocation makes room and never cuts",
        "create f
         allocate f 64k
         len f -> 65536
         read f 60k 8k -> 0*4096
         write f 0 4k a durable
         allocate f 4k
         len f -> 65536
         allocate f 100000000m -> no space
         len f -> 65536
         read f 0 8k -> a*4096 0*4096",
    ),
    (
        "missing files are told apart from other errors",
        "open f -> not found
         read_small f 10 -> none
         exists f -> false
         remove f -> not found
         rename f g -> not found
         list d -> not found
         sync_dir d -> not found
         remove_dir d -> not found
         create d/f -> not found
         replace_small d/f a 10 -> not found",
    ),
    (
        "a new file must be new",
        "create f
         create f -> exists
         close f
         open f
         write f 0 4k a
         close f
         open_read f
         read f 0 4k -> a*4096
         write f 0 4k b -> errno 9",
    ),
    (
        "a rename replaces a file, keeps its bytes and open handles",
        "create f
         write f 0 4k a durable
         create g
         write g 0 4k b durable
         rename f g
         sync_dir .
         exists f -> false
         read f 0 4k -> a*4096
         close f
         close g
         open g
         read g 0 4k -> a*4096
         write g 0 4k c
         read g 0 4k -> c*4096",
    ),
    (
        "a removed file can be read until it is closed",
        "create f
         write f 0 4k a
         remove f
         exists f -> false
         read f 0 4k -> a*4096
         close f
         open f -> not found",
    ),
    (
        "small files are replaced whole",
        "replace_small f a 10
         read_small f 10 -> a*10
         replace_small f b 5000
         read_small f 5000 -> b*5000
         replace_small f c 1
         read_small f 5000 -> c*1
         read_small f 0 -> too large: 1
         replace_small f a 0
         read_small f 0 ->
         list . -> f:0",
    ),
    (
        "folders are made with their parents and listed in order",
        "mkdir d/e/f
         mkdir d/e/f
         create d/b
         write d/b 0 4k a
         create d/a
         list d -> a:0 b:4096 e/
         list d/e -> f/
         exists d/e -> true",
    ),
    (
        "folders are renamed with what is in them, and removed with it",
        "mkdir t-0/x
         create t-0/f
         write t-0/f 0 4k a durable
         rename t-0 t-0-delete
         sync_dir .
         exists t-0 -> false
         read t-0/f 0 4k -> a*4096
         list t-0-delete -> f:4096 x/
         mkdir t-0
         list t-0 ->
         remove_dir t-0-delete
         list . -> t-0/",
    ),
    (
        "a folder is no file and a file no folder",
        "mkdir d
         create f
         mkdir f -> exists
         list f -> errno 20
         remove d -> errno 21
         create d -> exists
         mkdir d/e
         rename f d -> errno 21",
    ),
    ("space is there", "free . -> some"),
];

/// Runs scripts: files are known by the path that they were opened under.
struct Runner {
    disk: Disk,
    root: std::path::PathBuf,
    open: BTreeMap<String, File>,
}

fn number(text: &str) -> u64 {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1024),
        Some(b'm') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<u64>().unwrap() * unit
}

/// A block-aligned buffer of one letter.
pub(super) fn filled(len: usize, letter: u8) -> Bytes {
    let mut buf = AlignedBuf::zeroed(len).unwrap();
    buf.as_mut_slice().fill(letter);
    buf.into_bytes()
}

/// Shows bytes as runs.
pub(super) fn runs(bytes: &[u8]) -> String {
    let runs = bytes.chunk_by(|one, next| one == next);
    let shown = runs.map(|run| format!("{}*{}", if run[0] == 0 { '0' } else { run[0] as char }, run.len()));
    shown.collect::<Vec<_>>().join(" ")
}

fn show_error(error: DiskError) -> String {
    match error {
        DiskError::NotFound { .. } => "not found".to_owned(),
        DiskError::AlreadyExists { .. } => "exists".to_owned(),
        DiskError::TooLarge { len_bytes, .. } => format!("too large: {len_bytes}"),
        DiskError::NoSpace { .. } => "no space".to_owned(),
        DiskError::Io { errno, .. } => format!("errno {errno}"),
        other => other.to_string(),
    }
}

fn show_entry(entry: &DirEntry) -> String {
    assert!(entry.is_dir || entry.modified_ms > 1_600_000_000_000, "{entry:?} has no time");
    if entry.is_dir { format!("{}/", entry.name) } else { format!("{}:{}", entry.name, entry.len_bytes) }
}

impl Runner {
    async fn step(&mut self, words: &[&str]) -> Result<String, DiskError> {
        match words[0] {
            "create" | "open" | "open_read" | "close" => self.handle(words).await,
            "read" | "write" | "truncate" | "allocate" | "len" | "sync" => self.file(words).await,
            _ => self.names(words).await,
        }
    }

    async fn handle(&mut self, words: &[&str]) -> Result<String, DiskError> {
        let name = words[1].to_owned();
        let mode = match words[0] {
            "create" => OpenMode::CreateNew,
            "open" => OpenMode::ReadWrite,
            "open_read" => OpenMode::Read,
            _ => {
                self.open.remove(&name).unwrap().close().await;
                return Ok("ok".to_owned());
            }
        };
        let path = self.root.join(&name);
        let file = self.disk.open(&path, mode).await?;
        assert_eq!(file.path(), path);
        self.open.insert(name, file);
        Ok("ok".to_owned())
    }

    async fn file(&mut self, words: &[&str]) -> Result<String, DiskError> {
        let file = self.open[words[1]].clone();
        let arg = |at: usize| number(words[at]);
        match words[0] {
            "read" => return Ok(runs(&file.read_at(arg(2), arg(3) as usize).await?)),
            "len" => return Ok(file.len().await?.to_string()),
            "write" => {
                let durable = words.get(5) == Some(&"durable");
                let durability = if durable { Durability::Durable } else { Durability::Cached };
                let data = filled(arg(3) as usize, words[4].as_bytes()[0]);
                file.write_at(arg(2), data, durability).await?;
            }
            "truncate" => file.truncate(arg(2)).await?,
            "allocate" => file.allocate(arg(2)).await?,
            "sync" => file.sync().await?,
            other => panic!("no such operation: {other}"),
        }
        Ok("ok".to_owned())
    }

    async fn names(&mut self, words: &[&str]) -> Result<String, DiskError> {
        let path = if words[1] == "." { self.root.clone() } else { self.root.join(words[1]) };
        match words[0] {
            "mkdir" => self.disk.create_dir_all(&path).await?,
            "list" => {
                let entries = self.disk.list(&path).await?;
                return Ok(entries.iter().map(show_entry).collect::<Vec<_>>().join(" "));
            }
            "rename" => self.disk.rename(&path, self.root.join(words[2])).await?,
            "remove" => self.disk.remove_file(&path).await?,
            "remove_dir" => self.disk.remove_dir_all(&path).await?,
            "sync_dir" => self.disk.sync_dir(&path).await?,
            "exists" => return Ok(self.disk.exists(&path).await?.to_string()),
            "read_small" => {
                let bytes = self.disk.read_small(&path, number(words[2]) as usize).await?;
                return Ok(bytes.map_or("none".to_owned(), |bytes| runs(&bytes)));
            }
            "replace_small" => {
                let bytes = vec![words[2].as_bytes()[0]; number(words[3]) as usize];
                self.disk.replace_small(&path, &bytes).await?;
            }
            "free" => {
                let space = self.disk.space(&path).await?;
                assert!(space.total_bytes >= space.free_bytes);
                return Ok(if space.free_bytes > 0 { "some" } else { "none" }.to_owned());
            }
            other => panic!("no such operation: {other}"),
        }
        Ok("ok".to_owned())
    }
}

/// Runs every script on `disk`, each in a folder of its own below `root`.
async fn run_scripts(disk: Disk, root: &Path) {
    for (number, (title, script)) in SCRIPTS.iter().enumerate() {
        let root = root.join(format!("case-{number}"));
        disk.create_dir_all(&root).await.unwrap();
        let mut runner = Runner { disk: disk.clone(), root, open: BTreeMap::new() };
        for line in script.lines().map(str::trim) {
            let (step, wanted) = match line.split_once("->") {
                Some((step, wanted)) => (step, wanted.trim()),
                None => (line, "ok"),
            };
            let words: Vec<&str> = step.split_whitespace().collect();
            let answer = runner.step(&words).await.unwrap_or_else(show_error);
            assert_eq!(answer, wanted, "{title}: {line}");
        }
    }
}

/// A folder of the machine's that is gone when the test is.
pub(super) struct TempDir(pub(super) std::path::PathBuf);

impl TempDir {
    /// Under the build's folder: the usual place for temporary files may lack direct IO.
    pub(super) fn new(name: &str) -> TempDir {
        let base = std::env::current_exe().unwrap().parent().unwrap().join("disk-tests");
        let path = base.join(format!("{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn the_kernel_half_does_what_the_scripts_say() {
    let dir = TempDir::new("scripts");
    let root = dir.0.clone();
    glommio::LocalExecutor::default().run(async move {
        let disk = Disk::kernel(&Rt::kernel()).unwrap();
        run_scripts(disk, &root).await;
    });
}

#[cfg(feature = "sim")]
#[test]
fn the_simulated_half_does_what_the_scripts_say() {
    use hayate_rt::sim::{NodeId, Sim};
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let rt = Rt::sim(sim.node(NodeId(1)));
        let disk = Disk::sim(&sim::SimDisk::new(&sim, NodeId(1), sim::FaultPlan::default()), &rt);
        let limit = std::time::Duration::from_secs(3600);
        sim.run(limit, async move { run_scripts(disk, Path::new("/data")).await }).unwrap();
    }
}

#[test]
fn blocks_around_a_range_hold_it_or_are_refused() {
    assert_eq!(blocks_around(0, 1), Some((0, 4096)));
    assert_eq!(blocks_around(4095, 2), Some((0, 8192)));
    assert_eq!(blocks_around(8192, 4096), Some((8192, 4096)));
    assert_eq!(blocks_around(u64::MAX - 1, 1), None);
    assert_eq!(blocks_around(i64::MAX as u64, 4096), None);
}

#[test]
fn parents_and_temporaries_of_paths() {
    assert_eq!(parent_of(Path::new("/a/b")), Path::new("/a"));
    assert_eq!(parent_of(Path::new("b")), Path::new("."));
    assert_eq!(parent_of(Path::new("/")), Path::new("/"));
    assert_eq!(temporary_of(Path::new("/a/b.c")), Path::new("/a/b.c.tmp"));
}
