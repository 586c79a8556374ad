"""The line protocol of tests/clients/README.md for the drivers in Python: commands on standard input, one answer line each
on standard output. Knows no client: a driver hands over its commands."""

import sys

from spec import Spec, expect


def serve(commands):
    """Answers until standard input ends; `commands` maps a word to a function of the rest of its line."""
    commands = {"expect": lambda rest: expect(Spec(rest)), **commands}
    for line in iter(sys.stdin.readline, ""):
        command, _, rest = line.strip().partition(" ")
        try:
            if command not in commands:
                raise ValueError("unknown command " + command)
            print(commands[command](rest), flush=True)
        except Exception as e:  # whatever went wrong is this command's answer
            print("error", " ".join(repr(e).split()), flush=True)


def create_words(rest):
    """`TOPIC PARTITIONS [KEY=VALUE…]` as (topic, partitions, configs)."""
    topic, partitions, *configs = rest.split()
    return topic, int(partitions), dict(word.split("=", 1) for word in configs)
