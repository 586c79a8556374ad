// `member WORDS` of the Java driver: one member of a group that says what happens to it (tests/clients/README.md), until a line
// arrives on standard input.

import java.time.Duration;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

final class Member implements ConsumerRebalanceListener {
    private static final long COMMIT_EVERY_MS = 250;
    private static final Map<String, Class<?>> ASSIGNORS = Map.of("range", RangeAssignor.class, "roundrobin", RoundRobinAssignor.class,
        "sticky", StickyAssignor.class, "cooperative-sticky", CooperativeStickyAssignor.class);

    private final String topic;
    private final KafkaConsumer<byte[], byte[]> consumer;
    /** Where to go on after what was consumed and is not committed. */
    private final Map<TopicPartition, OffsetAndMetadata> due = new HashMap<>();
    /** What the callbacks say is assigned. */
    private final Set<TopicPartition> mine = new HashSet<>();
    private volatile boolean told;

    Member(Map<String, String> words) {
        topic = words.get("topic");
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", Driver.bootstrap, "group.id", words.get("group"),
            "auto.offset.reset", "earliest", "enable.auto.commit", false, "max.poll.interval.ms", 60_000, "fetch.max.wait.ms", 100,
            "reconnect.backoff.max.ms", 200));
        if (words.containsKey("instance")) config.put("group.instance.id", words.get("instance"));
        if ("consumer".equals(words.get("protocol"))) {
            config.put("group.protocol", "consumer");
            config.put("group.remote.assignor", words.get("assignor"));
        } else {
            config.put("group.protocol", "classic");
            config.put("session.timeout.ms", words.get("session"));
            config.put("heartbeat.interval.ms", words.get("heartbeat"));
            config.put("partition.assignment.strategy", ASSIGNORS.get(words.get("assignor")).getName());
        }
        consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    String run() throws Exception {
        Thread listener = new Thread(() -> {
            try {
                Driver.in.readLine();
            } catch (java.io.IOException e) {
                say("failed", e.toString());
            }
            told = true;
        });
        listener.setDaemon(true);
        listener.start();
        try (consumer) {
            consumer.subscribe(List.of(topic), this);
            long committed = System.nanoTime();
            while (!told) {
                consumed(consumer.poll(Duration.ofMillis(100)));
                if (System.nanoTime() - committed < COMMIT_EVERY_MS * 1_000_000 || due.isEmpty()) continue;
                commit(due.keySet());
                committed = System.nanoTime();
            }
        } catch (KafkaException e) {
            say("failed", e.toString());
            throw e;
        }
        say("closed");
        return "ok";
    }

    private void consumed(ConsumerRecords<byte[], byte[]> records) {
        List<String> ranges = new ArrayList<>(), stray = new ArrayList<>();
        for (TopicPartition at : records.partitions()) {
            var of = records.records(at);
            long first = of.get(0).offset(), last = of.get(of.size() - 1).offset();
            // By the consumer protocol a poll that tells of lost partitions may still bring what was fetched of them.
            boolean owned = mine.contains(at);
            (owned ? ranges : stray).add(at.partition() + ":" + first + "-" + last);
            if (owned) due.put(at, new OffsetAndMetadata(last + 1));
        }
        if (!stray.isEmpty()) say("stray", String.join(",", stray));
        if (!ranges.isEmpty()) say("consumed", String.join(",", ranges));
    }

    /** Commits where to go on in these partitions; what is refused stays due. */
    private void commit(Collection<TopicPartition> partitions) {
        Map<TopicPartition, OffsetAndMetadata> now = new HashMap<>(due);
        now.keySet().retainAll(partitions);
        if (now.isEmpty()) return;
        String offsets = now.entrySet().stream().map(e -> e.getKey().partition() + ":" + e.getValue().offset())
            .collect(Collectors.joining(","));
        say("commit", offsets);
        try {
            consumer.commitSync(now, Duration.ofSeconds(10));
        } catch (FencedInstanceIdException e) {
            throw e;
        } catch (KafkaException e) {
            say("uncommitted", e.toString());
            return;
        }
        say("committed", offsets);
        due.keySet().removeAll(now.keySet());
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        mine.addAll(partitions);
        say("assigned", numbers(partitions), "generation=" + consumer.groupMetadata().generationId());
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        commit(partitions);
        due.keySet().removeAll(partitions);
        mine.removeAll(partitions);
        say("revoked", numbers(partitions));
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        due.keySet().removeAll(partitions);
        mine.removeAll(partitions);
        say("lost", numbers(partitions));
    }

    private static String numbers(Collection<TopicPartition> partitions) {
        return partitions.isEmpty() ? "-" : partitions.stream().map(at -> "" + at.partition()).collect(Collectors.joining(","));
    }

    private static synchronized void say(String... words) {
        System.out.println(System.currentTimeMillis() + " " + String.join(" ", words).replace('\n', ' '));
    }
}
