"""Where Kafka fails in itself while it ends a rebalance, and never answers: its groups stay so, and nothing may come behind that sees them."""

from .groups import Group, protocols
from .step import asked, dropped, unanswered

SAME, UNREAD = Group("same"), Group("unread")
TWICE = SAME.join("twice the same", "a", ProtocolType="connect", Protocols=protocols("one", "one"))
NONE = UNREAD.join("a subscription that is none", "b", Protocols=protocols("range", metadata=b"no subscription"))

STEPS = [
    SAME.first("a asks for an id", "a", ProtocolType="connect"),
    UNREAD.first("b asks for an id", "b"),
    asked(TWICE),
    asked(NONE),
    unanswered(TWICE, 0.8),
    dropped(TWICE),
    unanswered(NONE),
    dropped(NONE),
    SAME.leave("a leaves", "a"),
    UNREAD.leave("b leaves", "b"),
]
