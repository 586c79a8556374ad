// Asks Apache Kafka itself what it does with good and bad produced batches, and prints one case a line: see produce_verdicts.txt,
// which holds the answers. With the runtime dependencies of org.apache.kafka:kafka-storage:4.2.1 in lib/:
//   java -cp 'lib/*' ProduceVerdicts.java 2>/dev/null
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ScheduledFuture;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.zip.CRC32C;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.FileRecords;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.Scheduler;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.RecordValidationException;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class ProduceVerdicts {
    static final long NOW_MS = 1_700_000_000_000L;
    static final int LENGTH = 8, EPOCH = 12, MAGIC = 16, CRC = 17, ATTRIBUTES = 21, LAST_DELTA = 23, BASE_TIME = 27, MAX_TIME = 35,
        PRODUCER_ID = 43, PRODUCER_EPOCH = 51, SEQUENCE = 53, COUNT = 57, RECORDS = 61;

    static final Time STANDING_CLOCK = new Time() {
        public long milliseconds() { return NOW_MS; }
        public long nanoseconds() { return NOW_MS * 1_000_000; }
        public void sleep(long ms) { }
        public void waitObject(Object object, Supplier<Boolean> condition, long deadlineMs) { }
    };

    static final Scheduler NO_SCHEDULER = new Scheduler() {
        public void startup() { }
        public void shutdown() { }
        public void resizeThreadPool(int threads) { }
        public ScheduledFuture<?> schedule(String name, Runnable task, long delayMs, long periodMs) { return null; }
    };

    // A batch with fields overwritten, under a valid checksum unless the checksum itself was the last thing set.
    record Batch(byte[] bytes) {
        Batch put(int at, int size, long value) {
            Batch changed = raw(at, size, value);
            CRC32C crc = new CRC32C();
            crc.update(changed.bytes, ATTRIBUTES, changed.bytes.length - ATTRIBUTES);
            return changed.raw(CRC, 4, crc.getValue());
        }

        Batch raw(int at, int size, long value) {
            byte[] copy = bytes.clone();
            ByteBuffer big = ByteBuffer.allocate(8).putLong(0, value);
            big.get(8 - size, copy, at, size);
            return new Batch(copy);
        }

        Batch cut(int length) { return new Batch(Arrays.copyOf(bytes, length)); }

        Batch then(byte[] rest) {
            ByteArrayOutputStream joined = new ByteArrayOutputStream();
            joined.writeBytes(bytes);
            joined.writeBytes(rest);
            return new Batch(joined.toByteArray());
        }

        int length() { return bytes.length; }
    }

    static SimpleRecord record(long timeMs, String key, String value, Header... headers) {
        return new SimpleRecord(timeMs, key == null ? null : key.getBytes(), value == null ? null : value.getBytes(), headers);
    }

    static Batch batch(String codec, SimpleRecord... records) {
        Compression compression = switch (codec) {
            case "gzip" -> Compression.gzip().build();
            case "snappy" -> Compression.snappy().build();
            case "lz4" -> Compression.lz4().build();
            case "zstd" -> Compression.zstd().build();
            default -> Compression.NONE;
        };
        ByteBuffer buffer = MemoryRecords.withRecords(RecordBatch.MAGIC_VALUE_V2, 0L, compression, TimestampType.CREATE_TIME, records).buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return new Batch(bytes);
    }

    static Batch sample(String codec) {
        return batch(codec,
            record(NOW_MS - 20, "key", "value", new RecordHeader("h", new byte[]{1}), new RecordHeader("h", null),
                new RecordHeader("", new byte[]{(byte) 0xff, (byte) 0xfe})),
            record(NOW_MS - 10, "k2", "fox ".repeat(20)),
            record(NOW_MS - 15, "", null));
    }

    static String stored(int version, Map<String, String> config, Batch batch) throws Exception {
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(batch.bytes.clone()));
        ProduceRequest.validateRecords((short) version, records);
        File folder = Files.createTempDirectory("verdict").resolve("t-0").toFile();
        folder.mkdirs();
        UnifiedLog log = UnifiedLog.create(folder, new LogConfig(config), 0, 0, NO_SCHEDULER, new BrokerTopicStats(), STANDING_CLOCK,
            3_600_000, new ProducerStateManagerConfig(86_400_000, false), 600_000, new LogDirFailureChannel(1), true, Optional.empty());
        SimpleRecord before = record(NOW_MS, "a", "a");
        log.appendAsLeader(MemoryRecords.withRecords(Compression.NONE, before, before, before), 4);
        log.appendAsLeader(records, 5);
        FileRecords file = log.activeSegment().log();
        file.flush();
        byte[] segment = Files.readAllBytes(file.file().toPath());
        int skip = file.batches().iterator().next().sizeInBytes();
        return HexFormat.of().formatHex(segment, skip, file.sizeInBytes());
    }

    static void judge(String name, int version, Map<String, String> config, Batch batch) {
        String verdict;
        try {
            verdict = "stored " + stored(version, config, batch);
        } catch (Throwable thrown) {
            Throwable cause = thrown instanceof RecordValidationException invalid ? invalid.invalidException() : thrown;
            System.err.println(name + ": " + cause);
            verdict = "error " + Errors.forException(cause).code();
        }
        String options = new TreeMap<>(config).entrySet().stream().map(Object::toString).collect(Collectors.joining(","));
        System.out.println(String.join(" | ", name, "" + version, options.isEmpty() ? "-" : options,
            HexFormat.of().formatHex(batch.bytes), verdict));
    }

    static void judge(String name, Batch batch) { judge(name, 12, Map.of(), batch); }

    public static void main(String[] arguments) {
        codecsAndRewrites();
        shapes();
        counts();
        producersAndFlags();
        times();
        compacted();
    }

    static final Map<String, String> APPEND_TIME = Map.of("message.timestamp.type", "LogAppendTime");

    static void codecsAndRewrites() {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            judge("good-" + codec, sample(codec));
            judge("append-time-" + codec, 12, APPEND_TIME, sample(codec));
        }
        Batch zstd = sample("zstd");
        judge("to-uncompressed", 12, Map.of("compression.type", "uncompressed"), zstd);
        judge("to-uncompressed-append-time", 12,
            Map.of("compression.type", "uncompressed", "message.timestamp.type", "LogAppendTime"), zstd);
        judge("to-own-codec", 12, Map.of("compression.type", "zstd"), zstd);
        judge("zstd-version-6", 6, Map.of(), zstd);
        judge("zstd-version-7", 7, Map.of(), zstd);
        judge("gzip-version-3", 3, Map.of(), sample("gzip"));
        judge("zstd-version-6-two-batches", 6, Map.of(), zstd.then(zstd.bytes));
        for (int codec = 5; codec < 8; codec++) judge("codec-" + codec, sample("none").put(ATTRIBUTES, 2, codec));
        judge("codec-5-version-3", 3, Map.of(), sample("none").put(ATTRIBUTES, 2, 5));
    }

    static void shapes() {
        Batch good = sample("none");
        judge("empty", new Batch(new byte[0]));
        for (int length : new int[]{1, 11, 12, 16, 17, 22, 30, 60, 61, good.length() - 1}) judge("cut-to-" + length, good.cut(length));
        judge("zeros-70", new Batch(new byte[70]));
        judge("zeros-10", new Batch(new byte[10]));
        judge("two-batches", good.then(good.bytes));
        judge("rest-of-a-second-batch", good.then(good.cut(40).bytes));
        judge("rest-of-5-bytes", good.then(new byte[5]));
        judge("rest-of-12-zeros", good.then(new byte[12]));
        judge("rest-with-magic-9", good.then(good.cut(40).raw(MAGIC, 1, 9).bytes));
        for (int length : new int[]{-1, 0, 13, 14, 20, 48, 49, good.length() - 13, good.length() - 11, Integer.MAX_VALUE, Integer.MIN_VALUE})
            judge("length-" + length, good.raw(LENGTH, 4, length));
        for (int magic : new int[]{-1, 0, 1, 3, 127}) judge("magic-" + magic, good.raw(MAGIC, 1, magic));
        judge("crc", good.raw(CRC, 4, 1));
        judge("last-byte-flipped", good.raw(good.length() - 1, 1, good.bytes[good.length() - 1] ^ 1));
        Map<String, String> tooLow = Map.of("max.message.bytes", "" + (good.length() - 1));
        judge("too-large", 12, tooLow, good);
        judge("just-large-enough", 12, Map.of("max.message.bytes", "" + good.length()), good);
        judge("too-large-and-crc", 12, tooLow, good.raw(CRC, 4, 1));
    }

    static void counts() {
        Batch good = sample("none");
        judge("epoch-5-ignored", good.raw(EPOCH, 4, 5));
        judge("base-offset-1", good.raw(0, 8, 1));
        judge("base-offset-negative", good.raw(0, 8, -1));
        judge("base-offset-and-crc", good.raw(0, 8, 1).raw(CRC, 4, 1));
        for (int delta : new int[]{-1, 0, 1, 3, Integer.MAX_VALUE, Integer.MIN_VALUE})
            judge("last-delta-" + delta, good.put(LAST_DELTA, 4, delta));
        for (int count : new int[]{-1, 0, 1, 2, 4, Integer.MAX_VALUE}) judge("count-" + count, good.put(COUNT, 4, count));
        judge("count-and-delta-zero", good.put(COUNT, 4, 0).put(LAST_DELTA, 4, -1));
    }

    static void producersAndFlags() {
        Batch good = sample("none");
        Batch idempotent = good.put(PRODUCER_ID, 8, 9).put(PRODUCER_EPOCH, 2, 1);
        judge("control", good.put(ATTRIBUTES, 2, 0x20));
        judge("transactional", idempotent.put(SEQUENCE, 4, 0).put(ATTRIBUTES, 2, 0x10));
        judge("sequence-negative", idempotent);
        judge("sequence-5-new-producer", idempotent.put(SEQUENCE, 4, 5));
        judge("producer-id-minus-2", good.put(PRODUCER_ID, 8, -2));
        judge("sequence-without-producer", good.put(SEQUENCE, 4, 5));
        judge("unknown-attribute-bits", good.put(ATTRIBUTES, 2, 0x7f80));
        judge("unknown-attribute-bits-append-time", 12, APPEND_TIME, good.put(ATTRIBUTES, 2, 0x7f80));
        judge("delete-horizon-bit", good.put(ATTRIBUTES, 2, 0x40));
        judge("delete-horizon-bit-append-time", 12, APPEND_TIME, good.put(ATTRIBUTES, 2, 0x40));
    }

    static void times() {
        Batch good = sample("none");
        Batch claims = good.put(ATTRIBUTES, 2, 8);
        judge("producer-claims-append-time", claims);
        judge("producer-claims-append-time-to-append-time", 12, APPEND_TIME, claims);
        judge("producer-claims-append-time-without-time", claims.put(MAX_TIME, 8, -1));
        judge("max-timestamp-too-low", good.put(MAX_TIME, 8, NOW_MS - 30));
        judge("max-timestamp-none", good.put(MAX_TIME, 8, -1));
        judge("time-minimum", good.put(BASE_TIME, 8, Long.MIN_VALUE).put(MAX_TIME, 8, Long.MIN_VALUE + 100));
        Map<String, String> tight = Map.of("message.timestamp.before.max.ms", "100", "message.timestamp.after.max.ms", "50");
        for (long ahead : new long[]{-100, -101, 50, 51}) judge("time-" + ahead, 12, tight, batch("none", record(NOW_MS + ahead, "k", "v")));
        judge("time-none", 12, tight, batch("none", record(-1, "k", "v")));
        judge("time-zero", 12, tight, batch("none", record(0, "k", "v")));
        judge("time-first-too-old", 12, tight, batch("none", record(NOW_MS - 200, "k", "v"), record(NOW_MS, "k", "v")));
        judge("time-last-too-new", 12, tight, batch("zstd", record(NOW_MS, "k", "v"), record(NOW_MS + 60, "k", "v")));
        Map<String, String> both = new TreeMap<>(tight);
        both.putAll(APPEND_TIME);
        judge("time-far-under-append-time", 12, both, batch("none", record(5, "k", "v")));
        judge("time-default-too-new", batch("none", record(NOW_MS + 3_600_001, "k", "v")));
        judge("time-default-old", batch("none", record(0, "k", "v")));
    }

    static void compacted() {
        Map<String, String> compact = Map.of("cleanup.policy", "compact");
        Batch good = sample("none");
        Batch zstd = sample("zstd");
        judge("compacted-good", 12, compact, good);
        judge("compacted-good-zstd", 12, compact, zstd);
        for (String codec : List.of("none", "zstd"))
            judge("compacted-no-key-" + codec, 12, compact, batch(codec, record(NOW_MS, "k", "v"), record(NOW_MS, null, "v")));
        judge("compacted-no-key-and-time", 12, Map.of("cleanup.policy", "compact", "message.timestamp.after.max.ms", "50"),
            batch("none", record(NOW_MS, null, "v"), record(NOW_MS + 60, "k", "v")));
        judge("compacted-damaged", 12, compact, good.put(RECORDS, 1, 0x7e));
        judge("compacted-damaged-zstd", 12, compact, zstd.put(RECORDS + 4, 1, zstd.bytes[RECORDS + 4] ^ 0x7f));
        judge("compacted-trailing", 12, compact, good.then(new byte[3]).put(LENGTH, 4, good.length() + 3 - 12));
        judge("compacted-max-timestamp-too-low", 12, compact, good.put(MAX_TIME, 8, NOW_MS - 18));
    }
}
