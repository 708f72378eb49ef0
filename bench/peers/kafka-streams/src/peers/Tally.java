package peers;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Counts the records of each key and sums their sizes, and emits both for each record; exactly once. */
public final class Tally {
    private static final String STORE = "tally";
    private static final Duration CLOSE_LIMIT = Duration.ofSeconds(20);

    private static final class Counting implements Processor<byte[], byte[], byte[], byte[]> {
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], byte[]> store;

        @Override
        public void init(ProcessorContext<byte[], byte[]> given) {
            context = given;
            store = given.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            long count = 1;
            long sum = record.value().length;
            byte[] known = store.get(record.key());
            if (known != null) {
                ByteBuffer before = ByteBuffer.wrap(known);
                count += before.getLong();
                sum += before.getLong();
            }
            byte[] tallied = ByteBuffer.allocate(2 * Long.BYTES).putLong(count).putLong(sum).array();
            store.put(record.key(), tallied);
            context.forward(record.withValue(tallied));
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        String brokers = arguments[0];
        String input = arguments[1];
        String output = arguments[2];
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
            .addProcessor("counting", Counting::new, "input")
            .addStateStore(store.withLoggingEnabled(Map.of()), "counting")
            .addSink("output", output, "counting");
        KafkaStreams streams = new KafkaStreams(topology, settings);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(CLOSE_LIMIT)));
        streams.start();
        Thread.currentThread().join();
    }
}
