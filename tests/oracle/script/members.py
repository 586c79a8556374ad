"""Classic groups: members that come, wait for each other, are told what is theirs, and go, each on a connection of its own."""

from .groups import NOBODY, Group, protocols, subscription
from .step import ALL, LAST, ask, asked, create, dropped, heard, topic, unanswered

MEGABYTE = 1_048_576
RANGE_AND_OTHER = protocols("range", "other")


def coordinator(name, *keys, kind=0, versions=LAST):
    values = {"Key": keys[0] if keys else "", "KeyType": kind, "CoordinatorKeys": list(keys)}
    return ask(f"FindCoordinator: {name}", "FindCoordinator", values, versions)


COORDINATORS = [
    create("those that groups read", topic("grp", 4), topic("grp-other", 1)),
    coordinator("of a group, once it is there", "one", versions=[6]),
    coordinator("of a group", "one", versions=ALL),
    coordinator("of several groups", "one", "two", "one", versions=range(4, 7)),
    coordinator("of a group without a name", "", versions=ALL),
    coordinator("of no group", versions=range(4, 7)),
    coordinator("of a transaction, once it is there", "one", kind=1, versions=[6]),
    coordinator("of a transaction", "one", kind=1, versions=range(1, 7)),
    coordinator("of several transactions", "one", "two", kind=1, versions=range(4, 7)),
    coordinator("of a transaction without a name", "", kind=1, versions=range(1, 7)),
    *(coordinator(f"of a kind {kind}", "one", kind=kind, versions=range(1, 7)) for kind in (3, 7, -1)),
    coordinator("of share groups, by what is no key of them", "one", kind=2, versions=range(1, 6)),
]


def in_version(version):
    """One member in each version, from its coming to its going."""
    group = Group(f"alone-{version}", join=version, sync=min(version, 5), heartbeat=min(version, 4), leave=min(version, 5),
                  describe=min(version, 6))
    joins = group.enter("a") if version >= 4 else [group.first("a joins", "a")]
    return [
        group.describe("before there is anybody"),
        group.heartbeat("of nobody", "b", 1, NOBODY),
        group.sync("of nobody", "b", 1, id_=NOBODY),
        group.leave("of nobody", "b", id_=NOBODY),
        group.refused("an id of its own", "b", id_=NOBODY),
        *joins,
        group.describe("who has joined"),
        group.heartbeat("before the assignment", "a", 1),
        group.heartbeat("of a generation to come", "a", 2),
        group.sync("a generation to come", "a", 2, ["a"]),
        group.sync("a assigns", "a", 1, ["a"]),
        group.describe("who has its assignment"),
        group.heartbeat("a lives", "a", 1),
        group.heartbeat("of the generation before", "a", 0),
        group.heartbeat("of another", "a", 1, NOBODY),
        group.sync("once more", "a", 1, ["a"]),
        group.sync("the generation before", "a", 0),
        group.sync("another asks", "a", 1, id_=NOBODY),
        group.refused("another joins", "a", id_=NOBODY),
        group.join("a joins again, as its leader", "a"),
        group.sync("a assigns nothing", "a", 2),
        group.leave("another leaves", "a", id_=NOBODY),
        group.leave("a leaves", "a"),
        group.leave("a leaves again", "a"),
        group.heartbeat("after it left", "a", 2),
        group.sync("after it left", "a", 2),
        group.refused("a comes back under its old id", "a"),
        group.describe("nobody is left"),
    ]


def called_anew():
    """A second member comes, and the first is called to join with it."""
    group = Group("two")
    b_joins = group.join("b joins", "b")
    b_syncs = group.sync("b asks", "b", 2)
    return [
        *group.alone(),
        group.first("b asks for an id", "b"),
        group.heartbeat("a, while b is only called", "a", 1),
        asked(b_joins),
        unanswered(b_joins),
        group.heartbeat("a is to join again", "a", 1),
        group.heartbeat("b's, on another connection", "c", 0, group.id("b")),
        group.sync("a asks while the group prepares", "a", 1),
        group.describe("it prepares"),
        group.join("a joins the second", "a"),
        heard(b_joins),
        group.describe("it completes"),
        asked(b_syncs),
        unanswered(b_syncs),
        group.heartbeat("a, while it completes", "a", 2),
        group.sync("a assigns to both", "a", 2, ["a", "b"]),
        heard(b_syncs),
        group.describe("it is stable"),
        group.sync("b asks again", "b", 2),
        group.join("b joins again, unchanged", "b"),
        group.sync("b assigns, and may not", "b", 2, ["b"]),
        group.describe("it is as it was"),
    ]


def changes():
    """What members of a group change, and when."""
    group = Group("changes")
    other = protocols("range", metadata=subscription("grp-other"))
    both = [group.join(f"{who} joins", who) for who in "ab"]
    b_changes = group.join("b tells something else", "b", Protocols=other)
    b_again = group.join("b changes while it completes", "b")
    b_waits = group.sync("b waits for the fourth", "b", 4)
    c_joins = group.join("c joins while b waits", "c")
    b_sees = group.join("b joins with c", "b")
    return [
        *(group.first(f"{who} asks for an id", who) for who in "ab"),
        *map(asked, both),
        *map(heard, both),
        group.describe("both came within the delay"),
        group.sync("b asks for nothing yet, without a connection that waits", "b", 7),
        group.sync("a assigns to both, and to a stranger", "a", 1, ["a", "b"], Assignments=[
            {"MemberId": group.id("a"), "Assignment": b"1"}, {"MemberId": group.id("b"), "Assignment": b"2"},
            {"MemberId": NOBODY, "Assignment": b"3"}, {"MemberId": group.id("b"), "Assignment": b"4"}]),
        group.sync("b asks", "b", 1),
        asked(b_changes),
        unanswered(b_changes),
        group.heartbeat("a is to join the second", "a", 1),
        group.heartbeat("a, of a generation that is none", "a", 2),
        group.join("a joins the second", "a", Protocols=RANGE_AND_OTHER),
        heard(b_changes),
        group.join("b joins the second again, unchanged", "b", Protocols=other),
        asked(b_again),
        group.heartbeat("a is to join the third", "a", 2),
        group.join("a joins the third", "a"),
        heard(b_again),
        group.sync("a assigns to itself alone", "a", 3, ["a"]),
        group.sync("b has nothing", "b", 3),
        group.describe("b has nothing"),
        asked(group.join("a, who leads, joins the fourth", "a")),
        group.join("b joins the fourth", "b"),
        heard(group.join("a, who leads, joins the fourth", "a")),
        asked(b_waits),
        group.first("c asks for an id", "c"),
        unanswered(b_waits),
        asked(c_joins),
        heard(b_waits),
        asked(b_sees),
        group.describe("it prepares for three"),
        group.join("a joins with c", "a"),
        heard(b_sees),
        heard(c_joins),
        group.describe("there are three"),
        group.leave("a, who leads, leaves before it assigns", "a"),
        group.heartbeat("b is to join without a", "b", 5),
        group.leave("c leaves, too", "c"),
        group.join("b joins alone", "b"),
        group.sync("b assigns", "b", 6, ["b"]),
        group.describe("b leads"),
        group.leave("b leaves", "b"),
        group.describe("it is empty"),
    ]


def repeated():
    """One member asks twice on two connections: the first has been given up."""
    group = Group("twice")
    join = group.join("b joins", "b")
    again = group.join("b joins on another connection", "c", id_=group.id("b"))
    sync = group.sync("b asks", "b", 2)
    sync_again = group.sync("b asks on another connection", "c", 2, id_=group.id("b"))
    again.save.clear()
    return [
        *group.alone(),
        group.first("b asks for an id", "b"),
        asked(join),
        asked(again),
        unanswered(join),
        dropped(join),
        group.join("a joins", "a"),
        heard(again),
        asked(sync),
        asked(sync_again),
        unanswered(sync),
        dropped(sync),
        group.sync("a assigns", "a", 2, ["a", "b"]),
        heard(sync_again),
        group.leave("b leaves", "b"),
        group.first("b asks for an id that it does not use", "b"),
        group.leave("b gives the id back", "b"),
        group.refused("b uses the id after all", "b"),
        group.join("a joins the third", "a"),
        group.first("c asks for an id that it does not use", "c"),
        group.heartbeat("of an id that is only called", "c", 3),
        group.sync("of an id that is only called", "c", 3),
        group.refused("of an id that is only called, with an instance", "c", instance="c"),
        group.leave("of an id that is only called, with an instance", "c", instance="c"),
    ]


def late():
    """Members that do not come in time are out."""
    group = Group("late", rebalance=600)
    b_joins = group.join("b joins", "b")
    b_changes = group.join("b changes", "b", Protocols=RANGE_AND_OTHER)
    c_joins = group.join("c joins", "c")
    a_waits = group.join("a waits for who asked for an id", "a")
    brief = Group("brief", session=400)
    called = Group("called", session=400)
    called_a = called.join("a waits for who has an id", "a", SessionTimeoutMs=30_000)
    return [
        *group.alone(),
        group.first("b asks for an id", "b"),
        asked(b_joins),
        group.join("a joins the second", "a"),
        heard(b_joins),
        group.sync("a assigns", "a", 2, ["a", "b"]),
        group.describe("b, who does not ask for it, is out", until="PreparingRebalance"),
        group.heartbeat("b is out", "b", 2),
        group.join("a joins the third", "a"),
        group.sync("a assigns to itself", "a", 3, ["a"]),
        group.first("b asks for an id again", "b"),
        asked(b_changes),
        heard(b_changes),
        group.describe("a did not come"),
        group.heartbeat("a is out", "a", 3),
        group.sync("b assigns", "b", 4, ["b"]),
        group.refused("a comes too late", "a"),
        group.leave("b leaves", "b"),
        *brief.alone(),
        brief.describe("who is silent is out", until="Empty"),
        brief.heartbeat("who was silent is out", "a", 1),
        brief.refused("who was silent comes back", "a"),
        *[called.first("a asks for an id", "a", SessionTimeoutMs=30_000), called.join("a joins", "a", SessionTimeoutMs=30_000)],
        called.sync("a assigns", "a", 1, ["a"]),
        called.first("b asks for an id", "b"),
        asked(called_a),
        unanswered(called_a),
        heard(called_a),
        called.refused("b comes too late", "b"),
        called.sync("a assigns in the second", "a", 2, ["a"]),
        called.leave("a leaves", "a"),
    ]


def full():
    """A group of at most three members."""
    group = Group("full", join=3)
    three = [group.first(f"{who} joins", who) for who in "abc"]
    again = [group.join(f"{who} joins again", who) for who in "abc"]
    return [
        *map(asked, three),
        group.refused("d is one too many", "d", id_=""),
        group.refused("d is one too many, in the last version", "d", id_="", version=9),
        group.refused("d is one too many, with an instance", "d", id_="", version=9, instance="d"),
        group.describe("it has all three"),
        *map(heard, three),
        group.refused("d is one too many for a generation", "d", id_=""),
        group.refused("d is one too many for a generation, in the last version", "d", id_="", version=9),
        group.refused("d under an id of its own", "d", id_=NOBODY),
        group.sync("a assigns", "a", 1, ["a", "b", "c"]),
        group.refused("d is one too many for a stable group", "d", id_="", version=9),
        asked(again[0]),
        group.refused("d is one too many while it prepares", "d", id_=NOBODY),
        *map(asked, again[1:]),
        *map(heard, again),
        group.leave("all leave, and a stranger", "a", (group.id("a"), None), (NOBODY, None), (group.id("b"), None), (group.id("c"), None)),
        group.describe("nobody is left"),
    ]


def static():
    """Static members (KIP-345): back under another id, fenced, taken out by their instance."""
    group = Group("static")
    b_joins = group.first("b joins", "b", instance="i-b")
    b_returns = group.first("b is back while it completes", "b", instance="i-b")
    b_waits = group.join("b waits to join the third", "b", instance="i-b")
    b_syncs = group.sync("b waits for its assignment", "b", 4, instance="i-b")
    d_returns = group.first("d is b's instance while b waits", "d", instance="i-b")
    e_returns = group.first("e is b's instance while b asks", "e", instance="i-b")
    return [
        *group.alone(instance="i-a"),
        group.describe("a static member"),
        group.heartbeat("without its instance", "a", 1),
        group.heartbeat("with its instance", "a", 1, instance="i-a"),
        group.heartbeat("with another instance", "a", 1, instance="i-x"),
        group.heartbeat("with its instance alone", "a", 1, "", instance="i-a"),
        group.sync("with another instance", "a", 1, instance="i-x"),
        group.refused("with another instance", "a", instance="i-x"),
        group.refused("an unknown id with its instance", "a", id_=NOBODY, instance="i-a"),
        group.leave("with another instance", "a", instance="i-x"),
        asked(b_joins),
        group.heartbeat("a is to join with b", "a", 1, instance="i-a"),
        group.join("a joins the second", "a", instance="i-a"),
        heard(b_joins),
        group.sync("a assigns", "a", 2, ["a", "b"], instance="i-a"),
        group.sync("b asks", "b", 2, instance="i-b"),
        *(step for version in (5, 7, 8, 9) for step in (
            group.first(f"c is b's instance, in version {version}", "c", instance="i-b", version=version),
            group.describe(f"c is there in place of b, in version {version}"),
            group.sync(f"c asks, after version {version}", "c", 2, instance="i-b"))),
        group.heartbeat("b is fenced", "b", 2, instance="i-b"),
        group.heartbeat("b is fenced, and tells no instance", "b", 2),
        group.sync("b is fenced", "b", 2, instance="i-b"),
        group.refused("b is fenced", "b", instance="i-b"),
        group.leave("b is fenced", "b", instance="i-b"),
        *(step for version in (5, 8, 9) for step in (
            group.first(f"a, who leads, is back, in version {version}", "a", instance="i-a", version=version),
            group.describe(f"a is back, in version {version}"),
            group.sync(f"a assigns or not, after version {version}", "a", 2, ["a"], instance="i-a"))),
        asked(group.first("b is back with another choice", "b", instance="i-b", Protocols=protocols("other"))),
        heard(group.first("b is back with another choice", "b", instance="i-b", Protocols=protocols("other"))),
        asked(group.first("b is back with more", "b", instance="i-b", Protocols=protocols("other", "range"))),
        heard(group.first("b is back with more", "b", instance="i-b", Protocols=protocols("other", "range"))),
        group.describe("after b is back with more"),
        group.join("b joins again, unchanged", "b", instance="i-b", Protocols=protocols("other", "range")),
        asked(b_waits),
        asked(d_returns),
        heard(b_waits),
        group.heartbeat("a is to join the third", "a", 2, instance="i-a"),
        group.join("a joins the third", "a", instance="i-a"),
        heard(d_returns),
        group.describe("d is there in place of b"),
        group.join("a joins the third again, unchanged", "a", instance="i-a"),
        asked(b_returns),
        group.join("a joins the fourth", "a", instance="i-a"),
        heard(b_returns),
        asked(b_syncs),
        asked(e_returns),
        heard(b_syncs),
        group.join("a joins the fifth", "a", instance="i-a"),
        heard(e_returns),
        group.sync("a assigns the fifth", "a", 5, ["a", "e"], instance="i-a"),
        *(group.leave(f"an instance that nobody has, in version {version}", "a", ("", "i-x"), version=version) for version in (3, 4, 5)),
        group.leave("nobody", "a", ("", None)),
        group.leave("one of another's instance", "a", (group.id("a"), "i-b")),
        group.leave("e, by its instance", "c", ("", "i-b")),
        group.heartbeat("a is to join without e", "a", 5, instance="i-a"),
        group.join("a joins the sixth", "a", instance="i-a"),
        group.leave("a, by its instance and twice", "c", ("", "i-a"), ("", "i-a")),
        group.describe("it is empty"),
    ]


def protocols_told():
    """What members can, and what they agree on."""
    group = Group("protocols")
    votes = Group("votes")
    three = [votes.join(f"{who} votes", who, Protocols=protocols(*order)) for who, order in zip("abc", ("xyz", "yxz", "yzx"))]
    odd = Group("odd")
    return [
        *(group.refused(f"none, in version {version}", "b", id_="", version=version, Protocols=[]) for version in (0, 3, 9)),
        group.refused("of no type", "b", id_="", ProtocolType=""),
        group.refused("neither type nor protocol", "b", id_="", ProtocolType="", Protocols=[]),
        group.refused("of an empty name", "b", id_="", Protocols=protocols("")),
        *group.enter("a", Protocols=protocols("range", "other")),
        group.sync("of another type", "a", 1, ["a"], ProtocolType="connect"),
        group.sync("of another name", "a", 1, ["a"], ProtocolName="other"),
        group.sync("without a type", "a", 1, ["a"], ProtocolType=None),
        group.sync("without a name", "a", 1, ["a"], ProtocolName=None),
        group.sync("as it was agreed", "a", 1, ["a"]),
        *(group.refused(f"of another type, in version {version}", "b", id_="", version=version, ProtocolType="connect") for version in (0, 3, 9)),
        group.refused("none in common", "b", id_="", Protocols=protocols("third")),
        group.refused("none at all", "b", id_="", Protocols=[]),
        group.refused("none in common, as a", "a", Protocols=protocols("third")),
        group.refused("none in common, as a static member", "b", id_="", instance="b", Protocols=protocols("third")),
        group.heartbeat("a is as it was", "a", 1),
        group.leave("a leaves", "a"),
        *odd.enter("b", ProtocolType="connect", Protocols=protocols("one", metadata=b"\xff")),
        odd.describe("of another type"),
        odd.sync("of another type", "b", 1, ["b"], ProtocolType="connect", ProtocolName="one"),
        odd.describe("of another type, stable"),
        odd.leave("of another type", "b"),
        *(votes.first(f"{who} asks for an id", who) for who in "abc"),
        *map(asked, three),
        *map(heard, three),
        votes.describe("what they agreed on"),
        votes.leave("all leave", "a", *((votes.id(who), None) for who in "abc")),
    ]


def refused():
    """What cannot be."""
    nameless = Group("")
    wrong = Group("wrong")
    large = Group("large")
    strange = Group("ein Name — ☃ " + "y" * 200)
    return [
        *(nameless.refused(f"to join, in version {version}", "b", id_="", version=version) for version in range(10)),
        *(nameless.sync(f"to ask, in version {version}", "b", 1, id_=NOBODY, version=version) for version in range(6)),
        *(nameless.heartbeat(f"to live, in version {version}", "b", 1, NOBODY, version=version) for version in range(5)),
        *(nameless.leave(f"to leave, in version {version}", "b", id_=NOBODY, version=version) for version in range(6)),
        *(nameless.describe(f"to tell, in version {version}", version=version) for version in range(7)),
        *(wrong.refused(f"a session of {session}", "b", id_="", version=version, SessionTimeoutMs=session)
          for session, version in ((99, 9), (0, 0), (-1, 3), (1_800_001, 9))),
        wrong.refused("no time to rebalance", "b", id_="", RebalanceTimeoutMs=-1),
        wrong.leave("nobody at all", "b", id_=""),
        wrong.of("LeaveGroup", "of an empty list", {"Members": []}, client="b"),
        wrong.of("LeaveGroup", "twice in one", {"Members": [{"MemberId": NOBODY}, {"MemberId": NOBODY}]}, client="b"),
        wrong.heartbeat("of no id", "b", 0, ""),
        wrong.sync("of no id", "b", 0, id_=""),
        *strange.alone(),
        strange.describe("of a strange name"),
        strange.leave("a leaves", "a"),
        *large.enter("a", Protocols=protocols("range", metadata=subscription("grp", data=bytes(MEGABYTE // 2)))),
        large.sync("an assignment that is too large beside what the member told", "a", 1, Assignments=[
            {"MemberId": large.id("a"), "Assignment": b"x" * (MEGABYTE // 2)}]),
        large.heartbeat("after it was too large", "a", 1),
        large.describe("after it was too large"),
        large.join("a joins again", "a", Protocols=protocols("range", metadata=subscription("grp", data=bytes(100_000)))),
        large.sync("a large assignment", "a", 2, Assignments=[{"MemberId": large.id("a"), "Assignment": b"x" * 500_000}]),
        large.heartbeat("after a large assignment", "a", 2),
        large.leave("a leaves", "a"),
    ]


def groups_listed(name, versions=LAST, states=(), types=()):
    return ask(f"ListGroups: {name}", "ListGroups", {"StatesFilter": list(states), "TypesFilter": list(types)}, versions)


def groups_described(name, *groups, versions=LAST):
    return ask(f"DescribeGroups: {name}", "DescribeGroups", {"Groups": list(groups), "IncludeAuthorizedOperations": True}, versions)


def groups_deleted(name, *groups, versions=LAST):
    return ask(f"DeleteGroups: {name}", "DeleteGroups", {"GroupsNames": list(groups)}, versions)


def administered():
    """Groups in each state, as administrators see them."""
    stable, empty, preparing, completing = (Group(f"state-{state}") for state in ("stable", "empty", "preparing", "completing"))
    b_joins = preparing.join("b joins", "b")
    return [
        *stable.alone("a"),
        *empty.alone("c"),
        empty.leave("c leaves", "c"),
        *preparing.alone("d"),
        preparing.first("b asks for an id", "b"),
        asked(b_joins),
        *completing.enter("c"),
        groups_listed("all, in every version", ALL),
        *(groups_listed(f"in state {state}", range(4, 6), [state])
          for state in ("Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Dead", "stable", "STABLE", "preparingrebalance",
                        "Unknown", "Assigning", "Reconciling", "no such state", "")),
        groups_listed("in two states", [4, 5], ["Stable", "Empty"]),
        groups_listed("in a state and none", [4, 5], ["Stable", "no such state"]),
        *(groups_listed(f"of type {kind}", types=[kind]) for kind in ("classic", "Classic", "CLASSIC", "consumer", "share", "streams", "unknown", "none", "")),
        groups_listed("of two types", types=["classic", "consumer"]),
        groups_listed("of a type and a state", types=["classic"], states=["Stable"]),
        groups_listed("of a type that is none", types=["classic", "none"]),
        groups_described("in each state", *(f"state-{state}" for state in ("stable", "empty", "preparing", "completing", "missing")),
                         versions=ALL),
        groups_described("twice", "state-stable", "state-stable"),
        groups_described("missing, twice", "missing", "missing", versions=[5, 6]),
        groups_described("nothing", versions=ALL),
        groups_deleted("one that is missing", "missing", versions=ALL),
        groups_deleted("ones with members", "state-stable", "state-preparing", "state-completing", versions=ALL),
        groups_deleted("an empty one and a missing one", "state-empty", "missing", versions=ALL),
        groups_deleted("without a name", "", versions=ALL),
        groups_deleted("twice", "alone-5", "alone-5"),
        groups_deleted("nothing", versions=ALL),
        groups_described("those that were deleted", "state-empty", "alone-5", versions=[5, 6]),
        preparing.join("d joins with b", "d"),
        heard(b_joins),
        *(group.leave("all leave", "e", *((group.id(who), None) for who in members))
          for group, members in ((stable, "a"), (preparing, "bd"), (completing, "c"))),
        groups_deleted("all of them, in the end", "state-stable", "state-preparing", "state-completing"),
        groups_listed("what is left"),
    ]


HISTORIES = [called_anew, changes, repeated, late, full, static, protocols_told, refused, administered]
STEPS = [*COORDINATORS, *(step for version in range(10) for step in in_version(version)), *(step for history in HISTORIES for step in history())]
