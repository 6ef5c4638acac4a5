"""The schema registry: what its client is told, what is registered, and what happens while it is away."""

import socket
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from dosestream.events.codec import CONFLUENT, SINGLE_OBJECT, NotRegisteredError, UnknownSchemaError
from dosestream.events.records import Audit, Clock
from dosestream.events.schemas import load
from dosestream.kafka.codec import codec_for
from dosestream.kafka.errors import BrokerAwayError
from dosestream.kafka.registry import Registry, RegistryError, client_config
from dosestream.kafka.topics import TOPICS
from dosestream.settings import KafkaSettings

TICK = Clock(at=1, ticker="t")
MOCK = KafkaSettings(schema_registry="mock://")
AUDIT = {"event_id": "1", "kind": "started", "received_at": 1, "service": "ingest"}


def mock() -> SchemaRegistryClient:
    """The client's own stand-in for a registry; each is one of its own."""
    client: SchemaRegistryClient = SchemaRegistryClient.new_client({"url": "mock://"})
    return client


@pytest.fixture
def away() -> KafkaSettings:
    """A registry whose address nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    return KafkaSettings(schema_registry=f"http://127.0.0.1:{port}")


def test_the_client_has_the_user_and_the_authorities_of_their_files(tmp_path: Path) -> None:
    secret = tmp_path / "registry"
    secret.write_text("dosestream:s3cret\n")
    kafka = KafkaSettings(
        schema_registry="https://registry:8081",
        schema_registry_auth_file=str(secret),
        schema_registry_ca_file="/etc/ca.pem",
    )
    config = client_config(kafka)
    assert config["basic.auth.user.info"] == "dosestream:s3cret"
    assert config["ssl.ca.location"] == "/etc/ca.pem"
    plain = client_config(KafkaSettings(schema_registry="http://registry:8081"))
    assert plain.keys().isdisjoint({"basic.auth.user.info", "ssl.ca.location"})


def test_what_cannot_be_used_says_so_without_the_secret(tmp_path: Path) -> None:
    missing = KafkaSettings(schema_registry="http://r", schema_registry_auth_file=str(tmp_path / "none"))
    with pytest.raises(RegistryError, match="schema_registry_auth_file cannot be read"):
        client_config(missing)
    with pytest.raises(RegistryError, match="is no URL"):
        client_config(KafkaSettings(schema_registry="registry:8081"))
    with_secret = KafkaSettings(schema_registry="http://me:s3cret@127.0.0.1:1")
    with pytest.raises(RegistryError) as told:
        codec_for(with_secret)
    assert "s3cret" not in str(told.value)


def test_every_topics_schema_is_registered_under_its_subject() -> None:
    client = mock()
    ids = Registry(MOCK, client).register_all()
    assert ids.keys() == {spec.schema for spec in TOPICS if spec.schema is not None}
    for spec in TOPICS:
        if spec.schema is not None:
            registered = client.get_latest_version(f"{spec.name}-value")
            assert registered.schema.schema_str == load(spec.schema).text


def test_with_a_registry_nothing_is_written_before_it_gave_an_id() -> None:
    codec = codec_for(MOCK, later=True)
    with pytest.raises(NotRegisteredError):
        codec.encode(TICK)
    with pytest.raises(NotRegisteredError):
        codec.encode_parts(Audit, AUDIT)
    codec.register()
    assert codec.encode(TICK)[:1] == CONFLUENT
    assert codec.encode_parts(Audit, AUDIT)[:1] == CONFLUENT
    assert codec.decode(codec.encode(TICK), Clock) == TICK


def test_both_frames_are_read_before_the_registry_gave_an_id() -> None:
    client = mock()
    written = codec_for(MOCK, registry=Registry(MOCK, client)).encode(TICK)
    waiting = codec_for(MOCK, later=True, registry=Registry(MOCK, client))
    assert waiting.decode(written, Clock) == TICK
    assert waiting.decode(codec_for(KafkaSettings()).encode(TICK), Clock) == TICK


def test_a_registry_that_is_away_is_told_and_asked_again(away: KafkaSettings) -> None:
    with pytest.raises(BrokerAwayError, match=r"did not take radiology.hl7.raw.v1-value"):
        codec_for(away)
    codec = codec_for(away, later=True)
    for _ in range(2):
        with pytest.raises(RegistryError):
            codec.register()
        with pytest.raises(NotRegisteredError):
            codec.encode(TICK)


def test_ids_that_are_known_go_on_while_the_registry_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = codec_for(MOCK)
    before = codec.encode(TICK)

    def gone(*_: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr("dosestream.kafka.registry.Registry._client", gone)
    codec.register()
    assert codec.encode(TICK) == before
    assert codec.decode(before, Clock) == TICK
    with pytest.raises(UnknownSchemaError, match="registry id 99"):
        codec.decode(CONFLUENT + (99).to_bytes(4, "big") + b"x", Clock)


def test_a_record_of_a_newer_release_is_read_by_its_registry_id() -> None:
    client = mock()
    text = load("clock").text.replace(
        '"fields": [', '"fields": [{"name": "n", "type": "string", "default": ""},', 1
    )
    number = client.register_schema("radiology.clock.v1-value", Schema(text, "AVRO"))
    value = CONFLUENT + number.to_bytes(4, "big") + b"\x02x" + b"\x02" + b"\x02t"
    assert codec_for(MOCK, registry=Registry(MOCK, client)).decode(value, Clock) == TICK


def test_two_processes_get_the_same_ids_and_read_each_other() -> None:
    client = mock()
    one, other = (codec_for(MOCK, registry=Registry(MOCK, client)) for _ in range(2))
    assert one.encode(TICK) == other.encode(TICK)
    assert other.decode(one.encode(TICK), Clock) == TICK


def test_without_a_registry_records_are_single_objects_and_both_are_read() -> None:
    plain = codec_for(KafkaSettings())
    assert plain.encode(TICK)[:2] == SINGLE_OBJECT
    plain.register()
    assert codec_for(MOCK).decode(plain.encode(TICK), Clock) == TICK
