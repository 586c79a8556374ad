"""What the cluster says of itself: versions, brokers, resources, before there are topics."""

from .step import ALL, ask

CLIENT = {"ClientSoftwareName": "oracle", "ClientSoftwareVersion": "1.0"}


def software(name, version):
    values = {"ClientSoftwareName": name, "ClientSoftwareVersion": version}
    return ask(f"ApiVersions: software {name!r} {version!r}", "ApiVersions", values, [3, 4])


STEPS = [
    ask("ApiVersions: every version", "ApiVersions", CLIENT, ALL),
    ask("ApiVersions: a version to come", "ApiVersions", CLIENT, [5, 6, 99, 32767], answer_version=0),
    ask("ApiVersions: a negative version", "ApiVersions", CLIENT, [-1], answer_version=0),
    software("", "1"),
    software("a", ""),
    software("-a", "1"),
    software("a.", "1"),
    software("a b", "1"),
    software("a", "v1_2"),
    software("ä", "1"),
    software("a-b.c", "1-2.3"),
    ask("DescribeCluster: plain", "DescribeCluster", {}, ALL),
    ask("DescribeCluster: with operations", "DescribeCluster", {"IncludeClusterAuthorizedOperations": True}, ALL),
    ask("DescribeCluster: with fenced brokers", "DescribeCluster", {"IncludeFencedBrokers": True}, [2]),
    ask("DescribeCluster: endpoints of controllers", "DescribeCluster", {"EndpointType": 2}, [1, 2]),
    ask("DescribeCluster: endpoints of nobody", "DescribeCluster", {"EndpointType": 3}, [1, 2]),
    ask("DescribeCluster: endpoints of type 0", "DescribeCluster", {"EndpointType": 0}, [1, 2]),
    ask("ListConfigResources: all", "ListConfigResources", {}, ALL),
    *(
        ask(f"ListConfigResources: types {types}", "ListConfigResources", {"ResourceTypes": types}, [1])
        for types in ([2], [4], [8], [16], [32], [2, 4], [4, 4], [0], [3], [-1], [2, 3], [127])
    ),
    ask("Metadata: all, in every version", "Metadata", {"Topics": None}, range(1, 14)),
    ask("Metadata: all of version 0", "Metadata", {"Topics": []}, [0]),
    ask("Metadata: none", "Metadata", {"Topics": []}, range(1, 14)),
    ask("Metadata: null topics of version 0", "Metadata", {"Topics": None}, [0]),
    ask("Metadata: operations of the cluster", "Metadata",
        {"Topics": [], "IncludeClusterAuthorizedOperations": True}, range(8, 11)),
    ask("Metadata: operations of topics", "Metadata", {"Topics": None, "IncludeTopicAuthorizedOperations": True}, range(8, 14)),
]
