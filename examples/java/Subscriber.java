import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.function.Consumer;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints what Dosestream's topics say so far, a line of JSON a record: {@code Subscriber HOST:PORT TOPIC...}.
 * Options of the client are system properties, such as -Dkafka.security.protocol=SASL_SSL; -Dregistry=URL names the
 * schema registry, where there is one.
 */
public final class Subscriber {
    private static final String SCHEMAS = "radiology.schemas.v1";
    private final Properties client = new Properties();
    private final Map<Long, Schema> byFingerprint = new HashMap<>();
    private final Map<Integer, Schema> byRegistryId = new HashMap<>();
    private final ObjectMapper json = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        new Subscriber(args[0]).print(List.of(args).subList(1, args.length));
    }

    private Subscriber(String bootstrap) {
        System.getProperties().forEach((name, value) -> {
            if (name.toString().startsWith("kafka.")) client.put(name.toString().substring(6), value);
        });
        client.put("bootstrap.servers", bootstrap);
        // A record may be larger than the client's default of 1 MiB.
        client.put("max.partition.fetch.bytes", 18 << 20);
        client.put("key.deserializer", ByteArrayDeserializer.class.getName());
        client.put("value.deserializer", ByteArrayDeserializer.class.getName());
    }

    private void print(List<String> topics) {
        each(topics, record -> {
            Map<String, Object> line = new HashMap<>();
            line.put("topic", record.topic());
            line.put("partition", record.partition());
            line.put("offset", record.offset());
            line.put("key", new String(record.key(), StandardCharsets.UTF_8));
            try {
                // A record without value is a tombstone: what the key names is gone.
                line.put("value", record.value() == null ? null : json.readTree(decode(record.value())));
                System.out.println(json.writeValueAsString(line));
            } catch (Exception error) {
                throw new IllegalStateException(record.topic() + " at " + record.offset(), error);
            }
        });
    }

    /** The value as JSON: C3 01 and eight bytes of fingerprint, or 00 and four bytes of registry id, before Avro. */
    private String decode(byte[] value) throws Exception {
        ByteBuffer head = ByteBuffer.wrap(value);
        Schema schema;
        if (value[0] == 0) {
            int id = head.getInt(1);
            if (!byRegistryId.containsKey(id)) byRegistryId.put(id, fromRegistry(id));
            schema = byRegistryId.get(id);
        } else {
            long fingerprint = head.order(ByteOrder.LITTLE_ENDIAN).getLong(2);
            if (!byFingerprint.containsKey(fingerprint)) {
                // The key has the fingerprint's bytes as a record has them.
                each(List.of(SCHEMAS), one -> byFingerprint.put(
                    Long.reverseBytes(Long.parseUnsignedLong(new String(one.key(), StandardCharsets.UTF_8), 16)),
                    new Schema.Parser().parse(new String(one.value(), StandardCharsets.UTF_8))));
            }
            schema = byFingerprint.get(fingerprint);
        }
        int start = value[0] == 0 ? 5 : 10;
        var decoder = DecoderFactory.get().binaryDecoder(value, start, value.length - start, null);
        return new GenericDatumReader<>(schema).read(null, decoder).toString();
    }

    private Schema fromRegistry(int id) throws Exception {
        var asked = HttpRequest.newBuilder(URI.create(System.getProperty("registry") + "/schemas/ids/" + id)).build();
        String said = HttpClient.newHttpClient().send(asked, BodyHandlers.ofString()).body();
        return new Schema.Parser().parse(json.readTree(said).get("schema").asText());
    }

    /** Every record that the topics hold now. A subscriber that goes on would {@code subscribe} with a group. */
    private void each(List<String> topics, Consumer<ConsumerRecord<byte[], byte[]>> take) {
        try (var consumer = new KafkaConsumer<byte[], byte[]>(client)) {
            List<TopicPartition> all = new ArrayList<>();
            for (String topic : topics) {
                consumer.partitionsFor(topic).forEach(p -> all.add(new TopicPartition(topic, p.partition())));
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            while (all.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                consumer.poll(Duration.ofMillis(200)).forEach(take);
            }
        }
    }
}
