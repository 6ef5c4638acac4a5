"""With a schema registry: the Confluent wire format, each schema registered before its first record."""

from dosestream.events.records import Clock
from dosestream.kafka.codec import codec_for
from dosestream.settings import KafkaSettings

REGISTRY = "mock://codec"


def test_records_carry_the_registrys_id_and_another_process_reads_them() -> None:
    kafka = KafkaSettings(schema_registry=REGISTRY)
    tick = Clock(at=1, ticker="t")
    value = codec_for(kafka).encode(tick)
    assert value[:1] == b"\x00"
    assert codec_for(kafka).decode(value, Clock) == tick


def test_without_a_registry_records_are_single_objects_and_both_are_read() -> None:
    tick = Clock(at=1, ticker="t")
    registered = codec_for(KafkaSettings(schema_registry=REGISTRY))
    plain = codec_for(KafkaSettings())
    assert plain.encode(tick)[:2] == b"\xc3\x01"
    assert registered.decode(plain.encode(tick), Clock) == tick
