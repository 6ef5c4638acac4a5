"""`dosestream up --kafka --postgres`: a broker and a database that are there already are used, and left running."""

from collections.abc import Callable
from pathlib import Path

import psycopg
from confluent_kafka.admin import AdminClient
from own_broker import own_broker
from running_stack import RunningStack, arguments, descendants, wait_until

from dosestream.client.send import MllpSender
from dosestream.kafka.topics import TOPICS

ADT = (
    b"MSH|^~\\&|HIS|HOSP|DS|HOSP|20260302080000||ADT^A04|M1|P|2.5.1\rEVN||20260302080000\r"
    b"PID|||4711^^^HOSP||DOE^JANE||19700102|F\rPV1||O\r"
)


def test_servers_that_exist_are_used_and_outlive_the_stack(
    start_stack: Callable[..., RunningStack], fresh_database: Callable[[], str], tmp_path: Path
) -> None:
    url = fresh_database()
    with own_broker(tmp_path / "broker", topics=False) as kafka:
        stack = start_stack("--kafka", kafka.bootstrap, "--postgres", url)
        assert (stack.ready["kafka"], stack.ready["postgres"]) == (kafka.bootstrap, url)
        words = {word for pid in descendants(stack.process.pid) for word in arguments(pid)}
        assert "ingest" in words
        assert "kafka.Kafka" not in words
        assert not any(word.endswith("/postgres") for word in words)

        with MllpSender("127.0.0.1", stack.ready["mllp"]["port"]) as sender:
            assert b"MSA|AA|M1" in sender.send(ADT)
        with psycopg.connect(url, autocommit=True) as connection:

            def row() -> bool:
                found = connection.execute("SELECT patient_name FROM dose.patient WHERE patient_id = '4711'")
                return found.fetchone() == ("DOE^JANE",)

            wait_until(row, "the row of the message")
            assert stack.stop() == 0
            assert row()
        topics = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=30).topics
        assert {str(spec.name) for spec in TOPICS} <= topics.keys()
