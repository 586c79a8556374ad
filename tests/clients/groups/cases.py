"""Which groups live: the clients of each, their assignor and their protocol, in waves that live at once. Knows nothing of how."""

import dataclasses

# Clients that know instances' names. (kafkajs does not.)
STATIC = {"java", "confluent", "franz", "aiokafka"}
# Clients of which a static member that comes back as the leader lets the group be; franz-go's joins again when its own plan would differ.
LETS_BE = {"java", "confluent", "aiokafka"}
# What the clients call the same assignor.
BY_CLIENT = {("kafkajs", "builtin"): "RoundRobinAssigner"}
CONSUMER_CLIENTS = ["java", "confluent", "franz"]


@dataclasses.dataclass(frozen=True)
class Case:
    clients: tuple
    assignor: str
    protocol: str = "classic"  # or `consumer`, or `both`: members by turns

    @property
    def name(self):
        # Parts of an instance's name: Kafka allows no other sign between them.
        who = ".".join(self.clients) if len(self.clients) < len(ALL_FIVE) else "mixed"
        return "-".join([who, self.assignor] + ([self.protocol] if self.protocol != "classic" else []))

    def has_static(self, number):
        return self.protocol != "both" and self.clients[number % len(self.clients)] in STATIC

    def lets_be(self, client):
        """Whether a member that comes back at once moves nothing of the others'. By the consumer protocol sessions are as short for all, and
        a JVM may take longer to start."""
        return client in LETS_BE and (self.protocol == "classic" or client != "java")

    def assignor_of(self, client):
        return BY_CLIENT.get((client, self.assignor), self.assignor)

    def protocol_of(self, _client, member):
        if self.protocol == "both":
            return "consumer" if int(member[1:]) % 2 else "classic"
        return self.protocol


def one(client, *assignors):
    return [Case((client,), assignor) for assignor in assignors]


ALL_FIVE = ("java", "confluent", "franz", "kafkajs", "aiokafka")

CI = [
    one("java", "range", "cooperative-sticky") + one("franz", "cooperative-sticky") + one("kafkajs", "builtin"),
    one("confluent", "roundrobin", "cooperative-sticky") + one("aiokafka", "sticky") + [Case(ALL_FIVE, "range")],
    [Case(("java",), "uniform", "consumer"), Case(("confluent",), "range", "consumer"), Case(("franz",), "uniform", "consumer"),
     Case(("java", "confluent"), "range", "both")],
]
FULL = [
    one("java", "range", "roundrobin", "sticky", "cooperative-sticky"),
    one("confluent", "range", "roundrobin", "cooperative-sticky") + one("kafkajs", "builtin"),
    one("franz", "range", "roundrobin", "sticky", "cooperative-sticky"),
    one("aiokafka", "range", "roundrobin", "sticky") + [Case(ALL_FIVE, "range"), Case(ALL_FIVE, "roundrobin")],
    [Case((client,), assignor, "consumer") for client in CONSUMER_CLIENTS for assignor in ("uniform", "range")],
    [Case(tuple(CONSUMER_CLIENTS), "cooperative-sticky"), Case(tuple(CONSUMER_CLIENTS), "uniform", "consumer"),
     Case(("java",), "range", "both"), Case(("confluent",), "range", "both"), Case(("java", "franz", "confluent"), "range", "both")],
]
# Lists of the cases that live at once.
WAVES = {"ci": CI, "full": FULL}
