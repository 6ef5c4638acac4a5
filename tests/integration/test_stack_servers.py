"""The embedded servers: they take up what a killed one left, and run as nobody who may do much."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, ConsumerGroupState, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from own_broker import own_broker
from started_server import started

from dosestream.embedded import class_archive, jars, ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.embedded.postgres import EmbeddedPostgres
from dosestream.kafka.client import consumer_config, producer_config
from dosestream.kafka.topics import TOPICS, Topic
from dosestream.settings import KafkaSettings


def test_every_topic_of_the_table_exists_with_its_partitions_and_configuration(kafka: KafkaSettings) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    listed = admin.list_topics(timeout=60).topics
    resources = [ConfigResource(ResourceType.TOPIC, str(spec.name)) for spec in TOPICS]
    configs = {r.name: f.result() for r, f in admin.describe_configs(resources).items()}
    for spec in TOPICS:
        assert len(listed[spec.name].partitions) == spec.partitions, spec.name
        for key, value in spec.config(kafka.max_record_bytes).items():
            assert configs[spec.name][key].value == value, (spec.name, key)


def test_a_broker_that_is_ready_lets_every_group_in_at_once(tmp_path: Path) -> None:
    with own_broker(tmp_path, topics=False) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        groups = [f"group-{number}" for number in range(12)]
        states = [told.result().state for told in admin.describe_consumer_groups(groups).values()]
        # A group that is not there; a coordinator that is still on its way would be an error.
        assert states == [ConsumerGroupState.DEAD] * len(groups)


def test_the_broker_starts_from_the_classes_that_were_kept(embedded_kafka: EmbeddedKafka) -> None:
    if not class_archive.make():
        pytest.skip("this Java keeps no classes")
    assert embedded_kafka.process is not None
    mapped = Path(f"/proc/{embedded_kafka.process.pid}/maps").read_text()
    assert str(jars.class_archive(jars.java())) in mapped


def test_a_record_of_the_largest_size_passes_and_survives_a_kill_9_of_the_broker(
    embedded_kafka: EmbeddedKafka, kafka: KafkaSettings
) -> None:
    value = os.urandom(kafka.max_message_bytes)
    at: list[tuple[int, int]] = []
    producer = Producer(producer_config(kafka, linger_ms=0, delivery_timeout_ms=20_000))
    producer.produce(
        str(Topic.AUDIT),
        value,
        on_delivery=lambda error, m: None if error else at.append((m.partition(), m.offset())),
    )
    producer.flush(30)
    assert len(at) == 1

    assert embedded_kafka.process is not None
    embedded_kafka.process.send_signal(signal.SIGKILL)
    embedded_kafka.process.wait()
    embedded_kafka.launch()
    embedded_kafka.wait_ready(200)

    consumer = Consumer(consumer_config(kafka, group="test"))
    try:
        consumer.assign([TopicPartition(str(Topic.AUDIT), *at[0])])
        message = consumer.poll(30)
        assert message is not None
        assert message.value() == value
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server to kill: it recovers at once, while that of the session has the databases of many tests to go through."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("own") / "cluster", ports.free(set()), "secret")
    with started(server):
        yield server


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT])
def test_a_committed_row_survives_any_end_of_the_database_server(
    own_postgres: EmbeddedPostgres, with_signal: signal.Signals
) -> None:
    name = f"kept_{int(with_signal)}"
    own_postgres.make_database(name)
    with psycopg.connect(own_postgres.url(name)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    assert own_postgres.process is not None
    own_postgres.process.send_signal(with_signal)
    own_postgres.process.wait()
    own_postgres.launch()
    own_postgres.wait_ready(200)
    with psycopg.connect(own_postgres.url(name)) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


def test_the_database_server_is_never_root_and_asks_for_the_password(
    embedded_postgres: EmbeddedPostgres, postgres: str
) -> None:
    assert embedded_postgres.process is not None
    assert Path(f"/proc/{embedded_postgres.process.pid}").stat().st_uid != 0
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.replace(embedded_postgres.password, "wrong"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another account")
def test_as_root_no_folder_above_the_cluster_is_opened(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "data" / "postgres", ports.free(set()), "secret")
    server.prepare()
    server.launch()
    try:
        server.wait_ready(200)
        assert closed.stat().st_mode & 0o777 == 0o700
        assert server.folder.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
