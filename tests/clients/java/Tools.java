// Kafka's command line tools in one process, so that a check costs what its requests cost and not the start of a Java machine. A
// line of JSON asks: {"main": class, "args": [...], "stdin": text}; a line answers: {"code": n, "out": text, "err": text}.
//
// The tools run as their users run them, through `main`: only the exit, the shutdown hooks and the standard streams are taken from
// them. Knows no tool and no check.

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.common.utils.Exit;

public class Tools {
    /** Stands for the end of the process. An Error: tools catch every Exception. */
    static final class Ended extends Error {
        private static final long serialVersionUID = 1L;
    }

    /** What the tools hold as their standard output or error, for as long as they like. */
    static final class Stream extends OutputStream {
        private ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        @Override public synchronized void write(int b) {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override public synchronized void write(byte[] b, int from, int length) {
            if (!ended) bytes.write(b, from, length);
        }

        synchronized String take() {
            String text = bytes.toString(StandardCharsets.UTF_8);
            bytes = new ByteArrayOutputStream();
            return text;
        }
    }

    static final Stream out = new Stream(), err = new Stream();
    static final List<Runnable> hooks = new ArrayList<>();
    static Integer code;
    /** Between the tool's exit and its hooks: what it prints there it would never have come to, as when it catches the exit. */
    static volatile boolean ended;

    public static void main(String[] args) throws Exception {
        var questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure(Tools::end);
        Exit.setHaltProcedure(Tools::end);
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        var json = new ObjectMapper();
        for (String line; (line = questions.readLine()) != null; ) {
            var asked = json.readTree(line);
            List<String> words = new ArrayList<>();
            asked.get("args").forEach(word -> words.add(word.asText()));
            System.setIn(new ByteArrayInputStream(asked.get("stdin").asText().getBytes(StandardCharsets.UTF_8)));
            run(asked.get("main").asText(), words.toArray(new String[0]));
            answers.println(json.writeValueAsString(Map.of("code", code, "out", out.take(), "err", err.take())));
        }
        Runtime.getRuntime().halt(0);
    }

    static void end(int status, String message) {
        if (code == null) {
            code = status;
            if (message != null) System.err.println(message);
            ended = true;
        }
        throw new Ended();
    }

    /** One tool from its start to the end of its shutdown hooks. */
    static void run(String main, String[] words) throws Exception {
        code = null;
        hooks.clear();
        try {
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) words);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) {
                e.getCause().printStackTrace();
                code = 1;
            }
        }
        ended = false;
        for (Runnable hook : hooks) hook.run();
        if (code == null) code = 0;
    }
}
