//! What a simulated disk does beyond answering: crashes, faults, and what they may never take.

use super::*;
use crate::disk::tests::{filled, runs};
use crate::disk::{Disk, DiskError, Durability, File, OpenMode};
use hayate_rt::Queue;
use std::collections::BTreeMap;
use std::future::Future;

const NODE: NodeId = NodeId(1);
const HOUR: Duration = Duration::from_secs(3600);
const BLOCK: u64 = BLOCK_BYTES as u64;
const ALWAYS: u64 = 1_000_000;

/// One simulation with one node and its disk.
struct World {
    sim: Sim,
    device: SimDisk,
}

impl World {
    fn new(seed: u64) -> World {
        World::with(seed, FaultPlan::default())
    }

    fn with(seed: u64, plan: FaultPlan) -> World {
        let sim = Sim::new(seed);
        let device = SimDisk::new(&sim, NODE, plan);
        World { sim, device }
    }

    /// Runs on the node's present incarnation, to the end.
    fn run<T: 'static, F: Future<Output = T> + 'static>(&self, on: impl FnOnce(Disk, Rt) -> F) -> T {
        let rt = Rt::sim(self.sim.node(NODE));
        let disk = Disk::sim(&self.device, &rt);
        self.sim.run(HOUR, on(disk, rt)).unwrap()
    }

    /// Runs on the node's present incarnation until the power fails, after `span` or earlier.
    fn run_until_crash<F: Future<Output = ()> + 'static>(
        &self,
        span: Duration,
        on: impl FnOnce(Disk, Rt) -> F,
    ) {
        let rt = Rt::sim(self.sim.node(NODE));
        let disk = Disk::sim(&self.device, &rt);
        rt.spawn(Queue::Foreground, on(disk, rt.clone())).detach();
        self.sim.run(HOUR, self.sim.sleep(span)).unwrap();
        self.crash();
    }

    fn crash(&self) {
        self.sim.crash(NODE);
        self.device.crash();
    }

    /// What a process finds in a file, as runs; `absent` when it is not there.
    fn show(&self, path: &str) -> String {
        self.device.read_visible(path).map_or("absent".to_owned(), |bytes| runs(&bytes))
    }
}

/// A file of `blocks` blocks of `o`, its bytes and its name durable.
async fn old_file(disk: &Disk, path: &str, blocks: usize) -> File {
    let file = disk.open(path, OpenMode::CreateNew).await.unwrap();
    file.write_at(0, filled(blocks * BLOCK_BYTES, b'o'), Durability::Cached).await.unwrap();
    file.sync().await.unwrap();
    disk.sync_dir("/").await.unwrap();
    file
}

/// How often each outcome of a scenario appears over many seeds.
fn outcomes(seeds: u64, mut scenario: impl FnMut(u64) -> String) -> BTreeMap<String, u32> {
    let mut seen = BTreeMap::new();
    for seed in 0..seeds {
        *seen.entry(scenario(seed)).or_insert(0) += 1;
    }
    seen
}

fn assert_seen(seen: &BTreeMap<String, u32>, wanted: &[&str]) {
    for outcome in wanted {
        assert!(seen.contains_key(*outcome), "never saw {outcome:?} among {seen:?}");
    }
}

#[test]
fn an_unsynced_write_is_lost_kept_or_torn() {
    let seen = outcomes(300, |seed| {
        let world = World::new(seed);
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 1).await;
            file.write_at(0, filled(BLOCK_BYTES, b'n'), Durability::Cached).await.unwrap();
        });
        world.crash();
        world.show("/f")
    });
    assert_seen(&seen, &["o*4096", "n*4096", "n*512 o*3584", "o*3584 n*512"]);
    let torn = |shown: &String| shown.split(' ').all(|run| run[2..].parse::<u32>().unwrap() % 512 == 0);
    assert!(seen.keys().all(torn), "tears only between sectors: {seen:?}");
}

#[test]
fn unsynced_writes_survive_in_any_combination() {
    let seen = outcomes(400, |seed| {
        let world = World::new(seed);
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 2).await;
            file.write_at(0, filled(BLOCK_BYTES, b'1'), Durability::Cached).await.unwrap();
            file.write_at(BLOCK, filled(BLOCK_BYTES, b'2'), Durability::Cached).await.unwrap();
        });
        world.crash();
        world.show("/f")
    });
    assert_seen(&seen, &["o*8192", "1*4096 o*4096", "o*4096 2*4096", "1*4096 2*4096"]);
}

#[test]
fn a_write_in_flight_is_lost_kept_or_torn_even_if_it_was_to_be_durable() {
    for bytes in [BLOCK_BYTES, 16 * BLOCK_BYTES] {
        let seen = outcomes(300, |seed| {
            let world = World::new(seed);
            world.run(|disk, _| async move {
                old_file(&disk, "/f", 16).await;
            });
            let span = Duration::from_micros(world.sim.random_below(400));
            world.run_until_crash(span, |disk, _| async move {
                let file = disk.open("/f", OpenMode::ReadWrite).await.unwrap();
                file.write_at(0, filled(bytes, b'n'), Durability::Durable).await.unwrap();
            });
            match world.show("/f") {
                shown if shown == "o*65536" => "old".to_owned(),
                shown if shown.starts_with(&format!("n*{bytes}")) => "new".to_owned(),
                _ => "torn".to_owned(),
            }
        });
        assert_seen(&seen, &["old", "new", "torn"]);
    }
}

/// What each sector of a file may hold after a crash: the value that was made durable, or a later one.
struct Model {
    sectors: Vec<Vec<u8>>,
}

impl Model {
    fn wrote(&mut self, pos: u64, bytes: usize, letter: u8) {
        for sector in &mut self.sectors[pos as usize / SECTOR_BYTES..][..bytes / SECTOR_BYTES] {
            sector.push(letter);
        }
    }

    fn hardened(&mut self, pos: u64, bytes: usize) {
        for sector in &mut self.sectors[pos as usize / SECTOR_BYTES..][..bytes / SECTOR_BYTES] {
            sector.drain(..sector.len() - 1);
        }
    }

    fn check(&self, seed: u64, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.sectors.len() * SECTOR_BYTES, "seed {seed}");
        for (number, (sector, allowed)) in bytes.chunks(SECTOR_BYTES).zip(&self.sectors).enumerate() {
            let whole = sector.iter().all(|&byte| byte == sector[0]);
            assert!(
                whole && allowed.contains(&sector[0]),
                "seed {seed}: sector {number} is {}",
                runs(sector)
            );
        }
    }
}

/// Random writes, syncs and durable writes; returns what a crash may leave.
async fn scribble(disk: Disk, rt: Rt, blocks: u64) -> Model {
    let file = old_file(&disk, "/f", blocks as usize).await;
    let mut model = Model { sectors: vec![vec![b'o']; blocks as usize * BLOCK_BYTES / SECTOR_BYTES] };
    for letter in b'A'..b'A' + 20 {
        let first = rt.random_below(blocks);
        let bytes = BLOCK_BYTES * (1 + rt.random_below((blocks - first).min(12))) as usize;
        let pos = first * BLOCK;
        let durability = if rt.random_below(3) == 0 { Durability::Durable } else { Durability::Cached };
        file.write_at(pos, filled(bytes, letter), durability).await.unwrap();
        model.wrote(pos, bytes, letter);
        if durability == Durability::Durable {
            model.hardened(pos, bytes);
        }
        if rt.random_below(6) == 0 {
            file.sync().await.unwrap();
            model.hardened(0, blocks as usize * BLOCK_BYTES);
        }
    }
    model
}

#[test]
fn what_was_synced_survives_every_crash_and_no_sector_is_invented() {
    for seed in 0..1000 {
        let world = World::new(seed);
        let model = world.run(|disk, rt| scribble(disk, rt, 16));
        world.crash();
        model.check(seed, &world.device.read_visible("/f").unwrap());
        assert_eq!(world.device.read_visible("/f"), world.device.read_durable("/f"));
    }
}

#[test]
fn garbage_appears_in_harsh_mode_only_and_only_where_something_was_unsynced() {
    let mut spoiled = 0;
    for seed in 0..100 {
        let plan = FaultPlan { garbage_sector: true, ..FaultPlan::default() };
        let world = World::with(seed, plan);
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 4).await;
            file.write_at(BLOCK, filled(BLOCK_BYTES, b'n'), Durability::Cached).await.unwrap();
        });
        world.crash();
        let bytes = world.device.read_visible("/f").unwrap();
        let foreign: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != b'o' && bytes[at] != b'n').collect();
        assert!(foreign.iter().all(|at| at / BLOCK_BYTES == 1), "seed {seed}");
        assert!(foreign.iter().all(|at| at / SECTOR_BYTES == foreign[0] / SECTOR_BYTES), "seed {seed}");
        spoiled += u32::from(!foreign.is_empty());
    }
    assert!(spoiled > 90, "{spoiled}");
}

#[test]
fn an_unsynced_length_may_be_lost_and_never_shows_old_bytes() {
    let seen = outcomes(200, |seed| {
        let world = World::new(seed);
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 2).await;
            file.truncate(BLOCK).await.unwrap();
        });
        world.crash();
        world.show("/f")
    });
    assert_seen(&seen, &["o*8192", "o*4096"]);
    let seen = outcomes(300, |seed| {
        let world = World::new(seed);
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 1).await;
            file.write_at(BLOCK, filled(BLOCK_BYTES, b'n'), Durability::Cached).await.unwrap();
        });
        world.crash();
        world.show("/f")
    });
    assert_seen(&seen, &["o*4096", "o*4096 n*4096", "o*4096 0*4096"]);
}

#[test]
fn a_durable_write_hardens_the_length_but_not_earlier_bytes() {
    let seen = outcomes(300, |seed| {
        let world = World::new(seed);
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 3).await;
            file.write_at(0, filled(BLOCK_BYTES, b'1'), Durability::Cached).await.unwrap();
            file.truncate(BLOCK).await.unwrap();
            file.write_at(2 * BLOCK, filled(BLOCK_BYTES, b'3'), Durability::Durable).await.unwrap();
        });
        world.crash();
        let shown = world.show("/f");
        assert!(shown.ends_with("0*4096 3*4096"), "{shown}");
        shown
    });
    assert_seen(&seen, &["o*4096 0*4096 3*4096", "1*4096 0*4096 3*4096"]);
}

#[test]
fn a_new_file_may_vanish_until_its_folder_is_synced() {
    let scenario = |synced: bool| {
        outcomes(100, |seed| {
            let world = World::new(seed);
            world.run(|disk, _| async move {
                disk.create_dir_all("/d").await.unwrap();
                let file = disk.open("/d/f", OpenMode::CreateNew).await.unwrap();
                file.write_at(0, filled(BLOCK_BYTES, b'n'), Durability::Durable).await.unwrap();
                if synced {
                    disk.sync_dir("/d").await.unwrap();
                }
            });
            world.crash();
            world.show("/d/f")
        })
    };
    assert_seen(&scenario(false), &["absent", "n*4096"]);
    assert_eq!(scenario(true).keys().collect::<Vec<_>>(), ["n*4096"]);
}

#[test]
fn a_rename_is_atomic_and_unsynced_may_be_undone() {
    let seen = outcomes(100, |seed| {
        let world = World::new(seed);
        world.run(|disk, _| async move {
            let _one = old_file(&disk, "/a", 1).await;
            disk.rename("/a", "/b").await.unwrap();
            disk.rename("/b", "/c").await.unwrap();
        });
        world.crash();
        ["/a", "/b", "/c"].iter().filter(|path| world.device.read_durable(path).is_some()).copied().collect()
    });
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["/a", "/b", "/c"]);
}

#[test]
fn syncing_the_target_folder_of_a_rename_hardens_both_ends() {
    for seed in 0..50 {
        let world = World::new(seed);
        world.run(|disk, _| async move {
            disk.create_dir_all("/d").await.unwrap();
            disk.create_dir_all("/e").await.unwrap();
            disk.open("/d/f", OpenMode::CreateNew).await.unwrap();
            disk.rename("/d/f", "/e/g").await.unwrap();
            disk.sync_dir("/e").await.unwrap();
        });
        world.crash();
        assert_eq!((world.show("/d/f").as_str(), world.show("/e/g").as_str()), ("absent", ""), "seed {seed}");
    }
}

#[test]
fn a_small_file_is_the_old_one_or_the_new_one_whenever_the_power_fails() {
    let seen = outcomes(300, |seed| {
        let world = World::new(seed);
        world.run(|disk, _| async move { disk.replace_small("/s", &[b'o'; 100]).await.unwrap() });
        let span = Duration::from_micros(world.sim.random_below(2500));
        world.run_until_crash(span, |disk, _| async move {
            disk.replace_small("/s", &[b'n'; 5000]).await.unwrap();
        });
        let temporary = if world.device.read_durable("/s.tmp").is_some() { " and a temporary" } else { "" };
        world.show("/s") + temporary
    });
    assert_seen(&seen, &["o*100", "n*5000", "o*100 and a temporary"]);
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn a_full_disk_takes_what_fits_and_recovers_when_there_is_room() {
    let plan = FaultPlan { capacity_bytes: Some(10 * BLOCK), ..FaultPlan::default() };
    let world = World::with(1, plan);
    let device = world.device.clone();
    world.run(|disk, _| async move {
        let file = old_file(&disk, "/f", 6).await;
        assert!(file.allocate(11 * BLOCK).await.unwrap_err().is_no_space());
        assert!(file.len().await.unwrap() >= 6 * BLOCK);
        file.truncate(6 * BLOCK).await.unwrap();
        let refused = file.write_at(6 * BLOCK, filled(6 * BLOCK_BYTES, b'n'), Durability::Durable).await;
        assert!(refused.unwrap_err().is_no_space());
        assert_eq!(file.len().await, Ok(10 * BLOCK), "four blocks did fit");
        file.write_at(0, filled(BLOCK_BYTES, b'w'), Durability::Durable).await.unwrap();
        assert_eq!(disk.space("/").await, Ok(DiskSpace { total_bytes: 10 * BLOCK, free_bytes: 0 }));
        let small = disk.replace_small("/s", b"x").await;
        assert!(small.unwrap_err().is_no_space());
        device.set_capacity(Some(20 * BLOCK));
        disk.replace_small("/s", b"x").await.unwrap();
        file.write_at(10 * BLOCK, filled(BLOCK_BYTES, b'n'), Durability::Durable).await.unwrap();
        file.truncate(0).await.unwrap();
        assert_eq!(disk.space("/").await, Ok(DiskSpace { total_bytes: 20 * BLOCK, free_bytes: 19 * BLOCK }));
    });
    assert!(world.sim.counts()["fault disk no space"] >= 3);
}

#[test]
fn a_failing_device_fails_writes_syncs_and_reads() {
    let failing = |seed, plan: FaultPlan| {
        let world = World::new(seed);
        let device = world.device.clone();
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 4).await;
            device.set_plan(plan);
            let cached = file.write_at(0, filled(BLOCK_BYTES, b'n'), Durability::Cached).await;
            let durable = file.write_at(0, filled(BLOCK_BYTES, b'n'), Durability::Durable).await;
            let outcomes = [cached, durable, file.sync().await, file.read_at(0, 1).await.map(drop)];
            outcomes.map(|outcome| match outcome {
                Ok(()) => true,
                Err(DiskError::Io { errno, .. }) => {
                    assert_eq!(errno, libc::EIO);
                    false
                }
                Err(other) => panic!("{other}"),
            })
        })
    };
    let sound = FaultPlan::default();
    let plan = FaultPlan { write_errors_per_million: ALWAYS, ..sound.clone() };
    assert_eq!(failing(1, plan), [false, false, true, true]);
    let plan = FaultPlan { sync_errors_per_million: ALWAYS, ..sound.clone() };
    assert_eq!(failing(2, plan), [true, false, false, true]);
    let plan = FaultPlan { read_errors_per_million: ALWAYS, ..sound };
    assert_eq!(failing(3, plan), [true, true, true, false]);
}

#[test]
fn after_a_failed_sync_a_later_success_proves_nothing() {
    let seen = outcomes(100, |seed| {
        let world = World::new(seed);
        let device = world.device.clone();
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 1).await;
            file.write_at(0, filled(BLOCK_BYTES, b'n'), Durability::Cached).await.unwrap();
            device.set_plan(FaultPlan { sync_errors_per_million: ALWAYS, ..FaultPlan::default() });
            file.sync().await.unwrap_err();
            device.set_plan(FaultPlan::default());
            file.sync().await.unwrap();
            assert_eq!(runs(&file.read_at(0, BLOCK_BYTES).await.unwrap()), "n*4096");
        });
        world.crash();
        world.show("/f")
    });
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["n*4096", "o*4096"]);
}

#[test]
#[should_panic(expected = "two writes in flight overlap")]
fn overlapping_writes_in_flight_are_a_defect_of_the_caller() {
    World::new(1).run(|disk, rt| async move {
        let file = old_file(&disk, "/f", 4).await;
        let other = file.clone();
        let first = rt.spawn(Queue::Foreground, async move {
            other.write_at(0, filled(2 * BLOCK_BYTES, b'1'), Durability::Cached).await
        });
        rt.sleep(Duration::from_micros(1)).await;
        drop(file.write_at(BLOCK, filled(BLOCK_BYTES, b'2'), Durability::Cached).await);
        drop(first.await);
    });
}

#[test]
fn a_dropped_write_may_still_happen_and_writes_finish_out_of_order() {
    let world = World::new(5);
    world.run(|disk, rt| async move {
        let file = old_file(&disk, "/f", 1).await;
        let write = file.write_at(0, filled(BLOCK_BYTES, b'n'), Durability::Cached);
        rt.timeout(Duration::from_micros(1), write).await.unwrap_err();
        rt.sleep(Duration::from_millis(5)).await;
        assert_eq!(runs(&file.read_at(0, BLOCK_BYTES).await.unwrap()), "n*4096");
    });
    let order = |seed| {
        World::new(seed).run(|disk, rt| async move {
            let file = old_file(&disk, "/f", 2).await;
            let finished = Rc::new(RefCell::new(String::new()));
            let start = |block: u64| {
                let (file, finished) = (file.clone(), finished.clone());
                rt.spawn(Queue::Foreground, async move {
                    file.write_at(block * BLOCK, filled(BLOCK_BYTES, b'n'), Durability::Cached)
                        .await
                        .unwrap();
                    finished.borrow_mut().push_str(&block.to_string());
                })
            };
            let (first, second) = (start(0), start(1));
            first.await;
            second.await;
            finished.take()
        })
    };
    assert_seen(&outcomes(50, order), &["01", "10"]);
}

#[test]
fn a_read_beside_a_write_in_flight_sees_each_sector_old_or_new() {
    let seen = outcomes(200, |seed| {
        World::new(seed).run(|disk, rt| async move {
            let file = old_file(&disk, "/f", 1).await;
            let writing = file.clone();
            let write = rt.spawn(Queue::Foreground, async move {
                writing.write_at(0, filled(BLOCK_BYTES, b'n'), Durability::Cached).await
            });
            let read = runs(&file.read_at(0, BLOCK_BYTES).await.unwrap());
            write.await.unwrap();
            if read.contains(' ') { "mixed".to_owned() } else { read }
        })
    });
    assert_seen(&seen, &["o*4096", "n*4096", "mixed"]);
}

#[test]
fn the_death_of_a_process_loses_nothing_that_was_answered() {
    for seed in 0..100 {
        let world = World::new(seed);
        world.run(|disk, _| async move {
            let file = old_file(&disk, "/f", 1).await;
            file.write_at(0, filled(BLOCK_BYTES, b'n'), Durability::Cached).await.unwrap();
            disk.rename("/f", "/g").await.unwrap();
        });
        world.sim.crash(NODE);
        world.device.kill();
        assert_eq!(world.show("/g"), "n*4096");
        assert_eq!(world.device.read_durable("/f").map(|bytes| runs(&bytes)), Some("o*4096".to_owned()));
    }
}

#[test]
fn handles_from_before_a_crash_never_answer() {
    let world = World::new(1);
    let stale = world.run(|disk, _| async move { old_file(&disk, "/f", 1).await });
    world.crash();
    let outcome = world.sim.run(HOUR, async move { stale.sync().await });
    assert_eq!(outcome, Err(hayate_rt::sim::Stalled::Deadlock));
}

#[test]
fn corruption_shows_at_once_and_for_good() {
    let world = World::new(1);
    world.run(|disk, _| async move {
        old_file(&disk, "/f", 1).await;
    });
    world.device.corrupt("/f", 7);
    let spoiled = world.device.read_visible("/f").unwrap();
    assert_eq!((spoiled[6], spoiled[7], spoiled[8]), (b'o', !b'o', b'o'));
    assert_eq!(world.device.read_durable("/f"), Some(spoiled));
}

#[test]
fn the_same_seed_twice_gives_the_same_disk_and_the_same_trace() {
    let run = |seed| {
        let plan =
            FaultPlan { garbage_sector: true, slow_syncs_per_million: 100_000, ..FaultPlan::default() };
        let world = World::with(seed, plan);
        let _model = world.run(|disk, rt| scribble(disk, rt, 16));
        world.crash();
        (world.device.read_durable("/f"), world.sim.trace_hash(), world.sim.counts())
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11).1, run(12).1);
}
