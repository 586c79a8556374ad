//! The guard against the decoder that it protects: whatever it passes is read to the last byte and takes no more memory
//! than it said; whatever a peer makes of a frame is refused or stays within a small multiple of its size. Memory is
//! counted by an allocator of this test binary.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use hayate_net::error::WireError;
use hayate_net::frame::RequestHead;
use hayate_net::wire::codec::decode_request;
use hayate_net::wire::guard::{self, GuardFault, sample};
use hayate_net::wire::offsets;
use hayate_net::wire::produce;
use hayate_net::wire::table::{APIS, Api, Versions};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use proptest::prelude::*;

thread_local! {
    static ALLOCATED_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// Counts the bytes that the calling thread asks for, freed or not.
struct Counting;

// SAFETY: every call goes on to `System` unchanged; counting touches a thread-local cell that needs no allocation, being
// const-initialised and without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED_BYTES.with(|bytes| bytes.set(bytes.get() + layout.size() as u64));
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` through `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `run` returns, and how many bytes it asked for meanwhile.
fn counted<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATED_BYTES.with(Cell::get);
    let result = run();
    (result, ALLOCATED_BYTES.with(Cell::get) - before)
}

/// Random bodies that are tried of each kind in each version.
const SEEDS: u64 = 60;

/// A small generator of our own, so that a failure names the seed that it comes from.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

fn every_version() -> impl Iterator<Item = (&'static Api, i16)> {
    APIS.iter().flat_map(|api| {
        let versions = api.versions().unwrap_or(Versions { min: 0, max: -1 });
        (versions.min..=versions.max).map(move |version| (api, version))
    })
}

/// Those that the decoder's crate reads; the others are read by ourselves.
fn the_crates() -> impl Iterator<Item = (&'static Api, i16)> {
    every_version().filter(|(api, version)| !offsets::is_ours(api.key, *version))
}

fn body(api: &Api, version: i16, dice: &mut Dice) -> Vec<u8> {
    sample::request_body(api.key, version, &mut |bound| dice.below(bound)).expect("a decodable version")
}

fn response_body(api: &Api, version: i16, dice: &mut Dice) -> Vec<u8> {
    sample::response_body(api.key, version, &mut |bound| dice.below(bound)).expect("a decodable version")
}

fn crates_key(api_key: i16) -> ApiKey {
    ApiKey::try_from(api_key).expect("a key of the decoder's")
}

fn head(api_key: i16, api_version: i16) -> RequestHead {
    RequestHead { api_key, api_version, correlation_id: 1 }
}

/// Memory that any answer to `frame_bytes` may cost: the worst growth of valid bodies, and an error with its text.
fn allowed_bytes(frame_bytes: usize) -> u64 {
    frame_bytes as u64 * 256 + (16 << 10)
}

/// Decodes as a broker would, and fails the test when that costs more memory than a frame of this size may.
fn decode_within_bounds(api_key: i16, api_version: i16, body: &[u8]) -> Result<RequestKind, WireError> {
    let body = Bytes::copy_from_slice(body);
    let frame_bytes = body.len();
    let (result, bytes) = counted(|| decode_request(head(api_key, api_version), body));
    assert!(
        bytes <= allowed_bytes(frame_bytes),
        "key {api_key} v{api_version}: {bytes} bytes for {frame_bytes}"
    );
    result
}

#[test]
fn every_valid_request_passes_and_is_decoded_whole_within_the_bound() {
    for (api, version) in the_crates() {
        for seed in 0..SEEDS {
            let bytes = body(api, version, &mut Dice(seed));
            let report = guard::check(api.key, version, &bytes, u64::MAX);
            let report =
                report.unwrap_or_else(|error| panic!("{} v{version} seed {seed}: {error}", api.name));
            let mut rest = Bytes::from(bytes.clone());
            let (decoded, taken) = counted(|| RequestKind::decode(crates_key(api.key), &mut rest, version));
            let decoded =
                decoded.unwrap_or_else(|error| panic!("{} v{version} seed {seed}: {error:?}", api.name));
            assert!(rest.is_empty(), "{} v{version} seed {seed}: the decoder leaves bytes", api.name);
            assert!(taken <= report.decoded_bytes_max, "{} v{version}: {taken} > {report:?}", api.name);
            let mut again = BytesMut::new();
            decoded.encode(&mut again, version).expect("what was decoded can be encoded");
            assert_eq!(again, bytes, "{} v{version} seed {seed}", api.name);
        }
    }
}

#[test]
fn every_valid_response_passes_and_is_decoded_whole_within_the_bound() {
    for (api, version) in the_crates() {
        for seed in 0..SEEDS {
            let bytes = response_body(api, version, &mut Dice(seed));
            let report = guard::check_response(api.key, version, &bytes, u64::MAX);
            let report =
                report.unwrap_or_else(|error| panic!("{} v{version} seed {seed}: {error}", api.name));
            let mut rest = Bytes::from(bytes.clone());
            let (decoded, taken) = counted(|| ResponseKind::decode(crates_key(api.key), &mut rest, version));
            let decoded =
                decoded.unwrap_or_else(|error| panic!("{} v{version} seed {seed}: {error:?}", api.name));
            assert!(rest.is_empty(), "{} v{version} seed {seed}: the decoder leaves bytes", api.name);
            assert!(taken <= report.decoded_bytes_max, "{} v{version}: {taken} > {report:?}", api.name);
            let mut again = BytesMut::new();
            decoded.encode(&mut again, version).expect("what was decoded can be encoded");
            assert_eq!(again, bytes, "{} v{version} seed {seed}", api.name);
        }
    }
}

#[test]
fn a_response_cut_anywhere_is_refused() {
    for (api, version) in the_crates() {
        let whole = response_body(api, version, &mut Dice(3));
        for length in 0..whole.len() {
            let (cut, taken) =
                counted(|| guard::check_response(api.key, version, &whole[..length], u64::MAX));
            assert!(cut.is_err() && taken == 0, "{} v{version} cut at {length}", api.name);
        }
        let longer = [&whole[..], &[0]].concat();
        let refused =
            guard::check_response(api.key, version, &longer, u64::MAX).expect_err("a byte too many");
        assert_eq!((refused.fault, refused.at), (GuardFault::TrailingBytes, whole.len()));
    }
}

#[test]
fn a_body_cut_anywhere_is_refused_and_bytes_behind_it_are_not_read() {
    for (api, version) in every_version() {
        for seed in 0..4 {
            let whole = body(api, version, &mut Dice(seed));
            for length in 0..whole.len() {
                let cut = decode_within_bounds(api.key, version, &whole[..length]);
                assert!(cut.is_err(), "{} v{version} seed {seed} cut at {length}", api.name);
            }
            let longer = [&whole[..], &[0]].concat();
            let read = decode_within_bounds(api.key, version, &longer);
            assert!(read.is_ok(), "{} v{version} seed {seed}, a byte too many", api.name);
        }
    }
}

#[test]
fn hostile_counts_at_every_byte_cost_nothing() {
    const HOSTILE: [&[u8]; 6] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xfe, 0xff, 0xff, 0xff, 0x0f],
        &[0x80, 0x00, 0x00, 0x00],
        &[0x00, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0x7f],
    ];
    for (api, version) in every_version() {
        let whole = body(api, version, &mut Dice(7));
        for (at, hostile) in (0..=whole.len()).flat_map(|at| HOSTILE.iter().map(move |hostile| (at, hostile)))
        {
            let overwritten =
                [&whole[..at], hostile, whole.get(at + hostile.len()..).unwrap_or(&[])].concat();
            let inserted = [&whole[..at], hostile, &whole[at..]].concat();
            // Either may still be valid; what counts is that it costs no more than its size allows.
            let _ = decode_within_bounds(api.key, version, &overwritten);
            let _ = decode_within_bounds(api.key, version, &inserted);
        }
    }
}

#[test]
fn the_shortest_killers_are_refused_by_name() {
    for (api_key, version, body) in [
        (15, 0, &[0x7f, 0xff, 0xff, 0xff][..]),
        (3, 12, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        (3, 0, &[0x7f, 0xff, 0xff, 0xff]),
        (19, 5, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        match decode_within_bounds(api_key, version, body) {
            Err(WireError::Guard(error)) => {
                assert!(matches!(error.fault, GuardFault::CountTooLarge { .. }), "{error}")
            }
            other => panic!("key {api_key} v{version}: {other:?}"),
        }
    }
}

#[test]
fn dense_valid_bodies_are_bounded_by_what_the_caller_allows() {
    // 30,000 topics with empty names: two bytes each on the wire, an order of magnitude more decoded.
    let metadata = [&[0xb1, 0xea, 0x01][..], &[1, 0].repeat(30_000), &[1, 1, 1, 0]].concat();
    let report = guard::check(3, 9, &metadata, u64::MAX).expect("valid, if odd");
    let taken = decode_unguarded(3, 9, &metadata);
    assert!(taken <= report.decoded_bytes_max && taken > 30 * metadata.len() as u64, "{taken}, {report:?}");
    let refused =
        guard::check(3, 9, &metadata, report.decoded_bytes_max - 1).expect_err("over the limit").fault;
    assert!(matches!(refused, GuardFault::DecodedTooLarge { .. }));
}

#[test]
fn unknown_tags_are_counted_too() {
    for tags in [1u32, 2, 11, 12, 13, 500, 5000] {
        let mut body = vec![1, 1];
        uvarint(&mut body, tags);
        for tag in 0..tags {
            uvarint(&mut body, tag + 100);
            body.push(0);
        }
        let report = guard::check(18, 3, &body, u64::MAX).expect("unknown tags are allowed");
        let taken = decode_unguarded(18, 3, &body);
        assert!(taken <= report.decoded_bytes_max, "{tags} tags: {taken} > {}", report.decoded_bytes_max);
    }
}

/// Bytes that the decoder alone asks for, of a body that it accepts.
fn decode_unguarded(api_key: i16, api_version: i16, body: &[u8]) -> u64 {
    let mut body = Bytes::copy_from_slice(body);
    let (decoded, taken) = counted(|| RequestKind::decode(crates_key(api_key), &mut body, api_version));
    decoded.expect("a valid body");
    taken
}

fn uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn noise_never_panics_nor_costs_memory(
        api_key in -2i16..95,
        version in -1i16..20,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = decode_within_bounds(api_key, version, &bytes);
        let body = Bytes::from(bytes);
        let frame_bytes = body.len();
        let (_, taken) = counted(|| produce::parse(version, &body, 64 << 20));
        prop_assert!(taken <= allowed_bytes(frame_bytes));
    }

    #[test]
    fn damaged_bodies_never_panic_nor_cost_memory(
        index in any::<prop::sample::Index>(),
        seed: u64,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let all: Vec<_> = every_version().collect();
        let (api, version) = all[index.index(all.len())];
        let mut bytes = body(api, version, &mut Dice(seed));
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let _ = decode_within_bounds(api.key, version, &bytes);
    }
}
