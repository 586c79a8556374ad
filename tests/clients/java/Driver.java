// Apache Kafka's Java client behind the line protocol of tests/clients/README.md: commands on standard input,
// one answer line each on standard output. `drain` is the small reading program of the comparison in perf/.

import java.io.*;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class Driver {
    static String bootstrap;
    static BufferedReader in = new BufferedReader(new InputStreamReader(System.in));

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.trim().split(" +", 2);
            try {
                System.out.println(answer(words[0], words.length > 1 ? words[1] : ""));
            } catch (Exception e) {
                System.out.println("error " + e.toString().replace('\n', ' '));
            }
        }
    }

    static String answer(String command, String rest) throws Exception {
        return switch (command) {
            case "create" -> create(rest.split(" +"));
            case "delete" -> delete(rest);
            case "expect" -> expect(new Spec(rest));
            case "produce" -> produce(new Spec(rest));
            case "read" -> read(new Spec(rest));
            case "drain" -> drain(new Spec(rest));
            case "load" -> new Load(new Spec(rest)).run();
            case "check" -> check(new Spec(rest));
            case "member" -> new Member(words(rest)).run();
            case "transaction" -> transaction(words(rest));
            default -> "error unknown command " + command;
        };
    }

    /** KEY=VALUE words. */
    static Map<String, String> words(String rest) {
        Map<String, String> words = new HashMap<>();
        for (String word : rest.split(" +")) words.put(word.split("=", 2)[0], word.split("=", 2)[1]);
        return words;
    }

    /** create TOPIC PARTITIONS [KEY=VALUE…] */
    static String create(String[] words) throws Exception {
        Map<String, String> configs = new HashMap<>();
        for (int i = 2; i < words.length; i++) configs.put(words[i].split("=", 2)[0], words[i].split("=", 2)[1]);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            NewTopic topic = new NewTopic(words[0], Integer.parseInt(words[1]), (short) 1).configs(configs);
            admin.createTopics(List.of(topic)).all().get();
        }
        return "ok";
    }

    static String delete(String topic) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.deleteTopics(List.of(topic)).all().get();
        }
        return "ok";
    }

    static String expect(Spec spec) throws Exception {
        Spec.Hash hash = spec.new Hash();
        for (int p = 0; p < spec.partitions; p++)
            for (long i = 0; i < spec.count(p); i++) hash.add(p, i, spec.record(p, i));
        return hash.answer();
    }

    static String produce(Spec spec) throws Exception {
        Map<String, Producer<byte[], byte[]>> producers = new HashMap<>();
        AtomicReference<Exception> failed = new AtomicReference<>();
        for (long i = 0; i < spec.count(0); i++)
            for (int p = 0; p < spec.partitions && i < spec.count(p); p++)
                producers.computeIfAbsent(spec.codec(p), Driver::producer)
                    .send(spec.toProduce(p, i), (at, e) -> { if (e != null) failed.set(e); });
        producers.values().forEach(Producer::close);
        if (failed.get() != null) throw failed.get();
        return "ok " + spec.records;
    }

    static Producer<byte[], byte[]> producer(String codec) {
        return producer(codec, 5);
    }

    static Producer<byte[], byte[]> producer(String codec, long inFlight) {
        int forever = Integer.MAX_VALUE;
        return new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap, "compression.type", codec, "linger.ms", 5,
            "max.block.ms", forever, "delivery.timeout.ms", forever, "request.timeout.ms", 10000, "reconnect.backoff.max.ms", 200,
            "max.in.flight.requests.per.connection", (int) inFlight),
            new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Says `open <offset>` in the midst of a transaction of one record, and goes on as the next line says: `commit` or `abort`. */
    static String transaction(Map<String, String> words) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "transactional.id", words.get("id"), "max.block.ms", 20_000);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            var at = producer.send(new ProducerRecord<>(words.get("topic"), 0, null, new byte[] {'x'})).get();
            System.out.println("open " + at.offset());
            if (in.readLine().equals("commit")) producer.commitTransaction();
            else producer.abortTransaction();
        }
        return "ok";
    }

    static String read(Spec spec) throws Exception {
        Spec.Hash hash = spec.new Hash();
        readAll(spec, r -> hash.add(r.partition(), r.offset(), Spec.Rec.of(r)));
        return hash.answer();
    }

    /** Reads everything and looks at nothing: `<records> <bytes> <milliseconds from the first poll to the last record>`. */
    static String drain(Spec spec) throws Exception {
        long[] seen = new long[2];
        long nanos = readAll(spec, r -> {
            seen[0]++;
            seen[1] += Math.max(r.serializedKeySize(), 0) + Math.max(r.serializedValueSize(), 0);
        });
        return seen[0] + " " + seen[1] + " " + nanos / 1_000_000;
    }

    interface Each { void record(ConsumerRecord<byte[], byte[]> r) throws Exception; }

    /** Hands over all records up to the ends seen at the start, and says how long that took. */
    static long readAll(Spec spec, Each each) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none", "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (int p = 0; p < spec.partitions; p++) all.add(new TopicPartition(spec.topic, p));
            consumer.assign(all);
            Map<TopicPartition, Long> left = new HashMap<>(consumer.endOffsets(all));
            consumer.beginningOffsets(all).forEach(consumer::seek);
            long started = System.nanoTime(), heard = started;
            for (;;) {
                left.entrySet().removeIf(e -> consumer.position(e.getKey()) >= e.getValue());
                if (left.isEmpty()) return System.nanoTime() - started;
                var records = consumer.poll(Duration.ofMillis(500));
                for (var r : records) each.record(r);
                if (!records.isEmpty()) heard = System.nanoTime();
                if (System.nanoTime() - heard > 60e9) throw new IOException("no record for 60 s, still to come: " + left);
            }
        }
    }

    /** `check SPEC acks=FILE`: the log is the generator's sequence, each record at its own offset, and holds all of FILE. */
    static String check(Spec spec) throws Exception {
        long[] next = new long[spec.partitions];
        readAll(spec, r -> {
            int p = r.partition();
            Spec.Rec due = spec.record(p, next[p]);
            if (r.offset() != next[p] || !Arrays.equals(spec.encode(p, r.offset(), due), spec.encode(p, r.offset(), Spec.Rec.of(r))))
                throw new IOException("partition " + p + ": offset " + r.offset() + " holds something else than record " + next[p]);
            next[p]++;
        });
        long acked = 0;
        for (String line : Files.readAllLines(Path.of(spec.fields.get("acks")))) {
            if (!line.startsWith("acked ")) continue;
            long[] w = Arrays.stream(line.split(" ")).skip(1).mapToLong(Long::parseLong).toArray();
            if (w[3] != w[1]) throw new IOException("acknowledged at an offset that is not its index: " + line);
            if (w[3] + w[2] > next[(int) w[0]]) throw new IOException("lost: log ends at " + next[(int) w[0]] + ", but " + line);
            acked += w[2];
        }
        return "ok " + Arrays.stream(next).sum() + " " + acked;
    }
}
