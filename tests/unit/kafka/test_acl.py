"""Who may do what, as the tables say it."""

import pytest

from dosestream.kafka.acl import (
    SERVICES,
    Acl,
    Grant,
    Operation,
    Resource,
    command,
    difference,
    service,
    subscriber,
)
from dosestream.kafka.topics import FACTS, Topic

READ, WRITE = Operation.READ, Operation.WRITE
MACHINES = ("ingest", "arrivals", "reconciler", "cleanup", "worklist")


def topics(name: str, operation: Operation) -> set[str]:
    return {
        one.name for one in SERVICES[name] if one.resource is Resource.TOPIC and one.operation is operation
    }


def test_of_all_services_only_the_two_listeners_write_what_they_heard() -> None:
    writers = {
        topic: {name for name in MACHINES if topic in topics(name, WRITE)} for topic in map(str, Topic)
    }
    assert writers[Topic.HL7_RAW] == {"ingest"}
    assert writers[Topic.DICOM_RAW] == {"arrivals"}
    assert writers[Topic.DOSE] == writers[Topic.CLOCK] == {"reconciler"}
    assert writers[Topic.SNAPSHOT] == {"cleanup"}
    # What a person decided, no service says.
    assert writers[Topic.DECISION] == set()


def test_the_reconciler_reads_every_fact_and_nothing_raw() -> None:
    read = topics("reconciler", READ)
    assert set(map(str, FACTS)) <= read
    assert not read & {Topic.HL7_RAW, Topic.DICOM_RAW, Topic.REJECTED, Topic.AUDIT}


def test_no_service_may_change_the_cluster() -> None:
    assert not [one for name in MACHINES for one in SERVICES[name] if one.resource is Resource.CLUSTER]


def test_a_subscriber_reads_its_topic_the_schemas_and_its_own_groups() -> None:
    assert subscriber("lab", [str(Topic.DOSE)]) == [
        Acl("User:lab", Grant(Resource.TOPIC, "radiology.dose.v1", READ)),
        Acl("User:lab", Grant(Resource.TOPIC, "radiology.schemas.v1", READ)),
        Acl("User:lab", Grant(Resource.GROUP, "lab", READ, prefixed=True)),
    ]


def test_the_difference_is_what_lacks_and_what_is_beyond() -> None:
    should = service("cleanup")
    other = Acl("User:cleanup", Grant(Resource.TOPIC, "radiology.dose.v1", WRITE))
    assert difference(should, [*should[1:], other]) == ([should[0]], [other])


LINES = {
    "a topic": (
        Grant(Resource.TOPIC, "t", READ),
        "--operation Read --topic t",
    ),
    "groups by how they begin": (
        Grant(Resource.GROUP, "g", READ, prefixed=True),
        "--operation Read --group g --resource-pattern-type prefixed",
    ),
    "the cluster": (
        Grant(Resource.CLUSTER, "kafka-cluster", Operation.ALTER),
        "--operation Alter --cluster",
    ),
}


@pytest.mark.parametrize(("grant", "said"), LINES.values(), ids=LINES.keys())
def test_kafka_s_own_tool_is_told_the_same(grant: Grant, said: str) -> None:
    assert command(Acl("User:u", grant)) == f"kafka-acls --add --allow-principal User:u {said}"
