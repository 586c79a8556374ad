"""The script: its steps in the order in which they are played. Later ones rest on what earlier ones have made."""

from . import cluster, commits, configs, consume, consumers, frames, heartbeats, members, offsets, operations, partitions, produce, replicas
from . import stuck, topics, transactions

IN_ORDER = [cluster, topics, partitions, replicas, configs, produce, consume, offsets, operations, frames, members, commits, heartbeats,
            consumers, transactions, stuck]
PARTS = {part.__name__.rpartition(".")[2]: part for part in IN_ORDER}
STEPS = [step for part in IN_ORDER for step in part.STEPS]

NAMES = [step.name for step in STEPS]
TWICE = {name for name in NAMES if NAMES.count(name) > 1}
assert not TWICE, f"two steps of one name: {TWICE}"
