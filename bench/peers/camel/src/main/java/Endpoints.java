/** The ends both routes share. */
final class Endpoints {
    private Endpoints() {}

    /** One thread per connection is how the component works: as many as the bench connects, and room to queue. */
    static String mllp() {
        return "mllp:127.0.0.1:" + System.getenv("PORT")
                + "?autoAck=true&validatePayload=false&maxConcurrentConsumers=300&backlog=1024";
    }

    static String kafka(String topic) {
        return "kafka:" + topic + "?brokers=" + System.getenv("DOSESTREAM_KAFKA")
                + "&requestRequiredAcks=all&enableIdempotence=true&synchronous=true&recordMetadata=true&lingerMs="
                + System.getenv().getOrDefault("LINGER_MS", "0");
    }
}
