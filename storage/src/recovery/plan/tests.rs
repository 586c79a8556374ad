//! Plans as scripts: a line a frame, then what the plan says.

use super::*;

const LOG: LogId = LogId { topic_id: [7; 16], partition: 3 };

/// `b SEG POS LEN NEXT` batches, `x SEG POS EXTENT REST NEXT` extent, `g SEG POS LEN` guarded block, `t SEG POS NEXT` cut.
fn frame(line: &str) -> Frame {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words[at].parse::<u32>().unwrap();
    let (kind, position, extent_bytes, len, next) = match words[0] {
        "b" => (FrameKind::Batches, number(2), 0, number(3), number(4)),
        "x" => (FrameKind::Extent, number(2), number(3), number(4), number(5)),
        "t" => (FrameKind::Truncate, number(2), 0, 0, number(3)),
        other => panic!("no frame {other}"),
    };
    let header = FrameHeader {
        kind,
        log: LOG,
        segment_base: Offset(i64::from(number(1))),
        position,
        extent_bytes,
        payload_bytes: len,
        next_offset: Offset(i64::from(next)),
        check: 0,
    };
    Frame { header, payload: Bytes::from(vec![b'x'; len as usize]) }
}

fn guarded(line: &str) -> Guarded {
    let words: Vec<u64> = line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
    let bytes = Bytes::from(vec![b'g'; words[2] as usize]);
    Guarded { log: LOG, segment: Offset(words[0] as i64), pos: words[1], bytes }
}

fn mark(offset: i64, segment: i64, pos: u64) -> Mark {
    Mark { offset: Offset(offset), segment: Offset(segment), pos }
}

/// What becomes of a log that the checkpoint puts at `base`.
fn check(base: Mark, script: &str, expect: &str) {
    let start = LogStart { end: base, ..LogStart::empty() };
    let (guards, frames): (Vec<&str>, Vec<&str>) = script.split("; ").partition(|line| line.starts_with('g'));
    let frames: Vec<Frame> = frames.into_iter().map(frame).collect();
    let guards: Vec<Guarded> = guards.into_iter().map(guarded).collect();
    let plans = plan(&frames, &guards, |_| Some(&start));
    let plan = &plans[&LOG];
    let mut said = format!("end {} {} {}", plan.end.offset, plan.end.segment, plan.end.pos);
    for write in &plan.writes {
        said += &format!("; w {} {} {}", write.segment, write.pos, write.bytes.len());
    }
    for (segment, size) in &plan.sealed {
        said += &format!("; s {segment} {size}");
    }
    if plan.damage.is_some() {
        said += "; damaged";
    }
    assert_eq!(said, expect, "{script}");
}

#[test]
fn frames_behind_the_checkpoint_extend_the_log() {
    check(mark(0, 0, 0), "b 0 0 100 5; b 0 100 50 7", "end 7 0 150; w 0 0 100; w 0 100 50");
    check(mark(5, 0, 100), "b 0 0 100 5; b 0 100 50 7", "end 7 0 150; w 0 100 50");
    check(mark(5, 0, 100), "b 0 0 100 5", "end 5 0 100");
    check(mark(5, 0, 100), "b 0 20 130 7", "end 7 0 150; w 0 100 50");
    check(mark(5, 0, 100), "b 0 20 130 7; t 0 120 6; b 0 120 5 7", "end 7 0 125; w 0 100 20; w 0 120 5");
}

#[test]
fn a_gap_is_damage() {
    check(mark(5, 0, 100), "b 0 101 50 7", "end 5 0 100; damaged");
    check(mark(5, 0, 100), "b 6 0 50 7", "end 5 0 100; damaged");
    check(mark(5, 0, 100), "b 5 10 50 7", "end 5 0 100; damaged");
}

#[test]
fn a_new_segment_seals_the_one_before() {
    check(mark(5, 0, 100), "b 0 100 20 6; b 6 0 30 9", "end 9 6 30; w 0 100 20; w 6 0 30; s 0 120");
}

#[test]
fn extents_move_the_end_and_write_their_rest_only() {
    check(mark(5, 0, 100), "x 0 100 8092 8 90", "end 90 0 8200; w 0 8192 8");
    check(mark(5, 0, 100), "b 0 100 50 7; x 0 150 8042 8 90", "end 90 0 8200; w 0 8192 8");
    check(mark(5, 0, 100), "x 0 100 8092 0 90", "end 90 0 8192");
}

#[test]
fn guarded_blocks_are_put_back_first_and_move_nothing() {
    check(mark(5, 0, 5000), "g 0 4096 904; b 0 5000 10 6", "end 6 0 5010; w 0 4096 904; w 0 5000 10");
    check(mark(5, 0, 5000), "b 0 5000 10 6; g 0 4096 915", "end 6 0 5010; w 0 4096 904; w 0 5000 10");
    check(mark(5, 0, 5000), "b 0 5000 10 6; g 0 8192 9", "end 6 0 5010; w 0 5000 10");
    check(mark(5, 0, 5000), "b 0 5000 10 6; g 0 4096 903", "end 6 0 5010; w 0 5000 10");
    check(mark(1, 0, 10), "x 0 10 8182 0 6; t 0 5000 5; g 0 4096 904", "end 5 0 5000; w 0 4096 904");
}

#[test]
fn a_cut_takes_back_what_came_before_it() {
    check(
        mark(5, 0, 100),
        "b 0 100 50 7; b 7 0 30 9; t 0 120 6; b 0 120 5 8",
        "end 8 0 125; w 0 100 20; w 0 120 5",
    );
    check(mark(9, 7, 30), "t 0 120 6", "end 6 0 120");
}

#[test]
fn a_checkpoint_taken_after_a_cut_contradicts_only_frames_before_it() {
    // The checkpoint is at 80 of segment 0, after the cut at 50; the frames before it spoke of a segment that is gone.
    check(mark(4, 0, 80), "b 9 0 10 10; t 0 50 2; b 0 50 30 4", "end 4 0 80; w 0 50 30");
    check(mark(4, 0, 80), "b 0 60 40 9; b 9 0 10 10; t 0 50 2; b 0 50 30 4", "end 4 0 80; w 0 50 30");
    check(mark(4, 0, 80), "t 0 50 2; b 0 50 30 4; b 9 0 10 10", "end 4 0 80; w 0 50 30; damaged");
}
