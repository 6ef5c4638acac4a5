import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.model.Segment;
import ca.uhn.hl7v2.model.v25.message.ORM_O01;
import ca.uhn.hl7v2.util.Terser;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.hl7.HL7DataFormat;
import org.apache.camel.main.Main;
import org.apache.kafka.clients.producer.RecordMetadata;

/**
 * Camel doing the same job as ingest for an ORM^O01: the raw message to Kafka, the message read by HAPI, an event
 * with the order's fields and the raw record's position to Kafka, and the answer after both (acks=all).
 * PORT, TOPIC (raw), EVENTS (normalised), DOSESTREAM_KAFKA, LINGER_MS.
 */
public final class OrderRoute extends RouteBuilder {
    private static final ObjectMapper JSON = new ObjectMapper();

    private enum Segments { MSH, PID, PV1, ORC, OBR, ZDS }

    /** Name in the event, and where its value stands: segment, field, component, subcomponent. */
    private record Field(String name, Segments segment, int field, int component, int subcomponent) {}

    private static final List<Field> FIELDS = List.of(
        new Field("control_id", Segments.MSH, 10, 1, 1),
        new Field("sent_at", Segments.MSH, 7, 1, 1),
        new Field("sending_application", Segments.MSH, 3, 1, 1),
        new Field("sending_facility", Segments.MSH, 4, 1, 1),
        new Field("patient_id", Segments.PID, 3, 1, 1),
        new Field("patient_authority", Segments.PID, 3, 4, 1),
        new Field("family_name", Segments.PID, 5, 1, 1),
        new Field("given_name", Segments.PID, 5, 2, 1),
        new Field("birth_date", Segments.PID, 7, 1, 1),
        new Field("sex", Segments.PID, 8, 1, 1),
        new Field("patient_class", Segments.PV1, 2, 1, 1),
        new Field("location", Segments.PV1, 3, 1, 1),
        new Field("referring", Segments.PV1, 8, 1, 1),
        new Field("visit", Segments.PV1, 19, 1, 1),
        new Field("control", Segments.ORC, 1, 1, 1),
        new Field("placer_order_number", Segments.ORC, 2, 1, 1),
        new Field("filler_order_number", Segments.ORC, 3, 1, 1),
        new Field("order_status", Segments.ORC, 5, 1, 1),
        new Field("event_time", Segments.ORC, 9, 1, 1),
        new Field("priority", Segments.ORC, 7, 6, 1),
        new Field("scheduled_at", Segments.ORC, 7, 4, 1),
        new Field("obr_placer", Segments.OBR, 2, 1, 1),
        new Field("obr_filler", Segments.OBR, 3, 1, 1),
        new Field("procedure_code", Segments.OBR, 4, 1, 1),
        new Field("procedure_meaning", Segments.OBR, 4, 2, 1),
        new Field("procedure_scheme", Segments.OBR, 4, 3, 1),
        new Field("requesting", Segments.OBR, 16, 1, 1),
        new Field("accession_number", Segments.OBR, 18, 1, 1),
        new Field("requested_procedure_id", Segments.OBR, 19, 1, 1),
        new Field("step_id", Segments.OBR, 20, 1, 1),
        new Field("modality", Segments.OBR, 24, 1, 1),
        new Field("reason", Segments.OBR, 31, 2, 1),
        new Field("performing", Segments.OBR, 34, 1, 1),
        new Field("procedure", Segments.OBR, 44, 1, 1),
        new Field("study_instance_uid", Segments.ZDS, 1, 1, 1));

    @Override
    public void configure() {
        HL7DataFormat reader = new HL7DataFormat();
        reader.setValidate(false);
        from(Endpoints.mllp())
                .setProperty("received", body())
                .unmarshal(reader)
                .setProperty("message", body())
                .process(exchange -> exchange.getMessage().setHeader("kafka.KEY", patient(exchange)))
                .setBody(exchangeProperty("received"))
                .to(Endpoints.kafka(System.getenv("TOPIC")))
                .process(OrderRoute::normalise)
                .to(Endpoints.kafka(System.getenv("EVENTS")));
    }

    private static String patient(Exchange exchange) throws HL7Exception {
        Segment pid = exchange.getProperty("message", ORM_O01.class).getPATIENT().getPID();
        return Terser.get(pid, 3, 0, 4, 1) + "|" + Terser.get(pid, 3, 0, 1, 1);
    }

    private static void normalise(Exchange exchange) throws Exception {
        Map<Segments, Segment> segments = segments(exchange.getProperty("message", ORM_O01.class));
        Map<String, Object> event = new LinkedHashMap<>();
        RecordMetadata raw = position(exchange);
        event.put("raw_partition", raw.partition());
        event.put("raw_offset", raw.offset());
        for (Field field : FIELDS) {
            Segment segment = segments.get(field.segment);
            String value = segment == null
                    ? null : Terser.get(segment, field.field, 0, field.component, field.subcomponent);
            event.put(field.name, value == null ? "" : value);
        }
        exchange.getMessage().setBody(JSON.writeValueAsBytes(event));
    }

    private static Map<Segments, Segment> segments(ORM_O01 message) throws HL7Exception {
        Map<Segments, Segment> found = new EnumMap<>(Segments.class);
        found.put(Segments.MSH, message.getMSH());
        found.put(Segments.PID, message.getPATIENT().getPID());
        found.put(Segments.PV1, message.getPATIENT().getPATIENT_VISIT().getPV1());
        found.put(Segments.ORC, message.getORDER().getORC());
        found.put(Segments.OBR, message.getORDER().getORDER_DETAIL().getOBR());
        if (List.of(message.getNames()).contains("ZDS")) {
            found.put(Segments.ZDS, (Segment) message.get("ZDS"));
        }
        return found;
    }

    private static RecordMetadata position(Exchange exchange) {
        List<?> stored = exchange.getMessage().getHeader("kafka.RECORD_META", List.class);
        return (RecordMetadata) stored.get(0);
    }

    public static void main(String[] arguments) throws Exception {
        Main main = new Main();
        main.configure().addRoutesBuilder(new OrderRoute());
        main.run();
    }
}
