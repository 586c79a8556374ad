// `Transactions BOOTSTRAP [RECORDS]`: a transactional copy with aborts, as Kafka's own client does it: reads a topic in a group, writes
// every record with its transaction's number into another of several partitions, commits the group's offsets in the same transaction, and
// aborts every third. A reader of committed records watches meanwhile. Prints a line for each thing that held and ends with 0, or says
// what did not. `Transactions BOOTSTRAP ID TOPIC PARTITION` leaves a transaction open, for the tools. Knows nothing of the broker but
// its address.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

public final class Transactions {
    private static final int IN = 2, OUT = 3, BATCH = 50;

    private final String bootstrap, run = UUID.randomUUID().toString().substring(0, 8);
    private final String in = "copy-in-" + run, out = "copy-out-" + run, group = "copiers-" + run;
    private final int records;

    private Transactions(String bootstrap, int records) {
        this.bootstrap = bootstrap;
        this.records = records;
    }

    public static void main(String[] args) throws Exception {
        if (args.length == 4) {
            leaveOpen(args[0], args[1], args[2], Integer.parseInt(args[3]));
            return;
        }
        Transactions transactions =
            new Transactions(args[0], args.length > 1 ? Integer.parseInt(args[1]) : 2000);
        transactions.prepare();
        transactions.copy();
        transactions.fence();
        transactions.expire();
    }

    /** Begins a transaction with a record in a partition, prints its offset, and dies. */
    private static void leaveOpen(String bootstrap, String id, String topic, int partition) throws Exception {
        Producer<String, String> producer = new Transactions(bootstrap, 0).producer(id, 900_000);
        producer.initTransactions();
        producer.beginTransaction();
        System.out.println(producer.send(new ProducerRecord<>(topic, partition, "k", "left open")).get().offset());
        Runtime.getRuntime().halt(0);
    }

    private static void hold(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    private Map<String, Object> settings(Object... pairs) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        for (int i = 0; i < pairs.length; i += 2) settings.put((String) pairs[i], pairs[i + 1]);
        return settings;
    }

    private Producer<String, String> producer(String id, int timeoutMs) {
        return new KafkaProducer<>(
            settings("transactional.id", id, "transaction.timeout.ms", timeoutMs, "linger.ms", 5),
            new StringSerializer(), new StringSerializer());
    }

    private Consumer<String, String> consumer(Object... pairs) {
        Map<String, Object> settings = settings(pairs);
        settings.putAll(Map.of("isolation.level", "read_committed", "enable.auto.commit", false,
            "auto.offset.reset", "earliest", "max.poll.records", BATCH));
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private void prepare() throws Exception {
        try (Admin admin = Admin.create(settings())) {
            admin.createTopics(List.of(new NewTopic(in, IN, (short) 1), new NewTopic(out, OUT, (short) 1))).all().get();
        }
        try (Producer<String, String> plain =
                new KafkaProducer<>(settings(), new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < records; i++) plain.send(new ProducerRecord<>(in, i % IN, "" + i, "value " + i));
        }
    }

    /** Of each transaction that the reader saw, the inputs; filled by the reader alone until it ends. */
    private final Map<Integer, List<String>> seen = new TreeMap<>();

    private void copy() throws Exception {
        Map<Integer, Integer> committed = new TreeMap<>();
        AtomicBoolean done = new AtomicBoolean();
        ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
            Thread reader = new Thread(task);
            reader.setDaemon(true);
            return reader;
        });
        Future<?> reading = thread.submit(() -> read(done));
        int number = 0, aborted = 0;
        try (Producer<String, String> producer = producer("copier-" + run, 60_000);
                Consumer<String, String> consumer = consumer("group.id", group)) {
            producer.initTransactions();
            consumer.subscribe(List.of(in));
            for (int copied = 0; copied < records; number++) {
                ConsumerRecords<String, String> polled = consumer.poll(Duration.ofSeconds(1));
                if (polled.isEmpty()) continue;
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> record : polled) {
                    String value = number + " " + polled.count() + " " + record.value();
                    producer.send(new ProducerRecord<>(out, Math.floorMod(Integer.parseInt(record.key()), OUT), record.key(), value));
                    offsets.put(new TopicPartition(in, record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (number % 3 == 2) {
                    producer.flush();
                    producer.abortTransaction();
                    rewind(consumer);
                    aborted++;
                } else {
                    producer.commitTransaction();
                    committed.put(number, polled.count());
                    copied += polled.count();
                }
            }
        }
        done.set(true);
        reading.get(60, TimeUnit.SECONDS);
        thread.shutdown();
        hold(aborted > 0, "nothing was aborted");
        hold(seen.keySet().equals(committed.keySet()), "seen " + seen.keySet() + ", committed " + committed.keySet());
        Set<String> inputs = new HashSet<>();
        for (List<String> of : seen.values()) for (String key : of) hold(inputs.add(key), key + " twice");
        hold(inputs.size() == records, inputs.size() + " of " + records);
        System.out.println("ok copied " + records + " in " + committed.size() + " transactions, " + aborted + " aborted");
    }

    /** Back to what the group has committed. */
    private void rewind(Consumer<String, String> consumer) {
        consumer.committed(consumer.assignment()).forEach((partition, at) -> {
            if (at == null) consumer.seekToBeginning(List.of(partition));
            else consumer.seek(partition, at.offset());
        });
    }

    private void read(AtomicBoolean done) {
        Map<Integer, Integer> sizes = new HashMap<>();
        try (Consumer<String, String> consumer = consumer()) {
            List<TopicPartition> all = new ArrayList<>();
            for (int p = 0; p < OUT; p++) all.add(new TopicPartition(out, p));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            int total = 0;
            for (boolean last = false; total < records && !last; ) {
                last = done.get();
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(last ? 5000 : 200))) {
                    String[] words = record.value().split(" ", 3);
                    int number = Integer.parseInt(words[0]);
                    hold(number % 3 != 2, "an aborted record is seen: " + record.value());
                    sizes.put(number, Integer.parseInt(words[1]));
                    seen.computeIfAbsent(number, n -> new ArrayList<>()).add(record.key());
                    total++;
                }
            }
        }
        seen.forEach((number, keys) ->
            hold(keys.size() == sizes.get(number), "transaction " + number + ": " + keys.size() + " of " + sizes.get(number)));
    }

    private void fence() throws Exception {
        String id = "fenced-" + run;
        try (Producer<String, String> zombie = producer(id, 60_000); Producer<String, String> successor = producer(id, 60_000)) {
            zombie.initTransactions();
            zombie.beginTransaction();
            zombie.send(new ProducerRecord<>(out, 0, "zombie", "2 1 zombie")).get();
            successor.initTransactions();
            try {
                zombie.send(new ProducerRecord<>(out, 0, "zombie", "2 1 zombie"));
                zombie.commitTransaction();
                throw new AssertionError("a zombie commits");
            } catch (ProducerFencedException | InvalidProducerEpochException fenced) {
                System.out.println("ok fenced " + fenced.getClass().getSimpleName());
            }
            successor.beginTransaction();
            successor.send(new ProducerRecord<>(out, 1, "successor", "0 1 successor"));
            successor.commitTransaction();
        }
    }

    /** Two seconds, which the broker notices when it next looks. */
    private void expire() throws Exception {
        String id = "slow-" + run;
        try (Producer<String, String> slow = producer(id, 2_000); Admin admin = Admin.create(settings())) {
            slow.initTransactions();
            slow.beginTransaction();
            slow.send(new ProducerRecord<>(out, 2, "slow", "2 1 slow")).get();
            long began = System.nanoTime();
            TransactionState state;
            do {
                state = admin.describeTransactions(List.of(id)).description(id).get().state();
                Thread.sleep(200);
                hold(System.nanoTime() - began < 60_000_000_000L, "still " + state);
            } while (state != TransactionState.COMPLETE_ABORT);
            try {
                slow.commitTransaction();
                throw new AssertionError("a transaction that took too long commits");
            } catch (KafkaException refused) {
                System.out.println("ok expired " + refused.getClass().getSimpleName());
            }
        }
    }
}
