"""Who may do what on the brokers: a table by service, and by subscriber. Pure.

Operations are Kafka's (Apache Kafka, "Authorization and ACLs"). READ, WRITE, DELETE and ALTER of a topic imply
DESCRIBE; an idempotent producer needs no more than WRITE.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dosestream.kafka.topics import FACTS, TOPICS, Topic


class Resource(StrEnum):
    """What is protected."""

    TOPIC = "topic"
    GROUP = "group"
    CLUSTER = "cluster"


class Operation(StrEnum):
    """What is done to it."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DELETE = "Delete"
    ALTER = "Alter"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"
    ALTER_CONFIGS = "AlterConfigs"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One resource and one operation; `prefixed` means every name that begins with `name`."""

    resource: Resource
    name: str
    operation: Operation
    prefixed: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """A grant to a principal, such as `User:ingest`, from any host."""

    principal: str
    grant: Grant


CLUSTER = "kafka-cluster"
PREFIX = "radiology."
# Groups of readers that are assigned their partitions: nothing is committed to them.
READERS = ("dosestream-reader", "dosestream-replay", "dosestream-tail")
EVENTS = (Topic.PATIENT, Topic.ORDER, Topic.APPOINTMENT, Topic.REPORT)

_R, _W, _D = Operation.READ, Operation.WRITE, Operation.DESCRIBE


def _topics(names: Iterable[str], *operations: Operation) -> tuple[Grant, ...]:
    return tuple(Grant(Resource.TOPIC, str(name), one) for name in names for one in operations)


def _groups(names: Iterable[str], *operations: Operation, prefixed: bool = False) -> tuple[Grant, ...]:
    return tuple(Grant(Resource.GROUP, name, one, prefixed) for name in names for one in operations)


# Any topic is read outside groups, and the schemas with it.
_READER = (*_topics([Topic.SCHEMAS], _R), *_groups(READERS[:1], _D))
# A service looks at its topics when it starts.
_LOOKS = (Grant(Resource.TOPIC, PREFIX, Operation.DESCRIBE_CONFIGS, prefixed=True),)


def _listener(raw: Topic, group: str, *events: Topic) -> tuple[Grant, ...]:
    """What takes messages in: it reads back what it stored, and its marks are offsets of groups of its own."""
    return (
        *_topics([raw, *events, Topic.REJECTED, Topic.AUDIT, Topic.SCHEMAS], _W),
        *_topics([raw], _R),
        *_groups([group], _R, Operation.DELETE, prefixed=True),
        *_READER,
        *_LOOKS,
    )


SERVICES: Mapping[str, tuple[Grant, ...]] = {
    "ingest": _listener(Topic.HL7_RAW, "dosestream-normalised-hl7", *EVENTS),
    "arrivals": _listener(Topic.DICOM_RAW, "dosestream-normalised-dicom", Topic.STUDY),
    "reconciler": (
        *_topics([*FACTS, Topic.SNAPSHOT], _R),
        *_topics([Topic.DOSE, Topic.ALERT, Topic.CLOCK], _W),
        *_groups(["dosestream-reconciler"], _R),
        *_READER,
        *_LOOKS,
    ),
    "cleanup": (
        *_topics([Topic.SNAPSHOT], _R, _W),
        *_topics([Topic.REJECTED, Topic.AUDIT], Operation.ALTER_CONFIGS),
        *_READER,
        *_LOOKS,
    ),
    # It asks the database only.
    "worklist": (),
    # A person: status, show, rejected, decisions, replay and retries, which normalise what is stored again.
    "duty": (
        *_topics([spec.name for spec in TOPICS], _R),
        *_topics([*EVENTS, Topic.STUDY, Topic.DECISION, Topic.REJECTED], _W),
        *_groups(READERS, _R),
    ),
    # A person or a job: prepare, and `topics`.
    "admin": (
        *(
            Grant(Resource.TOPIC, PREFIX, one, prefixed=True)
            for one in (
                Operation.CREATE,
                Operation.ALTER,
                Operation.DESCRIBE_CONFIGS,
                Operation.ALTER_CONFIGS,
            )
        ),
        *_topics([Topic.SCHEMAS], _W),
        Grant(Resource.CLUSTER, CLUSTER, _D),
        # ACLs and passwords of others.
        Grant(Resource.CLUSTER, CLUSTER, Operation.ALTER),
    ),
}


def service(name: str, principal: str = "") -> list[Acl]:
    """The ACLs of a service; its user is named as it is, unless another principal is given.

    Raises:
        KeyError: there is no such service.
    """
    return [Acl(principal or f"User:{name}", one) for one in SERVICES[name]]


def subscriber(name: str, topics: Iterable[str], principal: str = "") -> list[Acl]:
    """The ACLs of another system that reads these topics: with any consumer group whose name begins with its
    own, and the schemas, which hold no data."""
    wanted = dict.fromkeys([*(str(topic) for topic in topics), str(Topic.SCHEMAS)])
    grants = (*_topics(wanted, _R), *_groups([name], _R, prefixed=True))
    return [Acl(principal or f"User:{name}", one) for one in grants]


def difference(wanted: Iterable[Acl], held: Iterable[Acl]) -> tuple[list[Acl], list[Acl]]:
    """What is missing, and what the principals of `wanted` have beyond it."""
    want, have = set(wanted), set(held)
    return sorted(want - have), sorted(have - want)


def command(acl: Acl) -> str:
    """The line for Kafka's own tool, for whoever may not be given an administrator here."""
    grant = acl.grant
    which = "--cluster" if grant.resource is Resource.CLUSTER else f"--{grant.resource} {grant.name}"
    pattern = " --resource-pattern-type prefixed" if grant.prefixed else ""
    return (
        f"kafka-acls --add --allow-principal {acl.principal} --operation {grant.operation} {which}{pattern}"
    )
