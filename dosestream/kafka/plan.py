"""The difference between the topics as they should be and as the cluster has them. Pure.

A change that would lose records, or that a broker cannot make, is never made in silence: each has a `Risk`, and
`apply` makes those that lose records only for topics that are named to it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dosestream.kafka.wanted import WantedTopic


class Risk(StrEnum):
    """What a change may do."""

    NONE = "none"
    # New records of a key may go to another partition than its old ones.
    KEYS_MOVE = "keys move"
    # Records that are held are removed.
    LOSES = "loses records"
    # The broker has no such operation.
    BY_HAND = "by hand"


@dataclass(frozen=True, slots=True)
class HeldTopic:
    """One topic as the cluster has it: partitions, copies of each, and configuration by the broker's names."""

    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        setting: `topic` (it is missing), `partitions`, `replication`, or the name of a configuration.
        held: as it is, empty for a missing topic.
        wanted: as it should be.
        why: what it means, for a person; empty where it speaks for itself.
    """

    topic: str
    setting: str
    held: str
    wanted: str
    risk: Risk = Risk.NONE
    why: str = ""


KEYS_MOVE = (
    "a key's later records go to another partition, so its old and new ones may be read in either order: our "
    "services do not depend on it, a subscriber that does has to read the old ones to their end first"
)
FEWER = "a topic cannot get fewer partitions: make a new one and copy it, or set the number that is held"
REASSIGN = "copies are moved by kafka-reassign-partitions: see docs/kafka.md"
SHORTER = "records older than that go"
COMPACTED = "compaction keeps the newest record of a key only"
EXPIRES = "records older than retention.ms go"


def plan(wanted: Iterable[WantedTopic], held: Mapping[str, HeldTopic]) -> list[Change]:
    """Every difference, in the order of `wanted`. Topics that nobody wants are left alone."""
    found: list[Change] = []
    for one in wanted:
        if (now := held.get(one.name)) is None:
            text = f"{one.partitions} partitions, {one.replication} copies"
            found.append(Change(one.name, "topic", "", text))
        else:
            found += _counts(one, now)
            found += _configuration(one, now.config)
    return found


def _counts(one: WantedTopic, now: HeldTopic) -> Iterable[Change]:
    if one.partitions != now.partitions:
        more = one.partitions > now.partitions
        yield Change(
            one.name,
            "partitions",
            str(now.partitions),
            str(one.partitions),
            *((Risk.KEYS_MOVE, KEYS_MOVE) if more else (Risk.BY_HAND, FEWER)),
        )
    if one.replication != now.replication:
        yield Change(
            one.name, "replication", str(now.replication), str(one.replication), Risk.BY_HAND, REASSIGN
        )


def _configuration(one: WantedTopic, config: Mapping[str, str]) -> Iterable[Change]:
    for name, value in one.config.items():
        if config.get(name) != value:
            yield Change(one.name, name, config.get(name, ""), value, *_risk(one, config, name))


def _risk(one: WantedTopic, config: Mapping[str, str], name: str) -> tuple[Risk, str]:
    """What it means that the topic's configuration `name` becomes what is wanted."""
    if name == "cleanup.policy" and (now := config.get(name)) is not None:
        # A topic that was compacted has lost nothing by its age; from now on it does, and the other way round.
        expires = (
            "delete" in one.config[name] and "delete" not in now and int(one.config["retention.ms"]) >= 0
        )
        compacts = "compact" in one.config[name] and "compact" not in now
        if compacts or expires:
            return Risk.LOSES, COMPACTED if compacts else EXPIRES
    if name == "retention.ms" and "delete" in one.config["cleanup.policy"]:
        wanted, now_ms = int(one.config[name]), int(config.get(name, -1))
        if wanted >= 0 and (now_ms < 0 or wanted < now_ms):
            # The limits of topics that hold no facts are the site's to set, and cleanup keeps them.
            return (Risk.LOSES if one.is_fact else Risk.NONE), SHORTER
    return Risk.NONE, ""


def refused(changes: Iterable[Change], allowed: Iterable[str]) -> list[Change]:
    """Those that lose records of a topic that is not named in `allowed`."""
    named = set(allowed)
    return [one for one in changes if one.risk is Risk.LOSES and one.topic not in named]
