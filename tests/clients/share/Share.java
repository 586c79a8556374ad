// Kafka's share consumer against a broker:
//   Share check BOOTSTRAP LOCK_MS           what a member accepts, releases, rejects, forgets and leaves behind; says `as expected`
//   Share run BOOTSTRAP RECORDS SECONDS     three members settle that many records through any number of restarts; says what came of it
// A record may be delivered more than once, but no two members may ever both be told that they have settled it.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

public final class Share {
    private static final int PARTITIONS = 3;
    private static final Map<Integer, Integer> SETTLED = new ConcurrentHashMap<>(), DELIVERED = new ConcurrentHashMap<>();
    private static final AtomicInteger TWICE = new AtomicInteger(), FAILED = new AtomicInteger();

    private static final AtomicLong LAST = new AtomicLong();

    private Share() {}

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "check" -> check(args[1], Integer.parseInt(args[2]));
            case "run" -> System.exit(run(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3])) ? 0 : 1);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static Map<String, Object> settings(String bootstrap) {
        return new HashMap<>(Map.of("bootstrap.servers", bootstrap, "delivery.timeout.ms", 600_000));
    }

    private static KafkaShareConsumer<String, String> consumer(String bootstrap, String group, String topic) {
        Map<String, Object> settings = settings(bootstrap);
        settings.remove("delivery.timeout.ms");
        settings.put("group.id", group);
        settings.put("share.acknowledgement.mode", "explicit");
        settings.put("max.poll.records", 50);
        var consumer = new KafkaShareConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    private static void create(String bootstrap, String topic, int partitions) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
    }

    /** A group that begins at the start of each partition, whenever its members come to it. */
    private static void beginsAtStart(String bootstrap, String group) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        var set = new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
        }
    }

    /** Waits until the members of a group have that many partitions. */
    private static void joined(String bootstrap, String group, int partitions) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            for (int tries = 0; tries < 300 && assigned(admin, group) < partitions; tries++) Thread.sleep(100);
        }
    }

    private static int assigned(Admin admin, String group) throws Exception {
        try {
            var members = admin.describeShareGroups(List.of(group)).all().get().get(group).members();
            return members.stream().mapToInt(member -> member.assignment().topicPartitions().size()).sum();
        } catch (ExecutionException nobody) {
            // Nobody has joined yet.
            if (nobody.getCause() instanceof GroupIdNotFoundException) return 0;
            throw nobody;
        }
    }

    /** Polls until there are so many, and settles each as it is told to; `null` settles nothing. */
    private static List<String> poll(
            KafkaShareConsumer<String, String> consumer, int count, Function<Integer, AcknowledgeType> settles) {
        List<String> shown = new ArrayList<>();
        long end = System.nanoTime() + 30_000_000_000L;
        while (shown.size() < count && System.nanoTime() < end) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                shown.add(record.value() + "x" + record.deliveryCount().orElse((short) 0));
                if (settles == null) continue;
                consumer.acknowledge(record, settles.apply((int) record.offset()));
            }
            if (settles != null) commit(consumer);
        }
        return shown;
    }

    private static void expect(String what, Object expected, Object seen) {
        if (!expected.equals(seen)) throw new AssertionError(what + ": expected " + expected + ", seen " + seen);
    }

    private static void commit(KafkaShareConsumer<String, String> consumer) {
        consumer.commitSync().forEach((partition, failed) -> failed.ifPresent(error -> {
            throw new AssertionError(partition + ": " + error);
        }));
    }

    private static void check(String bootstrap, int lockMs) throws Exception {
        String topic = "checked", group = "checking";
        create(bootstrap, topic, 1);
        try (Producer<String, String> producer =
                new KafkaProducer<>(settings(bootstrap), new StringSerializer(), new StringSerializer())) {
            var first = consumer(bootstrap, group, topic);
            for (int polls = 0; polls < 60; polls++) first.poll(Duration.ofMillis(200));
            for (int number = 0; number < 9; number++) producer.send(new ProducerRecord<>(topic, "" + number)).get();
            AcknowledgeType[] types = {AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT};
            Map<Integer, Integer> deliveries = new HashMap<>();
            var got = poll(first, 12, offset -> {
                int times = deliveries.merge(offset, 1, Integer::sum);
                return times > 1 ? AcknowledgeType.ACCEPT : types[offset % 3];
            });
            expect("released", List.of("0x1", "1x1", "1x2", "2x1", "3x1", "4x1", "4x2", "5x1", "6x1", "7x1", "7x2", "8x1"),
                got.stream().sorted().toList());

            // Where a group begins stands with its first fetch, though that member leaves with nothing.
            String early = "leaving";
            var leaving = consumer(bootstrap, early, topic);
            for (int polls = 0; polls < 50; polls++) leaving.poll(Duration.ofMillis(200));
            leaving.close();
            for (String word : List.of("unseen", "unheard")) producer.send(new ProducerRecord<>(topic, word)).get();
            var next = consumer(bootstrap, early, topic);
            expect("after one that left", List.of("unseenx1", "unheardx1"), poll(next, 2, offset -> AcknowledgeType.ACCEPT));
            next.close();
            expect("for the other group", List.of("unseenx1", "unheardx1"), poll(first, 2, offset -> AcknowledgeType.ACCEPT));

            // A member that keeps a record too long loses it to another.
            producer.send(new ProducerRecord<>(topic, "kept")).get();
            expect("kept", List.of("keptx1"), poll(first, 1, null));
            var second = consumer(bootstrap, group, topic);
            long began = System.nanoTime();
            expect("lost", List.of("keptx2"), poll(second, 1, offset -> AcknowledgeType.ACCEPT));
            long waitedMs = (System.nanoTime() - began) / 1_000_000;
            if (waitedMs > lockMs + 15_000) throw new AssertionError("it came after " + waitedMs + " ms");
            second.close();

            // A member that leaves gives back what it has at once.
            var third = consumer(bootstrap, group, topic);
            first.close();
            for (int polls = 0; polls < 50; polls++) third.poll(Duration.ofMillis(200));
            producer.send(new ProducerRecord<>(topic, "left")).get();
            expect("left", List.of("leftx1"), poll(third, 1, null));
            third.close();
            var fourth = consumer(bootstrap, group, topic);
            expect("taken", List.of("leftx2"), poll(fourth, 1, offset -> AcknowledgeType.ACCEPT));
            fourth.close();
        }
        System.out.println("as expected");
    }

    private static void member(String bootstrap, String group, String topic, AtomicBoolean ends) {
        try (var consumer = consumer(bootstrap, group, topic)) {
            while (!ends.get()) {
                Map<TopicPartition, List<Integer>> accepted = new HashMap<>();
                try {
                    for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                        int number = Integer.parseInt(record.value());
                        DELIVERED.merge(number, 1, Integer::sum);
                        LAST.set(System.nanoTime());
                        boolean releases = number % 7 == 0 && record.deliveryCount().orElse((short) 1) == 1;
                        consumer.acknowledge(record, releases ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT);
                        if (!releases) {
                            var partition = new TopicPartition(record.topic(), record.partition());
                            accepted.computeIfAbsent(partition, any -> new ArrayList<>()).add(number);
                        }
                    }
                    if (accepted.isEmpty()) continue;
                    consumer.commitSync(Duration.ofSeconds(20)).forEach((partition, failed) -> {
                        if (failed.isPresent()) FAILED.incrementAndGet();
                        else settle(accepted.getOrDefault(partition.topicPartition(), List.of()));
                    });
                } catch (KafkaException failed) {
                    FAILED.incrementAndGet();
                }
            }
        } catch (KafkaException failed) {
            System.err.println("a member ended: " + failed);
        }
    }

    private static void settle(List<Integer> numbers) {
        for (int number : numbers) {
            if (SETTLED.merge(number, 1, Integer::sum) > 1 && TWICE.incrementAndGet() < 10) {
                System.out.println("settled twice: " + number);
            }
        }
    }

    private static boolean run(String bootstrap, int records, int seconds) throws Exception {
        String topic = "shared", group = "sharing";
        create(bootstrap, topic, PARTITIONS);
        beginsAtStart(bootstrap, group);
        AtomicBoolean ends = new AtomicBoolean();
        List<Thread> members = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            Thread member = new Thread(() -> member(bootstrap, group, topic, ends));
            member.setDaemon(true);
            member.start();
            members.add(member);
        }
        joined(bootstrap, group, PARTITIONS);
        System.out.println("joined");
        AtomicInteger lost = new AtomicInteger();
        try (Producer<String, String> producer =
                new KafkaProducer<>(settings(bootstrap), new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < records; number++) {
                producer.send(new ProducerRecord<>(topic, number % PARTITIONS, null, "" + number), (at, failed) -> {
                    if (failed != null) lost.incrementAndGet();
                });
                LockSupport.parkNanos(seconds * 1_000_000_000L / records);
            }
        }
        long end = System.nanoTime() + 120_000_000_000L;
        boolean done = false;
        while (!done && System.nanoTime() < end) {
            Thread.sleep(500);
            // What was given back, or kept by a member that the broker forgot, has come again by then.
            boolean isQuiet = System.nanoTime() - LAST.get() > 10_000_000_000L;
            done = DELIVERED.size() == records && (SETTLED.size() == records || isQuiet);
        }
        ends.set(true);
        for (Thread member : members) member.join(30_000);
        int deliveries = DELIVERED.values().stream().mapToInt(Integer::intValue).sum();
        System.out.printf("%d records, %d lost, %d delivered %d times, %d settled, %d of them twice, %d commits failed%n",
            records, lost.get(), DELIVERED.size(), deliveries, SETTLED.size(), TWICE.get(), FAILED.get());
        // Of a commit that failed nobody knows whether it was made: such records need not have been settled in this sense.
        return done && lost.get() == 0 && TWICE.get() == 0 && (SETTLED.size() == records || FAILED.get() > 0);
    }
}
