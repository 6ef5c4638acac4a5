import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.app.HL7Service;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.protocol.ReceivingApplication;
import java.io.IOException;
import java.util.Map;

/** HAPI's own MLLP server on PORT: reads each message, answers what HAPI generates, keeps nothing. */
public final class Server {
    private static final class Acknowledging implements ReceivingApplication<Message> {
        @Override
        public Message processMessage(Message message, Map<String, Object> metadata) throws HL7Exception {
            try {
                return message.generateACK();
            } catch (IOException error) {
                throw new HL7Exception(error);
            }
        }

        @Override
        public boolean canProcess(Message message) {
            return true;
        }
    }

    private Server() {}

    public static void main(String[] arguments) throws Exception {
        HapiContext context = new DefaultHapiContext();
        HL7Service service = context.newServer(Integer.parseInt(System.getenv("PORT")), false);
        service.registerApplication(new Acknowledging());
        service.startAndWait();
        Thread.currentThread().join();
    }
}
