//! What Apache Kafka 4.2's coordinator does, case by case, after what its `TransactionCoordinatorTest` looks at. Where its
//! answer depends on a transition that is being written, ours is that of the transition done: it is applied at once.

use super::*;

#[test]
fn a_producer_begins() {
    check(
        "
        init a                       => 1000:0
        show a                       => Empty 1000:0
        init a                       => 1000:1
        init b                       => 1001:0
        init a timeout=0             => INVALID_TRANSACTION_TIMEOUT
        init a timeout=-1            => INVALID_TRANSACTION_TIMEOUT
        init a timeout=900001        => INVALID_TRANSACTION_TIMEOUT
        init a timeout=900000        => 1000:2
        show nobody                  => TRANSACTIONAL_ID_NOT_FOUND
        ",
    );
}

#[test]
fn an_empty_transactional_id_is_refused_everywhere() {
    let mut rig = Rig::new(LEVEL);
    assert_eq!(rig.init("", &[], 5), "INVALID_REQUEST");
    assert_eq!(rig.add(3, transaction("", (1, 0), &named(&["t-0"]))), "INVALID_REQUEST");
    let verified = transaction("", (1, 0), &named(&["t-0"])).with_verify_only(true);
    assert_eq!(rig.add(5, verified), "INVALID_REQUEST");
    assert_eq!(rig.offsets("", (1, 0), "0", 3), "INVALID_REQUEST");
    assert_eq!(rig.end("", (1, 0), true, 5), "INVALID_REQUEST");
    assert_eq!(rig.end("", (1, 0), true, 4), "INVALID_REQUEST");
    assert_eq!(rig.show(""), "INVALID_REQUEST");
    assert!(rig.log.is_empty());
}

#[test]
fn half_a_name_is_no_name() {
    check(
        "
        init a as=5:-1  => INVALID_REQUEST
        init a as=-1:5  => INVALID_REQUEST
        show a          => TRANSACTIONAL_ID_NOT_FOUND
        ",
    );
}

#[test]
fn a_producer_recovers_by_its_name_kip_360() {
    // One whose transactional id has expired, or that asks again as it did not hear; but not one that was followed.
    check(
        "
        init a as=77:3       => 1000:0
        init a as=1000:0     => 1000:1
        init a as=1000:0     => 1000:1
        init a as=1000:1     => 1000:2
        init a as=1000:0     => PRODUCER_FENCED
        init a as=999:2      => PRODUCER_FENCED
        init a as=999:2 v3   => INVALID_PRODUCER_EPOCH
        init a as=1000:3     => PRODUCER_FENCED
        init a               => 1000:3
        init a as=1000:2     => PRODUCER_FENCED
        init a as=1000:2 v3  => INVALID_PRODUCER_EPOCH
        show a               => Empty 1000:3
        ",
    );
}

#[test]
fn a_load_forgets_the_epoch_before() {
    // As Kafka's records do not have it: the producer that asks again after a failover is fenced.
    check(
        "
        init a               => 1000:0
        init a as=1000:0     => 1000:1
        reload
        init a as=1000:0     => PRODUCER_FENCED
        init a as=1000:1     => 1000:2
        ",
    );
}

#[test]
fn partitions_join() {
    check(
        "
        init a                         => 1000:0
        add a 1000:0 t-0 t-1           => NONE
        show a                         => Ongoing 1000:0 t-0 t-1
        add a 1000:0 t-1 u-2           => NONE
        offsets a 1000:0 3             => NONE
        show a                         => Ongoing 1000:0 __consumer_offsets-3 t-0 t-1 u-2
        add a 1000:1 t-0               => PRODUCER_FENCED
        add a 1000:1 t-0 v1            => INVALID_PRODUCER_EPOCH
        add a 1000:1 t-0 v2            => PRODUCER_FENCED
        add a 1000:1 t-0 v5            => PRODUCER_FENCED
        offsets a 1000:1 3 v1          => INVALID_PRODUCER_EPOCH
        offsets a 1000:1 3 v2          => PRODUCER_FENCED
        add a 999:0 t-0                => INVALID_PRODUCER_ID_MAPPING
        add nobody 1000:0 t-0          => INVALID_PRODUCER_ID_MAPPING
        offsets nobody 1000:0 3        => INVALID_PRODUCER_ID_MAPPING
        ",
    );
}

#[test]
fn what_is_part_already_is_not_written_again() {
    let mut rig = Rig::new(LEVEL);
    rig.run(
        "
        init a                => 1000:0
        add a 1000:0 t-0 t-1  => NONE
        ",
    );
    let written = rig.log.len();
    rig.run("add a 1000:0 t-1 => NONE");
    assert_eq!(rig.log.len(), written);
}

#[test]
fn all_partitions_join_or_none() {
    check(
        "
        init a                         => 1000:0
        add a 1000:0 t-0 nowhere-0 t-9 => nowhere-0=UNKNOWN_TOPIC_OR_PARTITION t-0=OPERATION_NOT_ATTEMPTED t-9=UNKNOWN_TOPIC_OR_PARTITION
        verify a 1000:0 t-0 t-9        => t-0=OPERATION_NOT_ATTEMPTED t-9=UNKNOWN_TOPIC_OR_PARTITION
        show a                         => Empty 1000:0
        ",
    );
}

#[test]
fn leaders_are_told_what_is_part_kip_890() {
    check(
        "
        init a                      => 1000:0
        verify a 1000:0 t-0         => TRANSACTION_ABORTABLE
        add a 1000:0 t-0 v5         => NONE
        verify a 1000:0 t-0 t-1     => t-0=NONE t-1=TRANSACTION_ABORTABLE
        verify a 1000:1 t-0         => PRODUCER_FENCED
        verify a 999:0 t-0          => INVALID_PRODUCER_ID_MAPPING
        verify nobody 1000:0 t-0    => INVALID_PRODUCER_ID_MAPPING
        commit a 1000:0             => 1000:1
        verify a 1000:1 t-0         => CONCURRENT_TRANSACTIONS
        verify a 1000:0 t-0         => PRODUCER_FENCED
        written a t-0
        verify a 1000:1 t-0         => TRANSACTION_ABORTABLE
        ",
    );
}

#[test]
fn a_transaction_of_the_first_protocol_ends_and_its_epoch_stays() {
    check(
        "
        init a                => 1000:0
        commit a 1000:0 v4    => INVALID_TXN_STATE
        abort a 1000:0 v4     => INVALID_TXN_STATE
        add a 1000:0 t-0 u-1  => NONE
        commit a 1000:1 v4    => PRODUCER_FENCED
        commit a 1000:1 v1    => INVALID_PRODUCER_EPOCH
        commit a 999:0 v4     => INVALID_PRODUCER_ID_MAPPING
        commit nobody 1:0 v4  => INVALID_PRODUCER_ID_MAPPING
        commit a 1000:0 v4    => NONE
        orders                => commit 1000:0 v0 t-0 u-1
        show a                => PrepareCommit 1000:0 t-0 u-1
        commit a 1000:0 v4    => CONCURRENT_TRANSACTIONS
        add a 1000:0 t-1      => CONCURRENT_TRANSACTIONS
        init a                => CONCURRENT_TRANSACTIONS
        written a t-0
        show a                => PrepareCommit 1000:0 u-1
        written a u-1
        show a                => CompleteCommit 1000:0
        commit a 1000:0 v4    => NONE
        abort a 1000:0 v4     => INVALID_TXN_STATE
        add a 1000:0 t-0      => NONE
        abort a 1000:0 v4     => NONE
        orders                => abort 1000:0 v0 t-0
        written a t-0
        abort a 1000:0 v4     => NONE
        commit a 1000:0 v4    => INVALID_TXN_STATE
        show a                => CompleteAbort 1000:0
        ",
    );
}

#[test]
fn each_end_bumps_the_epoch_kip_890() {
    check(
        "
        init a              => 1000:0
        add a 1000:0 t-0 v5 => NONE
        commit a 1000:0     => 1000:1
        orders              => commit 1000:1 v2 t-0
        show a              => PrepareCommit 1000:1 t-0
        commit a 1000:0     => CONCURRENT_TRANSACTIONS
        add a 1000:1 t-0 v5 => CONCURRENT_TRANSACTIONS
        written a t-0
        commit a 1000:0     => 1000:1
        abort a 1000:0      => INVALID_TXN_STATE
        add a 1000:0 t-0 v5 => PRODUCER_FENCED
        add a 1000:1 t-0 v5 => NONE
        commit a 1000:0     => PRODUCER_FENCED
        abort a 1000:1      => 1000:2
        orders              => abort 1000:2 v2 t-0
        written a t-0
        abort a 1000:1      => 1000:2
        commit a 1000:1     => INVALID_TXN_STATE
        show a              => CompleteAbort 1000:2
        ",
    );
}

/// KIP-890's table of ends by the state, as Kafka has it beside `endTransaction`.
#[test]
fn an_end_where_nothing_is_open() {
    let empty = "init a => 1000:0\ninit a => 1000:1\n";
    let aborted = "init a => 1000:0\nadd a 1000:0 t-0 v5 => NONE\nabort a 1000:0 => 1000:1\nwritten a t-0\n";
    let committed =
        "init a => 1000:0\nadd a 1000:0 t-0 v5 => NONE\ncommit a 1000:0 => 1000:1\nwritten a t-0\n";
    let table = [
        (empty, "abort a 1000:0", "PRODUCER_FENCED"),
        (empty, "abort a 1000:1", "1000:2"),
        (empty, "commit a 1000:0", "PRODUCER_FENCED"),
        (empty, "commit a 1000:1", "INVALID_TXN_STATE"),
        (aborted, "abort a 1000:0", "1000:1"),
        (aborted, "abort a 1000:1", "1000:2"),
        (aborted, "commit a 1000:0", "INVALID_TXN_STATE"),
        (aborted, "commit a 1000:1", "INVALID_TXN_STATE"),
        (committed, "abort a 1000:0", "INVALID_TXN_STATE"),
        (committed, "abort a 1000:1", "1000:2"),
        (committed, "commit a 1000:0", "1000:1"),
        (committed, "commit a 1000:1", "INVALID_TXN_STATE"),
        (committed, "commit a 1000:2", "PRODUCER_FENCED"),
        (committed, "commit a 999:1", "INVALID_PRODUCER_ID_MAPPING"),
    ];
    for (before, request, answer) in table {
        check(&format!("{before}{request} => {answer}"));
    }
}

#[test]
fn an_abort_of_nothing_is_complete_at_once() {
    check(
        "
        init a          => 1000:0
        abort a 1000:0  => 1000:1
        orders          =>
        show a          => CompleteAbort 1000:1
        abort a 1000:0  => 1000:1
        ",
    );
}

/// Kafka's protocol up to EndTxn 4 lets a delayed end take the next transaction with it: aborted reads, lost writes, torn
/// transactions (KAFKA-17754; Jepsen's analysis of Bufstream 0.1.0). What closes it is the epoch that each end bumps.
#[test]
fn a_late_end_does_not_end_the_next_transaction_kafka_17754() {
    check(
        "
        init a               => 1000:0
        add a 1000:0 t-0 v5  => NONE
        abort a 1000:0       => 1000:1
        written a t-0
        add a 1000:1 t-1 v5  => NONE
        abort a 1000:0       => PRODUCER_FENCED
        commit a 1000:0      => PRODUCER_FENCED
        show a               => Ongoing 1000:1 t-1
        ",
    );
    // The same of a client of before: it cannot be told from an end of the second transaction, in Kafka either.
    check(
        "
        init a               => 1000:0
        add a 1000:0 t-0     => NONE
        abort a 1000:0 v4    => NONE
        written a t-0
        add a 1000:0 t-1     => NONE
        abort a 1000:0 v4    => NONE
        show a               => PrepareAbort 1000:0 t-1
        ",
    );
}

#[test]
fn a_late_partition_does_not_hang_a_transaction_kip_890() {
    // A leader that adds for a batch that was under way when its transaction ended is refused, and appends nothing.
    check(
        "
        init a               => 1000:0
        add a 1000:0 t-0 v5  => NONE
        commit a 1000:0      => 1000:1
        add a 1000:0 t-1 v5  => CONCURRENT_TRANSACTIONS
        written a t-0
        add a 1000:0 t-1 v5  => PRODUCER_FENCED
        show a               => CompleteCommit 1000:1
        ",
    );
}

#[test]
fn an_end_of_an_older_protocol_is_not_taken_for_the_epoch_before() {
    // A producer that was followed at epoch 1 asks at epoch 0 for the end that its follower asked for.
    check(
        "
        init a               => 1000:0
        init a               => 1000:1
        add a 1000:1 t-0     => NONE
        commit a 1000:1 v4   => NONE
        written a t-0
        commit a 1000:0      => PRODUCER_FENCED
        ",
    );
}

#[test]
fn a_new_producer_ends_the_transaction_of_the_one_before() {
    check(
        "
        init a               => 1000:0
        add a 1000:0 t-0 v5  => NONE
        init a               => CONCURRENT_TRANSACTIONS
        orders               => abort 1000:1 v2 t-0
        add a 1000:0 t-1 v5  => CONCURRENT_TRANSACTIONS
        commit a 1000:0      => CONCURRENT_TRANSACTIONS
        init a               => CONCURRENT_TRANSACTIONS
        written a t-0
        commit a 1000:0      => INVALID_TXN_STATE
        init a               => 1000:2
        commit a 1000:0      => PRODUCER_FENCED
        abort a 1000:1       => PRODUCER_FENCED
        ",
    );
    let mut rig = Rig::new(LEVEL);
    rig.run("init a => 1000:0\nadd a 1000:0 t-0 => NONE\ninit a => CONCURRENT_TRANSACTIONS");
    let counters = rig.machine.counters;
    assert_eq!((counters.fenced, counters.aborted, counters.timed_out), (1, 1, 0));
}

#[test]
fn a_producer_recovers_from_within_its_transaction_kip_360() {
    check(
        "
        init a               => 1000:0
        add a 1000:0 t-0 v5  => NONE
        init a as=1000:0     => CONCURRENT_TRANSACTIONS
        written a t-0
        init a as=1000:0     => 1000:1
        add a 1000:1 t-0 v5  => NONE
        ",
    );
}

#[test]
fn the_tool_that_fences_a_producer_begins_as_it() {
    // Admin.fenceProducers and kafka-transactions --forceTerminateTransaction: InitProducerId with a timeout of 1 ms.
    check(
        "
        init a timeout=60000 => 1000:0
        add a 1000:0 t-0     => NONE
        init a timeout=1     => CONCURRENT_TRANSACTIONS
        written a t-0
        init a timeout=1     => 1000:2
        commit a 1000:0 v4   => PRODUCER_FENCED
        show a               => Empty 1000:2
        ",
    );
}

#[test]
fn before_the_second_protocol_a_fence_bumps_and_an_end_does_not() {
    Rig::new(0).run(
        "
        init a               => 1000:0
        add a 1000:0 t-0     => NONE
        init a               => CONCURRENT_TRANSACTIONS
        orders               => abort 1000:1 v0 t-0
        written a t-0
        show a               => CompleteAbort 1000:1
        init a as=1000:0     => PRODUCER_FENCED
        init a               => 1000:2
        ",
    );
}

/// A coordinator that has replayed one record.
fn with_record(value: TxnValue) -> Rig {
    let mut rig = Rig::new(LEVEL);
    rig.log.push(TxnRecord { transactional_id: "a".to_owned(), value: Some(value) });
    rig.moment.log_end = Offset(1);
    rig.reload();
    rig
}

fn at_epoch(epoch: i16, state: TxnState) -> Rig {
    let mut value = Step::first(ProducerId(5), 60_000, 1_000_000).value;
    (value.producer_epoch, value.state) = (epoch, state);
    if state == TxnState::Ongoing || state == TxnState::PrepareEpochFence {
        value.start_ms = 1_000_000;
        value.partitions = named(&["t-0"]);
    }
    with_record(value)
}

#[test]
fn an_id_without_epochs_is_followed_by_another() {
    at_epoch(32765, TxnState::Empty).run(
        "
        init a            => 5:32766
        init a            => 1000:0
        init a as=5:32766 => PRODUCER_FENCED
        ",
    );
    // One that named its last epoch may ask again, under the id that it has heard of.
    at_epoch(32766, TxnState::Empty).run(
        "
        init a as=5:32766 => 1000:0
        init a as=5:32766 => 1000:0
        init a as=5:32765 => PRODUCER_FENCED
        ",
    );
    at_epoch(32765, TxnState::Empty).run(
        "
        init a as=5:32765 => 5:32766
        init a as=5:32765 => 5:32766
        ",
    );
}

#[test]
fn an_end_of_the_last_epoch_names_the_next_id() {
    at_epoch(32766, TxnState::Ongoing).run(
        "
        commit a 5:32766   => 1000:0
        orders             => commit 5:32767 v2 t-0
        commit a 5:32766   => CONCURRENT_TRANSACTIONS
        show a             => PrepareCommit 5:32767 t-0
        reload
        orders             => commit 5:32767 v2 t-0
        written a t-0
        show a             => CompleteCommit 1000:0
        commit a 5:32766   => 1000:0
        abort a 5:32766    => INVALID_TXN_STATE
        add a 1000:0 t-0   => NONE
        commit a 5:32766   => INVALID_PRODUCER_ID_MAPPING
        ",
    );
    at_epoch(32766, TxnState::Empty).run("abort a 5:32766 => 1000:0");
}

#[test]
fn the_epoch_that_nobody_was_told_begins_nothing() {
    // A fence of the last epoch leaves one above it, which Kafka would let a liar use; it could never be fenced again.
    at_epoch(32766, TxnState::Ongoing).run(
        "
        init a             => CONCURRENT_TRANSACTIONS
        written a t-0
        show a             => CompleteAbort 5:32767
        add a 5:32767 t-0  => PRODUCER_FENCED
        offsets a 5:32767 0 => PRODUCER_FENCED
        abort a 5:32767    => PRODUCER_FENCED
        init a as=5:32766  => 5:32767
        init a             => 1000:0
        ",
    );
}

#[test]
fn what_kafka_would_never_write_does_no_harm() {
    at_epoch(32767, TxnState::Ongoing).run(
        "
        wait 120000
        orders      => abort 5:32767 v0 t-0
        written a t-0
        init a      => 1000:0
        ",
    );
    at_epoch(0, TxnState::PrepareEpochFence).run(
        "
        wait 120000
        orders      => abort 5:1 v2 t-0
        ",
    );
    at_epoch(0, TxnState::Dead).run("show a => TRANSACTIONAL_ID_NOT_FOUND");
}

#[test]
fn transactions_that_take_too_long_are_aborted() {
    check(
        "
        init a timeout=1000  => 1000:0
        add a 1000:0 t-0 v5  => NONE
        init b timeout=25000 => 1001:0
        add b 1001:0 t-1 v5  => NONE
        wait 9999
        show a               => Ongoing 1000:0 t-0
        wait 1
        orders               => abort 1000:1 v2 t-0
        show a               => PrepareAbort 1000:1 t-0
        commit a 1000:0      => CONCURRENT_TRANSACTIONS
        written a t-0
        commit a 1000:0      => INVALID_TXN_STATE
        abort a 1000:0       => 1000:1
        wait 10000
        show b               => Ongoing 1001:0 t-1
        add b 1001:0 u-1 v5  => NONE
        wait 10000
        orders               => abort 1001:1 v2 t-1 u-1
        ",
    );
    let mut rig = Rig::new(LEVEL);
    rig.run("init a timeout=1000 => 1000:0\nadd a 1000:0 t-0 => NONE\nwait 10000");
    let counters = rig.machine.counters;
    assert_eq!((counters.timed_out, counters.aborted, counters.fenced), (1, 1, 0));
    assert_eq!(rig.machine.gauges(), TxnGauges { ids: 1, ongoing: 0, preparing: 1 });
}

#[test]
fn a_two_phase_commit_of_kafkas_may_take_forever() {
    let mut value = Step::first(ProducerId(5), i32::MAX, 1_000_000).value;
    (value.state, value.start_ms, value.partitions) = (TxnState::Ongoing, 0, named(&["t-0"]));
    with_record(value).run("wait 2200000000\nshow a => Ongoing 5:0 t-0");
}

#[test]
fn many_that_take_too_long_are_aborted_in_many_steps() {
    let mut rig = Rig::new(LEVEL);
    let count = 600;
    for number in 0..count {
        let id = format!("id-{number}");
        assert_eq!(rig.init(&id, &["timeout=1"], 5), format!("{}:0", 1000 + number));
        assert_eq!(rig.add(5, transaction(&id, (1000 + number, 0), &named(&["t-0"]))), "NONE");
    }
    rig.pass(Duration::from_secs(10));
    let mut steps = Vec::new();
    while rig.machine.next_deadline().is_some_and(|at| at <= rig.moment.now) {
        let before = rig.log.len();
        rig.step(|machine, moment, effects| machine.on_time(moment, effects));
        steps.push(rig.log.len() - before);
    }
    assert_eq!(steps, [256, 256, 88]);
    assert_eq!(rig.machine.counters.timed_out, 600);
}

#[test]
fn ids_that_nobody_uses_expire() {
    const WEEK: u64 = 7 * 24 * 60 * 60 * 1000;
    let mut rig = Rig::new(LEVEL);
    rig.run(
        "
        init idle            => 1000:0
        init done            => 1001:0
        add done 1001:0 t-0  => NONE
        commit done 1001:0   => 1001:1
        written done t-0
        init stuck           => 1002:0
        add stuck 1002:0 t-1 => NONE
        abort stuck 1002:0   => 1002:1
        ",
    );
    rig.wait(WEEK - 1);
    rig.run("show idle => Empty 1000:0\ninit late => 1003:0");
    rig.wait(3_600_000);
    rig.run(
        "
        show idle   => TRANSACTIONAL_ID_NOT_FOUND
        show done   => TRANSACTIONAL_ID_NOT_FOUND
        show stuck  => PrepareAbort 1002:1 t-1
        show late   => Empty 1003:0
        init idle as=1000:0 => 1004:0
        ",
    );
    assert_eq!(rig.machine.counters.expired, 2);
    let tombstones = rig.log.iter().filter(|record| record.value.is_none());
    let tombstones: Vec<&str> = tombstones.map(|record| record.transactional_id.as_str()).collect();
    assert_eq!(tombstones, ["done", "idle"]);
}

#[test]
fn many_ids_expire_in_many_steps_and_all_of_them() {
    let mut rig = Rig::new(LEVEL);
    let value = Step::first(ProducerId(5), 60_000, 0).value;
    for number in 0..10_000 {
        let record = TxnRecord { transactional_id: format!("id-{number}"), value: Some(value.clone()) };
        rig.machine.apply(&record, Offset(number));
    }
    rig.machine.arm(rig.moment.now);
    rig.moment.wall_ms = 700_000_000;
    rig.moment.now = rig.machine.next_deadline().expect("an hour");
    let mut steps = Vec::new();
    while rig.machine.next_deadline() == Some(rig.moment.now) {
        let mut effects = TxnEffects::default();
        rig.machine.on_time(&rig.moment, &mut effects);
        steps.push(effects.written());
    }
    assert_eq!(steps, [4096, 4096, 1808]);
    assert_eq!(rig.machine.next_deadline(), None, "with nothing left there is nothing to look at");
}

#[test]
fn markers_that_could_not_be_written_are_ordered_again() {
    check(
        "
        init a                   => 1000:0
        add a 1000:0 t-0 t-1 u-0 => NONE
        commit a 1000:0          => 1000:1
        orders                   => commit 1000:1 v2 t-0 t-1 u-0
        written a t-1
        failed a t-0
        failed a u-0
        orders                   =>
        wait 99
        orders                   =>
        wait 1
        orders                   => commit 1000:1 v2 t-0 u-0
        failed a u-0
        written a t-0
        wait 100
        orders                   => commit 1000:1 v2 u-0
        show a                   => PrepareCommit 1000:1 u-0
        written a u-0
        show a                   => CompleteCommit 1000:1
        wait 1000
        orders                   => 
        ",
    );
}

#[test]
fn a_partition_that_is_deleted_needs_no_marker() {
    check(
        "
        init a                   => 1000:0
        add a 1000:0 t-0 u-0     => NONE
        commit a 1000:0          => 1000:1
        written a u-0
        failed a t-0
        delete-topic t
        wait 100
        show a                   => CompleteCommit 1000:1
        ",
    );
    check(
        "
        init a                   => 1000:0
        add a 1000:0 t-0         => NONE
        delete-topic t
        abort a 1000:0           => 1000:1
        orders                   =>
        show a                   => CompleteAbort 1000:1
        ",
    );
}

#[test]
fn a_later_coordinator_has_the_say() {
    check(
        "
        init a                   => 1000:0
        add a 1000:0 t-0 t-1     => NONE
        commit a 1000:0          => 1000:1
        written a t-0
        fenced a t-1
        wait 1000
        show a                   => PrepareCommit 1000:1 t-1
        orders                   => commit 1000:1 v2 t-0 t-1
        ",
    );
}

#[test]
fn what_was_decided_is_carried_out_after_a_load() {
    check(
        "
        init a                   => 1000:0
        add a 1000:0 t-0 t-1     => NONE
        commit a 1000:0          => 1000:1
        written a t-0
        reload
        orders                   => commit 1000:1 v2 t-0 t-1
        init b                   => 1001:0
        add b 1001:0 t-0         => NONE
        abort b 1001:0 v4        => NONE
        reload
        orders                   => commit 1000:1 v2 t-0 t-1, abort 1001:0 v0 t-0
        written a t-0 t-1
        commit a 1000:0          => 1000:1
        ",
    );
}

#[test]
fn a_report_on_another_transaction_is_none_on_this() {
    // In the first protocol two transactions have the same producer id and epoch: a report that comes late, perhaps to
    // a machine that was loaded since, must not be taken for one on the next.
    let mut rig = Rig::new(LEVEL);
    rig.run("init a => 1000:0\nadd a 1000:0 t-0 => NONE\ncommit a 1000:0 v4 => NONE");
    let first = rig.orders[0].decided_at;
    rig.run("written a t-0\nadd a 1000:0 t-0 => NONE\nabort a 1000:0 v4 => NONE");
    let late = [("t", 0, MarkerResult::Written)];
    rig.step(|machine, moment, effects| machine.markers_written(moment, "a", first, late, effects));
    rig.run("show a => PrepareAbort 1000:0 t-0");
    let none = [("t", 3, MarkerResult::Again), ("nowhere", 0, MarkerResult::Written)];
    let second = rig.orders[1].decided_at;
    rig.step(|machine, moment, effects| machine.markers_written(moment, "a", second, none, effects));
    rig.run("wait 1000\nshow a => PrepareAbort 1000:0 t-0\nwritten a t-0\nshow a => CompleteAbort 1000:0");
}

#[test]
fn a_record_stays_below_what_a_batch_may_have() {
    let mut rig = Rig::new(LEVEL);
    rig.run("init a => 1000:0");
    let mut partitions = Partitions::new();
    partitions.insert("t".to_owned(), (0..250_000).collect());
    let claim = Claim { transactional_id: "a", producer_id: ProducerId(1000), epoch: 0 };
    let numbers: Vec<i32> = (0..250_000).collect();
    let mut effects = TxnEffects::default();
    let moment = rig.moment.clone();
    let added = rig.machine.add(&moment, claim, [("t", numbers.as_slice())].into_iter(), 2, &mut effects);
    assert_eq!((added, effects.written()), (Err(ErrorCode::UnknownServerError), 0));
    let added = rig.machine.add(&moment, claim, [("t", &numbers[..200_000])].into_iter(), 2, &mut effects);
    assert_eq!((added, effects.written()), (Ok(()), 1));
}

#[test]
fn transactions_are_listed() {
    check(
        "
        list                              =>
        init apple                        => 1000:0
        init banana                       => 1001:0
        add banana 1001:0 t-0             => NONE
        init apricot                      => 1002:0
        add apricot 1002:0 t-0            => NONE
        commit apricot 1002:0             => 1002:1
        wait 500
        list                              => apple=1000:Empty apricot=1002:PrepareCommit banana=1001:Ongoing
        list states=Ongoing,Empty         => apple=1000:Empty banana=1001:Ongoing
        list states=Dead                  =>
        list states=Ongoing,ongoing,What  => banana=1001:Ongoing ?What ?ongoing
        list states=What                  => ?What
        list ids=1000,1002,7              => apple=1000:Empty apricot=1002:PrepareCommit
        list over=499                     => apple=1000:Empty apricot=1002:PrepareCommit banana=1001:Ongoing
        list over=500                     => apple=1000:Empty
        list over=500 states=Ongoing      =>
        list pattern=ap.*                 => apple=1000:Empty apricot=1002:PrepareCommit
        list pattern=ap                   =>
        list pattern=app.*|ban.*          => apple=1000:Empty banana=1001:Ongoing
        list pattern=                     => apple=1000:Empty apricot=1002:PrepareCommit banana=1001:Ongoing
        list pattern=(                    => INVALID_REGULAR_EXPRESSION
        list pattern=a)|(b                => INVALID_REGULAR_EXPRESSION
        list pattern=((a{999}){999}){999} => INVALID_REGULAR_EXPRESSION
        ",
    );
}

#[test]
fn requests_of_clients_and_leaders_have_two_forms() {
    let topics = transaction("a", (1000, 0), &named(&["t-0", "t-1"])).topics;
    let request = kafka_protocol::messages::AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(str_bytes("a")))
        .with_v3_and_below_producer_id(kafka_id(ProducerId(1000)))
        .with_v3_and_below_producer_epoch(0)
        .with_v3_and_below_topics(topics);
    let transaction = from_client(&request);
    assert_eq!(transaction, super::transaction("a", (1000, 0), &named(&["t-0", "t-1"])));
    let result = refused(&transaction, ErrorCode::NotCoordinator);
    let of_client = to_client(3, vec![result.clone()]);
    assert_eq!(of_client.results_by_topic_v3_and_below, result.topic_results);
    assert!(of_client.results_by_transaction.is_empty());
    let of_leader = to_client(4, vec![result.clone(), result.clone()]);
    assert_eq!(of_leader.results_by_transaction, [result.clone(), result]);
    assert!(of_leader.results_by_topic_v3_and_below.is_empty());
}
