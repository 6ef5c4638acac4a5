"""Message on the wire to row committed, at a steady rate, over the whole embedded stack.

    python bench/latency.py [--rate 200] [--seconds 30] [--connections 8]

Prints percentiles in milliseconds of two spans, both from the first byte sent: to the answer, and to the
commit of the transaction that applied the event (PostgreSQL's own commit timestamp, same clock).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

import psycopg

from dosestream.client.send import MllpSender, code

DOSESTREAM = str(Path(sys.executable).with_name("dosestream"))
ADT = (
    "MSH|^~\\&|HIS|HOSP|DOSE|HOSP|{time}||ADT^A08^ADT_A01|{id}|P|2.5|||||NLD|UNICODE UTF-8\r"
    "EVN|A08|{time}\r"
    "PID|1||{patient}^^^HOSP^MR~N{patient}^^^NAT^NI||Doe^John^Q^^Mr||19700101|M|||Street 1^^City^^1234AB^NL\r"
    "PV1|1|O|RAD^1^1|||||1234^Smith^Jane^^^Dr|||||||||||V{patient}\r"
)
ORM = (
    "MSH|^~\\&|RIS|HOSP|DOSE|HOSP|{time}||ORM^O01^ORM_O01|{id}|P|2.5|||||NLD|UNICODE UTF-8\r"
    "PID|1||{patient}^^^HOSP^MR~N{patient}^^^NAT^NI||Doe^John^Q^^Mr||19700101|M\r"
    "PV1|1|O|RAD^1^1|||||1234^Smith^Jane^^^Dr|||||||||||V{patient}\r"
    "ORC|NW|P{id}|F{id}||SC||^^^{time}^^R||{time}|||1234^Smith^Jane\r"
    "OBR|1|P{id}|F{id}|CTABD^CT Abdomen^L|||||||||||||5678^Ref^Doc||A{id}|RP{id}|SPS{id}||||CT\r"
    "ZDS|1.2.826.0.1.{id}^DOSE^Application^DICOM\r"
)
PATIENTS = 500


def message(number: int) -> tuple[str, bytes]:
    """The control id and bytes of one message: four of five are ADT."""
    control_id = f"{10_000_000 + number}"
    text = ORM if number % 5 == 0 else ADT
    time_ = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    return control_id, text.format(time=time_, id=control_id, patient=f"P{number % PATIENTS}").encode()


class Lane(threading.Thread):
    """One connection that sends its share on schedule, each message after the answer to the last."""

    def __init__(self, host: str, port: int, numbers: range, start: float, rate: float) -> None:
        super().__init__(daemon=True)
        self.host, self.port, self.numbers, self.begin, self.rate = host, port, numbers, start, rate
        self.sent: dict[str, float] = {}
        self.answered: dict[str, float] = {}
        self.refused = 0

    def run(self) -> None:
        with MllpSender(self.host, self.port) as sender:
            for number in self.numbers:
                pause = self.begin + (number - self.numbers.start) / self.rate - time.time()
                if pause > 0:
                    time.sleep(pause)
                control_id, body = message(number)
                self.sent[control_id] = time.time()
                self.refused += code(sender.send(body)) != "AA"
                self.answered[control_id] = time.time()


def percentiles(milliseconds: list[float]) -> str:
    """Median, 95th and 99th percentile and maximum."""
    cuts = quantiles(milliseconds, n=100)
    return (
        f"p50 {cuts[49]:7.1f}   p95 {cuts[94]:7.1f}   p99 {cuts[98]:7.1f}   max {max(milliseconds):7.1f} ms"
    )


def measure(ready: dict[str, object], first: int, rate: float, seconds: float, connections: int) -> None:
    """Send, wait until everything is committed, print."""
    where = ready["mllp"]
    assert isinstance(where, dict)
    count = int(rate * seconds)
    start = time.time() + 0.5
    lanes = [
        Lane(where["host"], where["port"], range(first + lane, first + count, connections), start, rate)
        for lane in range(connections)
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    sent = {k: v for lane in lanes for k, v in lane.sent.items()}
    answered = {k: v for lane in lanes for k, v in lane.answered.items()}
    with psycopg.connect(str(ready["postgres"]), autocommit=True) as connection:
        deadline = time.monotonic() + 60
        while True:
            rows = connection.execute(
                "SELECT control_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 "
                "FROM dosestream_g1.message WHERE control_id = ANY(%s)",
                (list(sent),),
            ).fetchall()
            if len({row[0] for row in rows}) == len(sent):
                break
            assert time.monotonic() < deadline, f"{len(rows)} of {len(sent)} messages became rows"
            time.sleep(0.2)
    print(
        f"{count} messages at {rate:.0f}/s over {connections} connections, refused {sum(lane.refused for lane in lanes)}"
    )
    print("wire to answer       ", percentiles([(answered[k] - sent[k]) * 1000 for k in sent]))
    print("wire to row committed", percentiles([(at - sent[k]) * 1000 for k, at in rows]))


def main() -> None:
    """Start a stack of its own, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=8)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ready_file = Path(folder) / "ready.json"
        command = [DOSESTREAM, "up", "--data-dir", f"{folder}/data", "--ready-file", str(ready_file)]
        stack = subprocess.Popen([*command, "--free-ports", "--no-demo"], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while not ready_file.exists():
                assert stack.poll() is None, "the stack did not start: run `dosestream up` to see why"
                assert time.monotonic() < deadline, "the stack was not ready in 120 s"
                time.sleep(0.1)
            ready = json.loads(ready_file.read_text())
            print("warm-up:")
            measure(ready, 0, chosen.rate / 2, 3, chosen.connections)
            print("measured:")
            measure(ready, 1_000_000, chosen.rate, chosen.seconds, chosen.connections)
        finally:
            stack.terminate()
            stack.wait(60)


if __name__ == "__main__":
    main()
