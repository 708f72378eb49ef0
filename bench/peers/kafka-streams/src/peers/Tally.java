package peers;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Reads each command, keeps count, sum of prices and last credit type of its key, and emits the event that follows, with the headers
 * that such an event has; exactly once.
 */
public final class Tally {
    private static final String STORE = "tally";
    private static final Duration CLOSE_LIMIT = Duration.ofSeconds(20);
    /** A zero and the id of the schema, four bytes. */
    private static final int FRAME_BYTES = 5;

    private static final class Counting implements Processor<byte[], byte[], byte[], byte[]> {
        private final GenericDatumReader<GenericRecord> reader;
        private final GenericDatumWriter<GenericRecord> writer;
        private final Schema event;
        private final int eventId;
        /** Place in the command of each field of the event; -1 for the one that is counted. */
        private final int[] places;
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
        private final byte[] type;
        private final byte[] source;
        private BinaryDecoder decoder;
        private BinaryEncoder encoder;
        private GenericRecord command;
        private long sent;
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], byte[]> store;

        Counting(Schema commands, Schema events, int eventId) {
            reader = new GenericDatumReader<>(commands);
            writer = new GenericDatumWriter<>(events);
            event = events;
            this.eventId = eventId;
            places = events.getFields().stream()
                .mapToInt(field -> field.name().equals("revision") ? -1 : commands.getField(field.name()).pos())
                .toArray();
            type = utf8(events.getFullName());
            source = utf8("/daybook/bench-tally");
        }

        @Override
        public void init(ProcessorContext<byte[], byte[]> given) {
            context = given;
            store = given.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            try {
                decoder = DecoderFactory.get()
                    .binaryDecoder(record.value(), FRAME_BYTES, record.value().length - FRAME_BYTES, decoder);
                command = reader.read(command, decoder);
                long count = tallied(record.key());
                Record<byte[], byte[]> out = record.withValue(published(count));
                context.forward(out.withHeaders(headers(record)));
            } catch (IOException broken) {
                throw new UncheckedIOException(broken);
            }
        }

        private long tallied(byte[] key) {
            long count = 1;
            GenericRecord price = (GenericRecord) command.get("price");
            long total = (Long) price.get("amount_minor");
            byte[] known = store.get(key);
            if (known != null) {
                ByteBuffer before = ByteBuffer.wrap(known);
                count += before.getLong();
                total += before.getLong();
            }
            byte[] last = utf8(command.get("credit_type").toString());
            ByteBuffer state = ByteBuffer.allocate(2 * Long.BYTES + last.length);
            store.put(key, state.putLong(count).putLong(total).put(last).array());
            return count;
        }

        private byte[] published(long revision) throws IOException {
            GenericData.Record published = new GenericData.Record(event);
            for (int field = 0; field < places.length; field++) {
                published.put(field, places[field] < 0 ? (Object) revision : command.get(places[field]));
            }
            bytes.reset();
            bytes.write(0);
            bytes.write(ByteBuffer.allocate(Integer.BYTES).putInt(eventId).array());
            encoder = EncoderFactory.get().binaryEncoder(bytes, encoder);
            writer.write(published, encoder);
            encoder.flush();
            return bytes.toByteArray();
        }

        /** Ours, as it came, and those of CloudEvents. */
        private Headers headers(Record<byte[], byte[]> record) {
            sent++;
            return new RecordHeaders(record.headers())
                .add("ce_specversion", utf8("1.0"))
                .add("ce_id", utf8(new UUID(0, sent).toString()))
                .add("ce_source", source)
                .add("ce_type", type)
                .add("ce_time", utf8(Instant.ofEpochMilli(record.timestamp()).toString()))
                .add("content-type", utf8("application/avro"));
        }

        private static byte[] utf8(String text) {
            return text.getBytes(StandardCharsets.UTF_8);
        }
    }

    public static void main(String[] arguments) throws InterruptedException, IOException {
        String brokers = arguments[0];
        String input = arguments[1];
        String output = arguments[2];
        Schema commands = new Schema.Parser().parse(Path.of(arguments[5]).toFile());
        Schema events = new Schema.Parser().parse(Path.of(arguments[6]).toFile());
        int eventId = Integer.parseInt(arguments[7]);
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[3]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        var persistent = Stores.persistentKeyValueStore(STORE);
        var store = Stores.keyValueStoreBuilder(persistent, Serdes.ByteArray(), Serdes.ByteArray());
        Topology topology = new Topology();
        topology.addSource("input", input)
            .addProcessor("counting", () -> new Counting(commands, events, eventId), "input")
            .addStateStore(store.withLoggingEnabled(Map.of()), "counting")
            .addSink("output", output, "counting");
        KafkaStreams streams = new KafkaStreams(topology, settings);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(CLOSE_LIMIT)));
        streams.start();
        Thread.currentThread().join();
    }
}
