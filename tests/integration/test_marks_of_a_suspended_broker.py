"""Who asks a broker for marks while it is suspended and comes back goes on: as a process of its own, since it may crash."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from started_server import started

from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.kafka.admin import create_topics
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

# Longer than a broker's session with its controller: it comes back as the coordinator of no group.
SUSPENDED_S, BACK_S, ROUNDS = 12, 8, 4

ASKS = """
import sys, threading, time
from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.roster import Roster
from dosestream.settings import KafkaSettings
address, topic, seconds = sys.argv[1:]
until, right, wrong = time.monotonic() + float(seconds), [], []

def ask(base):
    roster = Roster(KafkaSettings(bootstrap=address), topic, base)
    roster.timeout_s = 2.0
    while time.monotonic() < until:
        try:
            roster.write_base({0: 1})
            if roster.base() != {0: 1}:
                wrong.append(base)
            roster.members()
        except BrokerAwayError:
            continue
    roster.write_base({0: 2})
    if roster.base() == {0: 2}:
        right.append(base)

threads = [threading.Thread(target=ask, args=(f"suspended-{number}",)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(f"wrong: {wrong}" if wrong else len(right) != 3)
"""


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.timeout(600)
def test_who_asks_for_marks_outlives_the_suspension_of_the_broker(tmp_path: Path) -> None:
    taken: set[int] = set()
    broker = EmbeddedKafka(tmp_path / "kafka", KafkaSettings(), ports.free(taken), ports.free(taken))
    with started(broker):
        create_topics(broker.client_settings(), site=False)
        assert broker.process is not None
        seconds = ROUNDS * (SUSPENDED_S + BACK_S)
        line = [sys.executable, "-c", ASKS, broker.address, str(Topic.DICOM_RAW), str(seconds)]
        asking = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
        for _ in range(ROUNDS):
            time.sleep(BACK_S)
            os.kill(broker.process.pid, signal.SIGSTOP)
            try:
                time.sleep(SUSPENDED_S)
            finally:
                os.kill(broker.process.pid, signal.SIGCONT)
        _, said = asking.communicate(timeout=120)
        assert asking.returncode == 0, said[-2000:]
