// The generator and the hash of the interop tests in Java; tests/clients/README.md specifies both and
// tests/clients/spec.py is their first implementation. A record is a pure function of (seed, partition, index).

import java.io.*;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.*;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

final class Spec {
    static final int POOL = 1 << 20;
    static final String[] NAMES = {"h", "h", "trace-id", "ключ"};
    static final int[] HEADER_COUNTS = {0, 0, 1, 4};

    /** What is produced and hashed; each array may be null, which is not the same as empty. */
    record Rec(byte[] key, byte[] value, Header[] headers, long timestamp) {
        static Rec of(ConsumerRecord<byte[], byte[]> r) {
            return new Rec(r.key(), r.value(), r.headers().toArray(), r.timestamp());
        }
    }

    final Map<String, String> fields = new HashMap<>();
    final String topic;
    final int partitions;
    final long seed, records, ts0;
    final String[] codecs;
    final Set<String> without;
    private final byte[] pool = new byte[POOL];

    Spec(String text) {
        for (String word : text.trim().split(" +")) fields.put(word.split("=", 2)[0], word.split("=", 2)[1]);
        topic = fields.get("topic");
        seed = number("seed", 1);
        partitions = (int) number("partitions", 1);
        records = number("records", 0);
        ts0 = number("ts0", 1700000000000L);
        codecs = fields.getOrDefault("codecs", "none,gzip,snappy,lz4,zstd").split(",");
        without = Set.of(fields.getOrDefault("without", "").split(","));
        ByteBuffer words = ByteBuffer.wrap(pool).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < POOL / 8; i++) words.putLong(mix(seed + ((i >> 9 & 1) == 0 ? i : (i & ~511) | (i & 7))));
    }

    static long mix(long x) {
        x += 0x9E3779B97F4A7C15L;
        x = (x ^ (x >>> 30)) * 0xBF58476D1CE4E5B9L;
        x = (x ^ (x >>> 27)) * 0x94D049BB133111EBL;
        return x ^ (x >>> 31);
    }

    static int pick(long base, int k, int n) {
        return (int) ((mix(base + k) >>> 32) % n);
    }

    long number(String name, long otherwise) {
        return Long.parseLong(fields.getOrDefault(name, "" + otherwise));
    }

    /** How many of the records lie in this partition. */
    long count(int partition) {
        return records / partitions + (partition < records % partitions ? 1 : 0);
    }

    String codec(int partition) {
        return codecs[partition % codecs.length];
    }

    Rec record(int partition, long index) {
        long base = mix(mix(seed) ^ ((long) partition << 40 | index));
        long headerBase = without.contains("row-headers") ? mix(mix(seed) ^ ((long) partition << 40 | 0xFFFFFFFFL)) : base;
        int length = valueLength(base), kind = pick(base, 4, 10);
        byte[] value = length < 0 ? null : slice(pick(base, 3, POOL / 2), length);
        byte[] key = kind == 0 ? null : kind == 1 ? new byte[0] : slice(pick(base, 5, POOL / 2), 1 + pick(base, 6, 32));
        if (without.contains("empty") && kind == 1) key = null;
        if (without.contains("empty") && length == 0) value = null;
        if (without.contains("null-records") && key == null && value == null) value = new byte[0];
        return new Rec(key, value, headers(headerBase), hasTimestamps() ? ts0 + index * 5 + pick(base, 30, 2001) - 1000 : 0);
    }

    ProducerRecord<byte[], byte[]> toProduce(int partition, long index) {
        Rec r = record(partition, index);
        return new ProducerRecord<>(topic, partition, hasTimestamps() ? r.timestamp : null, r.key, r.value, Arrays.asList(r.headers));
    }

    private boolean hasTimestamps() {
        return !without.contains("timestamps");
    }

    private static int valueLength(long base) {
        int c = pick(base, 1, 1000);
        if (c < 50) return c < 30 ? -1 : 0;
        if (c < 999) return 1 + pick(base, 2, c < 980 ? 1023 : c < 995 ? 16384 : 65536);
        return 524288 - (pick(base, 2, 8) != 0 ? pick(base, 2, 524288) : 0);
    }

    private Header[] headers(long base) {
        Header[] headers = new Header[HEADER_COUNTS[pick(base, 7, 4)]];
        for (int j = 0; j < headers.length; j++) {
            int size = pick(base, 9 + 3 * j, 18) - 1;
            byte[] bytes = size < 0 ? (without.contains("null-headers") ? new byte[0] : null) : slice(pick(base, 10 + 3 * j, POOL / 2), size);
            for (int b = 0; b < size; b++) bytes[b] |= (byte) 0x80;
            headers[j] = new RecordHeader(NAMES[pick(base, 8 + 3 * j, 4)], bytes);
        }
        if (without.contains("duplicate-headers")) headers = lastOfEachName(headers);
        if (without.contains("header-order")) Arrays.sort(headers, Comparator.comparing(Header::key));
        return headers;
    }

    private static Header[] lastOfEachName(Header[] headers) {
        Map<String, Header> named = new LinkedHashMap<>();
        for (Header header : headers) named.put(header.key(), header);
        return named.values().toArray(new Header[0]);
    }

    private byte[] slice(int start, int length) {
        return Arrays.copyOfRange(pool, start, start + length);
    }

    /** Partition, offset, timestamp, key, value and headers as the hash takes them. */
    byte[] encode(int partition, long offset, Rec r) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeInt(partition);
        out.writeLong(offset);
        out.writeLong(hasTimestamps() ? r.timestamp : 0);
        field(out, r.key);
        field(out, r.value);
        out.writeInt(r.headers.length);
        for (Header h : r.headers) {
            field(out, h.key().getBytes(StandardCharsets.UTF_8));
            field(out, h.value());
        }
        return bytes.toByteArray();
    }

    private static void field(DataOutputStream out, byte[] data) throws IOException {
        out.writeInt(data == null ? -1 : data.length);
        if (data != null) out.write(data);
    }

    /** Order-sensitive: a SHA-256 a partition, and one over those in partition order. */
    final class Hash {
        private final MessageDigest[] digests = new MessageDigest[partitions];
        private long count;

        Hash() throws GeneralSecurityException {
            for (int p = 0; p < partitions; p++) digests[p] = MessageDigest.getInstance("SHA-256");
        }

        void add(int partition, long offset, Rec r) throws IOException {
            digests[partition].update(encode(partition, offset, r));
            count++;
        }

        String answer() throws GeneralSecurityException {
            MessageDigest total = MessageDigest.getInstance("SHA-256");
            for (MessageDigest d : digests) total.update(d.digest());
            return count + " " + HexFormat.of().formatHex(total.digest(), 0, 8);
        }
    }
}
