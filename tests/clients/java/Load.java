// `load SPEC` of the Java driver: produces round robin at rate= records a second until a line arrives on standard
// input or records= are sent, through any number of broker restarts, and prints each run of acknowledged records.

import java.io.IOException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.*;

final class Load {
    /** Acknowledged and not yet printed: `count` records of one partition from `index`, at offsets from `offset`. */
    private static final class Run {
        long index, count, offset;
    }

    private final Spec spec;
    private final Run[] runs;
    private final AtomicLong acked = new AtomicLong();
    private final AtomicReference<Exception> failed = new AtomicReference<>();

    Load(Spec spec) {
        this.spec = spec;
        runs = new Run[spec.partitions];
        for (int p = 0; p < runs.length; p++) runs[p] = new Run();
    }

    String run() throws Exception {
        long rate = spec.number("rate", 5000), sent = 0, started = System.nanoTime(), printed = started;
        try (Producer<byte[], byte[]> producer = Driver.producer(spec.codecs[0], spec.number("inflight", 5))) {
            for (; sent < spec.records && failed.get() == null && !Driver.in.ready(); sent++) {
                int partition = (int) (sent % spec.partitions);
                long index = sent / spec.partitions;
                producer.send(spec.toProduce(partition, index), (at, e) -> acknowledged(partition, index, at, e));
                long now = System.nanoTime();
                LockSupport.parkNanos(started + (sent + 1) * 1_000_000_000L / rate - now);
                if (now - printed < 50_000_000L) continue;
                printed = now;
                for (int p = 0; p < runs.length; p++) print(p);
            }
        }
        for (int p = 0; p < runs.length; p++) print(p);
        if (Driver.in.ready()) Driver.in.readLine();
        if (failed.get() != null) throw failed.get();
        return "ok " + acked.get();
    }

    private void acknowledged(int partition, long index, RecordMetadata at, Exception e) {
        if (e != null) {
            failed.compareAndSet(null, new IOException("partition " + partition + " record " + index, e));
            return;
        }
        Run run = runs[partition];
        synchronized (run) {
            if (index != run.index + run.count || at.offset() != run.offset + run.count) {
                print(partition);
                run.index = index;
                run.offset = at.offset();
            }
            run.count++;
        }
        acked.incrementAndGet();
    }

    private void print(int partition) {
        Run run = runs[partition];
        synchronized (run) {
            if (run.count == 0) return;
            System.out.println("acked " + partition + " " + run.index + " " + run.count + " " + run.offset);
            run.index += run.count;
            run.offset += run.count;
            run.count = 0;
        }
    }
}
