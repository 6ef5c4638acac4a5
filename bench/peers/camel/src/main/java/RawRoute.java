import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.main.Main;

/** Camel: MLLP to Kafka, the raw message only, answered after acks=all. PORT, TOPIC, DOSESTREAM_KAFKA, LINGER_MS. */
public final class RawRoute extends RouteBuilder {
    @Override
    public void configure() {
        from(Endpoints.mllp())
                .setHeader("kafka.KEY", header("CamelMllpMessageControlId"))
                .to(Endpoints.kafka(System.getenv("TOPIC")));
    }

    public static void main(String[] arguments) throws Exception {
        Main main = new Main();
        main.configure().addRoutesBuilder(new RawRoute());
        main.run();
    }
}
