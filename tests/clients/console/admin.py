"""The Java client's Admin, where no tool of Kafka's goes: the checks of tests/clients/java/AdminChecks.java, told one by one."""

from tool import check, demand_equal

NAMES = [
    "create topics, validate only", "create topics, each with its own answer", "topics by id", "create partitions",
    "configs, appended and subtracted", "configs, validate only", "configs, documented", "describe topics, by pages",
    "log folder of a replica", "offsets by specification", "cluster and operations", "what is not there",
]


@check("admin: all checks are told here")
def named(tools):
    demand_equal(tools.run("admin-checks").splitlines(), NAMES)


def add(name):
    @check("admin: " + name)
    def one(tools):
        demand_equal(tools.run("admin-checks", tools.prefix, name), "")


for each in NAMES:
    add(each)
