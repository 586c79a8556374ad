//! Sessions as tables: a client's requests, and what it gets to see.

use super::*;
use hayate_net::error::ErrorCode;
use hayate_rt::MonoTime;
use std::time::Duration;

const NOW: MonoTime = MonoTime::from_nanos(0);

fn key(partition: i32) -> SessionKey {
    SessionKey { topic: SessionTopic::Id(Uuid::from_u128(7)), partition }
}

fn wanted(fetch_offset: i64) -> Wanted {
    Wanted { fetch_offset, current_leader_epoch: -1, last_fetched_epoch: -1, max_bytes: 1 << 20 }
}

fn answer(partition: i32, high_watermark: i64) -> FetchedPartition {
    FetchedPartition { high_watermark, log_start_offset: 0, ..FetchedPartition::empty(partition) }
}

fn request(session_id: i32, epoch: i32, partitions: &[i32], forgotten: &[i32]) -> SessionRequest {
    SessionRequest {
        session_id,
        epoch,
        by_id: true,
        wanted: partitions.iter().map(|&partition| (key(partition), wanted(0))).collect(),
        forgotten: forgotten.iter().copied().map(key).collect(),
    }
}

/// One request against a cache whose partitions have these high watermarks; the session and the partitions shown.
fn fetch(
    cache: &mut SessionCache,
    request: SessionRequest,
    high_watermarks: impl Fn(i32) -> i64,
    now: MonoTime,
) -> Result<(i32, Vec<i32>), ErrorCode> {
    let context = cache.begin(request, now)?;
    let answers = context
        .wanted()
        .iter()
        .map(|(key, _)| answer(key.partition, high_watermarks(key.partition)))
        .collect();
    let mut seed = 1u64;
    let draw = || {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        seed
    };
    let answer = cache.finish(context, answers, draw, now)?;
    Ok((answer.session_id, answer.partitions.iter().map(|(key, _)| key.partition).collect()))
}

#[test]
fn after_a_full_fetch_only_what_changed_is_shown_and_goes_behind_the_others() {
    let mut cache = SessionCache::new(10);
    let (id, shown) = fetch(&mut cache, request(0, 0, &[1, 2, 3], &[]), |_| 5, NOW).unwrap();
    assert!(id > 0);
    assert_eq!(shown, [1, 2, 3]);
    assert_eq!(fetch(&mut cache, request(id, 1, &[], &[]), |_| 5, NOW), Ok((id, vec![])));
    let grown = |partition| if partition == 1 { 6 } else { 5 };
    assert_eq!(fetch(&mut cache, request(id, 2, &[], &[]), grown, NOW), Ok((id, vec![1])));
    assert_eq!(fetch(&mut cache, request(id, 3, &[], &[]), |_| 9, NOW), Ok((id, vec![2, 3, 1])));
}

#[test]
fn partitions_come_and_go() {
    let mut cache = SessionCache::new(10);
    let (id, _) = fetch(&mut cache, request(0, 0, &[1, 2], &[]), |_| 5, NOW).unwrap();
    assert_eq!(fetch(&mut cache, request(id, 1, &[3], &[1]), |_| 5, NOW), Ok((id, vec![3])));
    assert_eq!(fetch(&mut cache, request(id, 2, &[], &[]), |_| 6, NOW), Ok((id, vec![2, 3])));
    assert_eq!(fetch(&mut cache, request(id, 3, &[], &[2, 3]), |_| 6, NOW), Ok((0, vec![])));
    assert!(cache.is_empty(), "an empty session is over");
}

#[test]
fn epochs_follow_kafkas_rules() {
    let mut cache = SessionCache::new(10);
    let (id, _) = fetch(&mut cache, request(0, 0, &[1], &[]), |_| 5, NOW).unwrap();
    let wrong = fetch(&mut cache, request(id, 2, &[], &[]), |_| 5, NOW);
    assert_eq!(wrong, Err(ErrorCode::InvalidFetchSessionEpoch));
    let unknown = fetch(&mut cache, request(id ^ 1, 1, &[], &[]), |_| 5, NOW);
    assert_eq!(unknown, Err(ErrorCode::FetchSessionIdNotFound));
    let by_name = SessionRequest { by_id: false, ..request(id, 1, &[], &[]) };
    assert_eq!(fetch(&mut cache, by_name, |_| 5, NOW), Err(ErrorCode::FetchSessionTopicIdError));
    assert_eq!(fetch(&mut cache, request(id, 1, &[], &[]), |_| 5, NOW), Ok((id, vec![])));
    assert_eq!(fetch(&mut cache, request(id, -1, &[1], &[]), |_| 5, NOW), Ok((0, vec![1])));
    assert!(cache.is_empty(), "the final epoch ends the session");
}

#[test]
fn a_fetch_that_was_overtaken_is_refused() {
    let mut cache = SessionCache::new(10);
    let (id, _) = fetch(&mut cache, request(0, 0, &[1], &[]), |_| 5, NOW).unwrap();
    let slow = cache.begin(request(id, 1, &[], &[]), NOW).unwrap();
    cache.begin(request(id, 2, &[], &[]), NOW).unwrap();
    let late = cache.finish(slow, vec![answer(1, 5)], || 1 << 40, NOW);
    assert_eq!(late.err(), Some(ErrorCode::InvalidFetchSessionEpoch));
}

#[test]
fn errors_are_told_each_time_and_their_end_too() {
    let mut cache = SessionCache::new(10);
    let (id, _) = fetch(&mut cache, request(0, 0, &[1], &[]), |_| 5, NOW).unwrap();
    for epoch in 1..3 {
        let context = cache.begin(request(id, epoch, &[], &[]), NOW).unwrap();
        let failed = vec![FetchedPartition::failed(1, ErrorCode::KafkaStorageError)];
        assert_eq!(cache.finish(context, failed, || 0, NOW).unwrap().partitions.len(), 1);
    }
    assert_eq!(fetch(&mut cache, request(id, 3, &[], &[]), |_| 5, NOW), Ok((id, vec![1])));
}

#[test]
fn a_partition_named_twice_counts_once() {
    let mut cache = SessionCache::new(10);
    let (_, shown) = fetch(&mut cache, request(0, 0, &[2, 1, 2], &[]), |_| 5, NOW).unwrap();
    assert_eq!(shown, [2, 1]);
}

#[test]
fn a_full_cache_makes_room_by_age_and_size() {
    let mut cache = SessionCache::new(1);
    let (first, _) = fetch(&mut cache, request(0, 0, &[1, 2], &[]), |_| 5, NOW).unwrap();
    assert!(first > 0);
    let (refused, shown) = fetch(&mut cache, request(0, 0, &[1, 2, 3], &[]), |_| 5, NOW).unwrap();
    assert_eq!((refused, shown), (0, vec![1, 2, 3]), "the other session is young: served without one");
    let used = NOW + Duration::from_secs(100);
    assert_eq!(fetch(&mut cache, request(first, 1, &[], &[]), |_| 5, used), Ok((first, vec![])));
    let old = NOW + Duration::from_secs(121);
    assert_eq!(
        fetch(&mut cache, request(0, 0, &[1], &[]), |_| 5, old).unwrap().0,
        0,
        "the old one is larger"
    );
    assert!(fetch(&mut cache, request(0, 0, &[1, 2], &[]), |_| 5, old).unwrap().0 > 0);
    let idle = old + Duration::from_secs(121);
    assert!(fetch(&mut cache, request(0, 0, &[1], &[]), |_| 5, idle).unwrap().0 > 0);
    assert_eq!(cache.evicted(), 2);
}

#[test]
fn without_room_for_sessions_every_fetch_is_full() {
    let mut cache = SessionCache::new(0);
    assert_eq!(fetch(&mut cache, request(0, 0, &[1], &[]), |_| 5, NOW), Ok((0, vec![1])));
}

#[test]
fn a_shard_remembers_so_many_partitions_and_no_more() {
    let mut cache = SessionCache::new(10);
    let many: Vec<i32> = (0..150_000).collect();
    let (first, _) = fetch(&mut cache, request(0, 0, &many, &[]), |_| 5, NOW).unwrap();
    assert!(first > 0);
    let (second, shown) = fetch(&mut cache, request(0, 0, &many, &[]), |_| 5, NOW).unwrap();
    assert_eq!((second, shown.len()), (0, many.len()), "answered without a session");
    let more: Vec<i32> = (150_000..250_000).collect();
    let grown = fetch(&mut cache, request(first, 1, &more, &[]), |_| 5, NOW);
    assert_eq!(grown, Err(ErrorCode::FetchSessionIdNotFound));
    let (third, _) = fetch(&mut cache, request(0, 0, &many, &[]), |_| 5, NOW).unwrap();
    assert!(third > 0, "the room is free again");
}
