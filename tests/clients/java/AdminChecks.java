// What Kafka's Java Admin can ask and its command line tools do not: validate-only requests, ids in place of names, lists that grow and
// shrink, documentation, paging. `AdminChecks --bootstrap-server ADDRESS PREFIX NAME` runs one check; nothing printed is good news.

import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class AdminChecks {
    interface Check { void run(Admin admin, String topic) throws Exception; }

    static final Map<String, Check> CHECKS = new LinkedHashMap<>();
    static {
        CHECKS.put("create topics, validate only", AdminChecks::createValidateOnly);
        CHECKS.put("create topics, each with its own answer", AdminChecks::createSeveral);
        CHECKS.put("topics by id", AdminChecks::byId);
        CHECKS.put("create partitions", AdminChecks::createPartitions);
        CHECKS.put("configs, appended and subtracted", AdminChecks::appendAndSubtract);
        CHECKS.put("configs, validate only", AdminChecks::alterValidateOnly);
        CHECKS.put("configs, documented", AdminChecks::documented);
        CHECKS.put("describe topics, by pages", AdminChecks::byPages);
        CHECKS.put("log folder of a replica", AdminChecks::replicaLogDirs);
        CHECKS.put("offsets by specification", AdminChecks::offsets);
        CHECKS.put("cluster and operations", AdminChecks::cluster);
        CHECKS.put("what is not there", AdminChecks::absent);
    }
    static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[1];
        if (args.length < 4) {
            CHECKS.keySet().forEach(System.out::println);
            return;
        }
        String topic = args[2] + "-admin-" + List.copyOf(CHECKS.keySet()).indexOf(args[3]);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "request.timeout.ms", 20000))) {
            CHECKS.get(args[3]).run(admin, topic);
        }
    }

    static void createValidateOnly(Admin admin, String topic) throws Exception {
        var options = new CreateTopicsOptions().validateOnly(true);
        var asked = new NewTopic(topic, Optional.empty(), Optional.empty()).configs(Map.of("segment.ms", "7200000"));
        var answer = admin.createTopics(List.of(asked), options);
        equal(answer.numPartitions(topic).get(), 1);
        equal(answer.replicationFactor(topic).get(), 1);
        equal(answer.config(topic).get().get("segment.ms").value(), "7200000");
        equal(answer.config(topic).get().get("segment.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        equal(answer.config(topic).get().get("max.message.bytes").value(), "1048588");
        equal(admin.listTopics().names().get().contains(topic), false);
        fails(InvalidReplicationFactorException.class, () -> admin.createTopics(
            List.of(new NewTopic(topic, 1, (short) 2)), options).all().get());
    }

    static void createSeveral(Admin admin, String topic) throws Exception {
        var bad = new NewTopic(topic + "-bad", 1, (short) 1).configs(Map.of("cleanup.policy", "shred"));
        var none = new NewTopic(topic + "-none", 0, (short) 1);
        var unknown = new NewTopic(topic + "-unknown", Map.of(0, List.of(7)));
        var gap = new NewTopic(topic + "-gap", Map.of(0, List.of(1), 2, List.of(1)));
        var good = new NewTopic(topic, Map.of(0, List.of(1), 1, List.of(1)));
        var answers = admin.createTopics(List.of(bad, none, unknown, gap, good)).values();
        fails(InvalidConfigurationException.class, answers.get(bad.name())::get);
        fails(InvalidPartitionsException.class, answers.get(none.name())::get);
        fails(InvalidReplicaAssignmentException.class, answers.get(unknown.name())::get);
        fails(InvalidReplicaAssignmentException.class, answers.get(gap.name())::get);
        answers.get(topic).get();
        equal(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 2);
        fails(TopicExistsException.class, () -> admin.createTopics(List.of(good)).all().get());
        fails(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("..", 1, (short) 1))).all().get());
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void byId(Admin admin, String topic) throws Exception {
        Uuid id = create(admin, topic, 2);
        var ids = TopicCollection.ofTopicIds(List.of(id));
        var described = admin.describeTopics(ids).allTopicIds().get().get(id);
        equal(described.name(), topic);
        equal(described.topicId(), id);
        equal(admin.listTopics().namesToListings().get().get(topic).topicId(), id);
        admin.deleteTopics(ids).all().get();
        fails(UnknownTopicIdException.class, () -> admin.describeTopics(ids).allTopicIds().get());
        fails(UnknownTopicIdException.class, () -> admin.deleteTopics(ids).all().get());
        equal(create(admin, topic, 1).equals(id), false);
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void createPartitions(Admin admin, String topic) throws Exception {
        create(admin, topic, 1);
        var asked = Map.of(topic, NewPartitions.increaseTo(3, List.of(List.of(1), List.of(1))));
        admin.createPartitions(asked, new CreatePartitionsOptions().validateOnly(true)).all().get();
        equal(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 1);
        fails(InvalidReplicaAssignmentException.class, () -> admin.createPartitions(
            Map.of(topic, NewPartitions.increaseTo(2, List.of(List.of(7))))).all().get());
        fails(InvalidReplicaAssignmentException.class, () -> admin.createPartitions(
            Map.of(topic, NewPartitions.increaseTo(3, List.of(List.of(1))))).all().get());
        fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(1))).all().get());
        admin.createPartitions(asked).all().get();
        becomes(3, () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void appendAndSubtract(Admin admin, String topic) throws Exception {
        create(admin, topic, 1);
        alter(admin, topic, OpType.APPEND, "cleanup.policy", "compact", false);
        becomes("delete,compact", () -> config(admin, topic, "cleanup.policy").value());
        alter(admin, topic, OpType.SUBTRACT, "cleanup.policy", "delete", false);
        becomes("compact", () -> config(admin, topic, "cleanup.policy").value());
        fails(InvalidConfigurationException.class, () -> alter(admin, topic, OpType.APPEND, "segment.ms", "1", false));
        alter(admin, topic, OpType.DELETE, "cleanup.policy", "", false);
        becomes(ConfigEntry.ConfigSource.DEFAULT_CONFIG, () -> config(admin, topic, "cleanup.policy").source());
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void alterValidateOnly(Admin admin, String topic) throws Exception {
        create(admin, topic, 1);
        alter(admin, topic, OpType.SET, "retention.ms", "5000", true);
        equal(config(admin, topic, "retention.ms").source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        fails(InvalidConfigurationException.class, () -> alter(admin, topic, OpType.SET, "retention.ms", "-2", true));
        fails(UnknownTopicOrPartitionException.class, () -> alter(admin, topic + "-not", OpType.SET, "retention.ms", "1", true));
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void documented(Admin admin, String topic) throws Exception {
        create(admin, topic, 1);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var options = new DescribeConfigsOptions().includeDocumentation(true).includeSynonyms(true);
        var entry = admin.describeConfigs(List.of(resource), options).all().get().get(resource).get("retention.ms");
        equal(entry.type(), ConfigEntry.ConfigType.LONG);
        equal(entry.documentation() != null && entry.documentation().length() > 20, true);
        equal(entry.synonyms().isEmpty() || entry.synonyms().get(0).value().equals(entry.value()), true);
        equal(entry.isReadOnly() || entry.isSensitive(), false);
        equal(config(admin, topic, "retention.ms").documentation(), null);
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void byPages(Admin admin, String topic) throws Exception {
        create(admin, topic, 7);
        create(admin, topic + "-2", 5);
        var options = new DescribeTopicsOptions().partitionSizeLimitPerResponse(3);
        var described = admin.describeTopics(List.of(topic, topic + "-2"), options).allTopicNames().get();
        equal(described.get(topic).partitions().stream().map(TopicPartitionInfo::partition).toList(), List.of(0, 1, 2, 3, 4, 5, 6));
        equal(described.get(topic + "-2").partitions().size(), 5);
        admin.deleteTopics(List.of(topic, topic + "-2")).all().get();
    }

    static void replicaLogDirs(Admin admin, String topic) throws Exception {
        create(admin, topic, 1);
        var replica = new TopicPartitionReplica(topic, 0, 1);
        becomes(0L, () -> admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica).getCurrentReplicaOffsetLag());
        var info = admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica);
        equal(admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).containsKey(info.getCurrentReplicaLogDir()), true);
        equal(info.getFutureReplicaLogDir(), null);
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void offsets(Admin admin, String topic) throws Exception {
        create(admin, topic, 1);
        long[] times = {1_000_000, 3_000_000, 2_000_000};
        long now = System.currentTimeMillis();
        try (var producer = new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap), new ByteArraySerializer(), new ByteArraySerializer())) {
            for (long time : times) producer.send(new ProducerRecord<>(topic, 0, now - 5_000_000 + time, null, new byte[9])).get();
        }
        equal(offset(admin, topic, OffsetSpec.latest()), 3L);
        equal(offset(admin, topic, OffsetSpec.earliest()), 0L);
        equal(offset(admin, topic, OffsetSpec.maxTimestamp()), 1L);
        equal(offset(admin, topic, OffsetSpec.forTimestamp(now - 5_000_000 + 1_000_001)), 1L);
        equal(offset(admin, topic, OffsetSpec.forTimestamp(now)), -1L);
        var partition = new TopicPartition(topic, 0);
        var committed = new ListOffsetsOptions(IsolationLevel.READ_COMMITTED);
        equal(admin.listOffsets(Map.of(partition, OffsetSpec.latest()), committed).all().get().get(partition).offset(), 3L);
        admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(2))).all().get();
        equal(offset(admin, topic, OffsetSpec.earliest()), 2L);
        equal(admin.describeProducers(List.of(partition)).all().get().get(partition).activeProducers().size(), 1);
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void cluster(Admin admin, String topic) throws Exception {
        var cluster = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        equal(cluster.nodes().get().stream().map(node -> node.idString() + "@" + node.host() + ":" + node.port()).toList(),
            List.of("1@" + bootstrap));
        equal(cluster.controller().get().id(), 1);
        equal(cluster.authorizedOperations().get().isEmpty(), false);
        create(admin, topic, 1);
        var described = admin.describeTopics(List.of(topic), new DescribeTopicsOptions().includeAuthorizedOperations(true));
        equal(described.allTopicNames().get().get(topic).authorizedOperations().isEmpty(), false);
        var resources = admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get();
        equal(resources.contains(new ConfigResource(ConfigResource.Type.TOPIC, topic)), true);
        admin.deleteTopics(List.of(topic)).all().get();
    }

    static void absent(Admin admin, String topic) throws Exception {
        fails(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of(topic)).allTopicNames().get());
        fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic)).all().get());
        fails(UnknownTopicOrPartitionException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get());
        fails(UnknownTopicOrPartitionException.class, () -> config(admin, topic, "retention.ms"));
        fails(InvalidTopicException.class, () -> admin.describeTopics(List.of("no/topic")).allTopicNames().get());
        equal(admin.describeLogDirs(List.of(1)).descriptions().get(1).get().isEmpty(), false);
    }

    /** Creates a topic and waits until it is seen: a controller may answer before the broker knows. */
    static Uuid create(Admin admin, String topic, int partitions) throws Exception {
        Uuid id = admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).topicId(topic).get();
        becomes(true, () -> admin.listTopics().names().get().contains(topic));
        return id;
    }

    static ConfigEntry config(Admin admin, String topic, String key) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(key);
    }

    static void alter(Admin admin, String topic, OpType type, String key, String value, boolean validateOnly) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Collection<AlterConfigOp> change = List.of(new AlterConfigOp(new ConfigEntry(key, value), type));
        admin.incrementalAlterConfigs(Map.of(resource, change), new AlterConfigsOptions().validateOnly(validateOnly)).all().get();
    }

    static long offset(Admin admin, String topic, OffsetSpec spec) throws Exception {
        var partition = new TopicPartition(topic, 0);
        return admin.listOffsets(Map.of(partition, spec)).all().get().get(partition).offset();
    }

    interface Action { void run() throws Exception; }

    /** The action must fail, and with this error of Kafka's. */
    static void fails(Class<? extends ApiException> why, Action action) throws Exception {
        try {
            action.run();
        } catch (ExecutionException e) {
            if (why.isInstance(e.getCause())) return;
            throw e;
        }
        throw new AssertionError("no " + why.getSimpleName());
    }

    interface Question { Object ask() throws Exception; }

    /** Asks until the answer is the expected one: what a controller has changed, Kafka's broker shows a moment later. */
    static void becomes(Object expected, Question question) throws Exception {
        long deadline = System.nanoTime() + 30_000_000_000L;
        Object got = question.ask();
        while (!Objects.equals(got, expected) && System.nanoTime() < deadline) got = question.ask();
        equal(got, expected);
    }

    static void equal(Object got, Object expected) {
        if (!Objects.equals(got, expected)) throw new AssertionError("expected " + expected + ", got " + got);
    }
}
