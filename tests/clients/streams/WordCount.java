// A Kafka Streams application that counts words exactly once (exactly_once_v2), over a topic of its own for the repartitioned words and one
// for the changes of its state, and what feeds and checks it:
//   WordCount create BOOTSTRAP               its topics
//   WordCount feed BOOTSTRAP LINES RATE      lines at so many a second, through any number of restarts; says `fed`
//   WordCount run BOOTSTRAP STATE_DIR        the application, until it is killed
//   WordCount check BOOTSTRAP LINES SECONDS  waits until the counts are those of the lines; says `exact …` or `wrong …`

import java.time.Duration;
import java.util.*;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

public final class WordCount {
    private static final String LINES = "lines", COUNTS = "counts";
    private static final int PARTITIONS = 4;

    private WordCount() {}

    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", args[1]));
        switch (args[0]) {
            case "create" -> create(settings);
            case "feed" -> feed(settings, Integer.parseInt(args[2]), Integer.parseInt(args[3]));
            case "run" -> run(settings, args[2]);
            case "check" -> System.exit(check(settings, Integer.parseInt(args[2]), Integer.parseInt(args[3])) ? 0 : 1);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static String line(int number) {
        return "w" + number % 97 + " v" + number * 7L % 53 + " x";
    }

    private static void create(Map<String, Object> settings) throws Exception {
        try (Admin admin = Admin.create(settings)) {
            NewTopic lines = new NewTopic(LINES, PARTITIONS, (short) 1), counts = new NewTopic(COUNTS, PARTITIONS, (short) 1);
            admin.createTopics(List.of(lines, counts)).all().get();
        }
    }

    private static void feed(Map<String, Object> settings, int lines, int rate) {
        settings.put("delivery.timeout.ms", 600_000);
        long began = System.nanoTime();
        try (Producer<String, String> producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < lines; number++) {
                producer.send(new ProducerRecord<>(LINES, "" + number, line(number)), (at, failed) -> {
                    if (failed == null) return;
                    System.out.println("a line is lost: " + failed);
                    System.exit(1);
                });
                LockSupport.parkNanos(began + number * 1_000_000_000L / rate - System.nanoTime());
            }
        }
        System.out.println("fed");
    }

    private static void run(Map<String, Object> settings, String stateDir) throws InterruptedException {
        Properties properties = new Properties();
        properties.putAll(settings);
        properties.putAll(Map.of("application.id", "word-count", "processing.guarantee", "exactly_once_v2", "state.dir", stateDir,
            "num.stream.threads", 2, "commit.interval.ms", 100, "replication.factor", 1, "session.timeout.ms", 6000,
            "producer.transaction.timeout.ms", 10_000));
        properties.put("default.key.serde", Serdes.StringSerde.class);
        properties.put("default.value.serde", Serdes.StringSerde.class);
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(LINES)
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count()
            .toStream()
            .to(COUNTS, Produced.with(Serdes.String(), Serdes.Long()));
        try (KafkaStreams streams = new KafkaStreams(builder.build(), properties)) {
            streams.start();
            Thread.sleep(Long.MAX_VALUE);
        }
    }

    private static boolean check(Map<String, Object> settings, int lines, int seconds) {
        Map<String, Long> expected = new TreeMap<>(), counts = new TreeMap<>();
        for (int number = 0; number < lines; number++) {
            for (String word : line(number).split(" ")) expected.merge(word, 1L, Long::sum);
        }
        settings.putAll(Map.of("isolation.level", "read_committed", "auto.offset.reset", "earliest"));
        long updates = 0, backwards = 0, until = System.nanoTime() + seconds * 1_000_000_000L;
        try (Consumer<String, Long> consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (int partition = 0; partition < PARTITIONS; partition++) all.add(new TopicPartition(COUNTS, partition));
            consumer.assign(all);
            while (!counts.equals(expected) && System.nanoTime() < until) {
                for (ConsumerRecord<String, Long> update : consumer.poll(Duration.ofMillis(500))) {
                    Long before = counts.put(update.key(), update.value());
                    if (before != null && update.value() <= before) backwards++;
                    updates++;
                }
            }
        }
        boolean isExact = counts.equals(expected) && backwards == 0;
        System.out.println((isExact ? "exact: " : "wrong: ") + sum(counts) + " of " + sum(expected) + " words, " + updates + " updates, "
            + backwards + " backwards");
        return isExact;
    }

    private static long sum(Map<String, Long> counts) {
        return counts.values().stream().mapToLong(Long::longValue).sum();
    }
}
