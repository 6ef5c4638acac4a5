import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.app.Connection;
import ca.uhn.hl7v2.app.Initiator;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.util.Terser;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * HAPI's client: {@code Client HOST PORT FOLDER THREADS} sends every *.hl7 of the folder (UTF-8, segments end in CR).
 *
 * <p>All threads send over one connection, so with several of them messages are under way at once. One line per
 * message: file, MSH-10, then MSA-1, MSA-2 and ERR-3.1 of the answer, or the exception's name, between tabs.
 */
public final class Client {
    private Client() {}

    public static void main(String[] arguments) throws Exception {
        List<Path> files = new ArrayList<>();
        try (DirectoryStream<Path> found = Files.newDirectoryStream(Path.of(arguments[2]), "*.hl7")) {
            found.forEach(files::add);
        }
        files.sort(null);
        ExecutorService threads = Executors.newFixedThreadPool(Integer.parseInt(arguments[3]));
        try (HapiContext context = new DefaultHapiContext()) {
            context.getParserConfiguration().setValidating(false);
            Connection connection = context.newClient(arguments[0], Integer.parseInt(arguments[1]), false);
            Initiator initiator = connection.getInitiator();
            initiator.setTimeout(60, TimeUnit.SECONDS);
            List<Future<String>> lines = new ArrayList<>();
            for (Path file : files) {
                lines.add(threads.submit(() -> sent(context, initiator, file)));
            }
            for (Future<String> line : lines) {
                System.out.println(line.get());
            }
            connection.close();
        } finally {
            threads.shutdown();
        }
    }

    private static String sent(HapiContext context, Initiator initiator, Path file) throws Exception {
        Message message =
                context.getPipeParser().parse(Files.readString(file, StandardCharsets.UTF_8));
        String begin = file.getFileName() + "\t" + new Terser(message).get("/MSH-10") + "\t";
        try {
            Terser answer = new Terser(initiator.sendAndReceive(message));
            return begin + answer.get("/MSA-1") + "\t" + answer.get("/MSA-2") + "\t" + error(answer);
        } catch (HL7Exception failure) {
            return begin + failure.getClass().getSimpleName() + "\t" + failure.getMessage() + "\t";
        }
    }

    /** ERR-3.1, empty where there is no ERR. */
    private static String error(Terser answer) {
        try {
            String code = answer.get("/ERR-3-1");
            return code == null ? "" : code;
        } catch (HL7Exception none) {
            return "";
        }
    }
}
