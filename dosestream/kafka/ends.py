"""Where the partitions of our topics begin and end."""

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from dosestream.kafka.records import Partition
from dosestream.kafka.topics import TOPICS


def ends(admin: AdminClient, timeout_s: float) -> tuple[dict[Partition, int], dict[Partition, int]]:
    """Earliest and next offset of every partition of our topics that are there.

    Raises:
        KafkaException: no broker answers in time.
    """
    listed = admin.list_topics(timeout=timeout_s).topics
    places = [
        TopicPartition(str(spec.name), number)
        for spec in TOPICS
        if spec.name in listed
        for number in listed[spec.name].partitions
    ]
    found = []
    for which in (OffsetSpec.earliest(), OffsetSpec.latest()):
        wanted = dict.fromkeys(places, which)
        answers = admin.list_offsets(wanted, request_timeout=timeout_s) if wanted else {}
        found.append(
            {Partition(p.topic, p.partition): future.result().offset for p, future in answers.items()}
        )
    return found[0], found[1]
