import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;

/**
 * MLLP load from one thread, closed loop or at a rate: {@code java Load.java address=HOST:PORT template=FILE ...}
 *
 * <p>Every connection sends one message, waits for its acknowledgement, and sends the next. Options (name=value):
 * connections (16), seconds (3), rate (messages/s over all connections; 0: as fast as answers come), reconnect
 * (0/1: a connection per message), base (first id), timeout (seconds one answer may take, 20), cold (0: seconds at
 * the start that are driven and not counted, for as long as this program itself is interpreted and being compiled).
 * The template's {ID} becomes the control id, {ACC} an accession, {PID} one of 5,000 patients; lines end in CR.
 *
 * <p>Prints one JSON line: messages/s, answers counted (n), p50, p99 and max in ms; of all answers, the cold ones too,
 * those with AA or CA that name their message (accepted), others, messages without one (failed), answers that took
 * over a second (slow); and when the last connection had its first answer (first_ms). At a rate a message's time
 * begins when it was due.
 */
public final class Load {
    private static final byte VT = 0x0b, FS = 0x1c, CR = '\r';
    private static final int ID = 0, ACCESSION = 1, PATIENT = 2;
    private static final int PATIENTS = 5000;

    private final InetSocketAddress address;
    private final List<Object> template = new ArrayList<>();
    private final int connections;
    private final long periodNanos;
    private final boolean reconnect;
    private final long timeoutNanos, coldNanos;
    private final Selector selector = Selector.open();
    private final List<Lane> lanes = new ArrayList<>();

    private long nextId;
    private int[] micros = new int[1 << 16];
    private int answered;
    private long accepted, other, failed, slow, firstNanos;
    private long started, countFrom, stopAt;

    private final class Lane {
        final ByteBuffer out = ByteBuffer.allocateDirect(1 << 16);
        final ByteBuffer in = ByteBuffer.allocateDirect(1 << 16);
        SocketChannel channel;
        SelectionKey key;
        long id, since, due, retryAt;
        boolean waiting, heard;

        void send(long now) throws IOException {
            since = periodNanos > 0 ? due : now;
            due += periodNanos * connections;
            id = nextId++;
            waiting = true;
            fill();
            in.clear();
            if (channel == null) {
                channel = SocketChannel.open();
                channel.configureBlocking(false);
                channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
                // No TIME_WAIT: keeps the port range free when every message has its own connection.
                channel.setOption(StandardSocketOptions.SO_LINGER, reconnect ? 0 : -1);
                boolean connected = channel.connect(address);
                key = channel.register(
                        selector, connected ? SelectionKey.OP_READ : SelectionKey.OP_CONNECT, this);
                if (!connected) {
                    return;
                }
            }
            write();
        }

        void write() throws IOException {
            channel.write(out);
            key.interestOps(out.hasRemaining() ? SelectionKey.OP_WRITE : SelectionKey.OP_READ);
        }

        void fill() {
            out.clear();
            out.put(VT);
            for (Object piece : template) {
                if (piece instanceof byte[] bytes) {
                    out.put(bytes);
                } else {
                    int what = (Integer) piece;
                    out.put((byte) (what == ID ? 'M' : what == ACCESSION ? 'A' : 'P'));
                    digits(out, what == PATIENT ? id % PATIENTS : id);
                }
            }
            out.put(FS).put(CR).flip();
        }

        void read() throws IOException {
            if (channel.read(in) < 0) {
                throw new IOException("closed");
            }
            int end = in.position();
            if (end < 2 || in.get(end - 1) != CR || in.get(end - 2) != FS) {
                if (!in.hasRemaining()) {
                    throw new IOException("an answer of more than 64 KiB");
                }
                return;
            }
            long now = System.nanoTime();
            if (accepts(end)) {
                accepted++;
            } else if (other++ == 0) {
                byte[] answer = new byte[end];
                in.flip();
                in.get(answer);
                System.err.println("first answer of another kind: "
                        + new String(answer, StandardCharsets.ISO_8859_1).replace('\r', '\n'));
            }
            if (!heard) {
                heard = true;
                firstNanos = Math.max(firstNanos, now - started);
            }
            if (since >= countFrom) {
                note(now - since);
            }
            if (now - since > 1_000_000_000) {
                slow++;
            }
            waiting = false;
            if (reconnect) {
                close();
            }
            if (now < stopAt && (periodNanos == 0 || due <= now)) {
                send(now);
            }
        }

        /** Whether the answer says MSA|AA or MSA|CA for this very message. */
        boolean accepts(int end) {
            int[] wanted = {'M', 'S', 'A', '|', 0, 'A', '|', 'M'};
            byte[] number = Long.toString(id).getBytes(StandardCharsets.US_ASCII);
            for (int at = 0; at + wanted.length + number.length <= end; at++) {
                int i = 0;
                while (i < wanted.length && (i == 4 ? in.get(at + 4) == 'A' || in.get(at + 4) == 'C'
                        : in.get(at + i) == wanted[i])) {
                    i++;
                }
                if (i < wanted.length) {
                    continue;
                }
                for (i = 0; i < number.length && in.get(at + wanted.length + i) == number[i]; i++) {}
                return i == number.length;
            }
            return false;
        }

        void fail() throws IOException {
            failed += waiting ? 1 : 0;
            waiting = false;
            close();
        }

        void close() throws IOException {
            if (channel != null) {
                channel.close();
                channel = null;
            }
        }
    }

    private Load(Map<String, String> options) throws IOException {
        String[] where = options.getOrDefault("address", "127.0.0.1:2575").split(":");
        address = new InetSocketAddress(where[0], Integer.parseInt(where[1]));
        connections = Integer.parseInt(options.getOrDefault("connections", "16"));
        double rate = Double.parseDouble(options.getOrDefault("rate", "0"));
        periodNanos = rate > 0 ? (long) (1e9 / rate) : 0;
        reconnect = options.getOrDefault("reconnect", "0").equals("1");
        timeoutNanos = (long) (1e9 * Double.parseDouble(options.getOrDefault("timeout", "20")));
        coldNanos = (long) (1e9 * Double.parseDouble(options.getOrDefault("cold", "0")));
        nextId = Long.parseLong(
                options.getOrDefault("base", Long.toString(System.currentTimeMillis() * 100)));
        String text = Files.readString(Path.of(options.get("template")), StandardCharsets.ISO_8859_1);
        text = text.replace("\r\n", "\r").replace('\n', '\r');
        for (String piece : text.split("(?=\\{(?:ID|ACC|PID)\\})|(?<=\\{(?:ID|ACC|PID)\\})")) {
            switch (piece) {
                case "{ID}" -> template.add(ID);
                case "{ACC}" -> template.add(ACCESSION);
                case "{PID}" -> template.add(PATIENT);
                default -> template.add(piece.getBytes(StandardCharsets.ISO_8859_1));
            }
        }
    }

    private void run(double seconds) throws IOException {
        started = System.nanoTime();
        countFrom = started + coldNanos;
        stopAt = countFrom + (long) (seconds * 1e9);
        for (int i = 0; i < connections; i++) {
            Lane lane = new Lane();
            lane.due = started + i * periodNanos;
            lanes.add(lane);
        }
        for (Lane lane : lanes) {
            if (periodNanos == 0) {
                lane.send(System.nanoTime());
            }
        }
        boolean busy = true;
        long sweep = 0;
        while (busy) {
            long now = System.nanoTime();
            if (periodNanos > 0 && now < stopAt) {
                for (Lane lane : lanes) {
                    if (!lane.waiting && lane.due <= now) {
                        lane.send(now);
                    }
                }
            }
            if (periodNanos > 0 && periodNanos < 2_000_000) {
                // Select waits whole milliseconds; spinning would take a core from the server that is measured.
                if (selector.selectNow() == 0) {
                    LockSupport.parkNanos(50_000);
                }
            } else {
                selector.select(1);
            }
            for (SelectionKey key : selector.selectedKeys()) {
                Lane lane = (Lane) key.attachment();
                try {
                    if (!key.isValid()) {
                        continue;
                    }
                    if (key.isConnectable()) {
                        lane.channel.finishConnect();
                        lane.write();
                    } else if (key.isWritable()) {
                        lane.write();
                    } else if (key.isReadable()) {
                        lane.read();
                    }
                } catch (IOException error) {
                    lane.fail();
                    lane.retryAt = now + 10_000_000;
                }
            }
            selector.selectedKeys().clear();
            if (now - sweep > 50_000_000 || now >= stopAt) {
                sweep = now;
                busy = now < stopAt;
                for (Lane lane : lanes) {
                    if (lane.waiting && now - lane.since > timeoutNanos) {
                        lane.fail();
                    }
                    if (!lane.waiting && periodNanos == 0 && now < stopAt && lane.retryAt <= now) {
                        lane.send(now);
                    }
                    busy |= lane.waiting;
                }
            }
        }
        for (Lane lane : lanes) {
            lane.close();
        }
    }

    private void note(long nanos) {
        if (answered == micros.length) {
            micros = Arrays.copyOf(micros, 2 * answered);
        }
        micros[answered++] = (int) Math.min(Integer.MAX_VALUE, nanos / 1000);
    }

    private void print() {
        double spent = (System.nanoTime() - countFrom) / 1e9;
        int[] sorted = Arrays.copyOf(micros, answered);
        Arrays.sort(sorted);
        System.out.printf(
                Locale.ROOT,
                "{\"rate\": %.1f, \"n\": %d, \"connections\": %d, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
                        + "\"max_ms\": %.3f, \"accepted\": %d, \"other\": %d, \"failed\": %d, \"slow\": %d, "
                        + "\"first_ms\": %.1f}%n",
                answered / spent, answered, connections, quantile(sorted, .5), quantile(sorted, .99),
                quantile(sorted, 1), accepted, other, failed, slow, firstNanos / 1e6);
    }

    private static double quantile(int[] sorted, double share) {
        return sorted.length == 0 ? 0 : sorted[(int) (share * (sorted.length - 1))] / 1000.0;
    }

    private static void digits(ByteBuffer out, long number) {
        int length = 1;
        for (long rest = number / 10; rest > 0; rest /= 10) {
            length++;
        }
        int at = out.position() + length;
        out.position(at);
        do {
            out.put(--at, (byte) ('0' + number % 10));
            number /= 10;
        } while (number > 0);
    }

    public static void main(String[] arguments) throws IOException {
        Map<String, String> options = new HashMap<>();
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            options.put(pair[0], pair.length > 1 ? pair[1] : "1");
        }
        Load load = new Load(options);
        load.run(Double.parseDouble(options.getOrDefault("seconds", "3")));
        load.print();
    }
}
