"""Whether the topics that a service uses are there and fit for it: of what `plan` finds, what keeps it from its work,
or loses records. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dosestream.kafka.acl import SERVICES, Operation, Resource
from dosestream.kafka.plan import Change, HeldTopic, plan
from dosestream.kafka.wanted import WantedTopic, wanted_topics
from dosestream.settings import KafkaSettings

LOOK = "`dosestream topics plan` shows it, `dosestream topics apply` mends it"
MISSING = f"is not there, or this service's user may not see it: {LOOK}, or `dosestream topics acl`"
# What is said of a difference, by its setting.
SAID: Mapping[str, str] = {
    "partitions": "has {held} of {wanted} partitions, so fewer processes can work side by side",
    "cleanup.policy": "has cleanup.policy {held} in place of {wanted}: records are lost, or never go",
    "max.message.bytes": "takes records of {held} bytes in place of {wanted}: larger messages cannot be stored",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a topic, as a sentence that says what to do next."""

    topic: str
    text: str
    is_missing: bool = False


def used(service: str, kafka: KafkaSettings) -> list[WantedTopic]:
    """The topics a service reads or writes, with as many partitions as `up` makes: what is less is no choice of a site's
    but a topic that a broker made by itself."""
    names = {
        grant.name
        for grant in SERVICES[service]
        if grant.resource is Resource.TOPIC and grant.operation in (Operation.READ, Operation.WRITE)
    }
    return [one for one in wanted_topics(kafka, site=False) if one.name in names]


def faults(wanted: Iterable[WantedTopic], held: Mapping[str, HeldTopic]) -> list[Fault]:
    """Every fault, in the order of `wanted`. Configuration that is not in `held` is not judged."""
    return [
        Fault(one.topic, f"{one.topic} {MISSING}", is_missing=True)
        if one.setting == "topic"
        else Fault(
            one.topic, f"{one.topic} {SAID[one.setting].format(held=one.held, wanted=one.wanted)}: {LOOK}"
        )
        for one in plan(wanted, held)
        if _matters(one)
    ]


def _matters(change: Change) -> bool:
    match change.setting:
        case "topic":
            return True
        case "cleanup.policy":
            return bool(change.held)
        case "partitions" | "max.message.bytes":
            return bool(change.held) and int(change.held) < int(change.wanted)
    return False
