"""How many dose reports a second are received and published: `python bench/arrivals.py [--seconds 5] [--associations 1,4,16]`.

A broker and an arrivals service of the bench's own; senders here, each on an association, wait for every answer.
Every report is another one (its UIDs differ), so that none is a repeat. Printed per row: reports/s, p50 and p99 of
the answer, and CPU of the service per report. Everything shares the machine's cores, so compare rows of one run.
"""

import argparse
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from broker import broker
from dose import grown

from dosestream.dose.part10 import split
from dosestream.simulate.sr_catalogue import planned
from dosestream.simulate.sr_reports import draw

ARRIVALS = (str(Path(sys.executable).with_name("dosestream")), "arrivals")
AT = 1_772_438_400_000_000
PDU = 64 * 1024
STATUS = struct.pack("<HHL", 0, 0x0900, 2)


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def element(tag: int, value: bytes) -> bytes:
    """A command element (PS3.7 6.3.1)."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, tag, len(value)) + value


def p_data(body: bytes, control: int) -> bytes:
    """One P-DATA-TF with one fragment (PS3.8 9.3.5)."""
    fragment = struct.pack(">LBB", len(body) + 2, 1, control) + body
    return struct.pack(">BBL", 4, 0, len(fragment)) + fragment


class Sender:
    """One association, written by hand: the load must not cost more than what it measures."""

    def __init__(self, port: int, body: bytes, number: int) -> None:
        file = split(body)
        self._sop_class, self._data_set = file.sop_class_uid, file.data_set
        self._uid = file.sop_instance_uid
        self._number = number
        self._sent = 0
        self.times: list[float] = []
        context = (
            b"\1\0\0\0" + item(0x30, self._sop_class.encode()) + item(0x40, file.transfer_syntax.encode())
        )
        user = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
        request = b"\0\1\0\0" + b"DOSESTREAM".ljust(16) + b"BENCH".ljust(16) + b"\0" * 32
        request += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(struct.pack(">BBL", 1, 0, len(request)) + request)
        if self._pdu()[0] != 2:
            raise RuntimeError("the association was not accepted")

    def store(self) -> None:
        """One more report, its answer waited for."""
        self._sent += 1
        last = f"{self._number:04d}{self._sent:08d}"
        uid = self._uid[: -len(last)] + last
        data_set = self._data_set.replace(self._uid.encode(), uid.encode())
        command = b"".join(
            (
                element(0x0002, self._sop_class.encode()),
                element(0x0100, b"\1\0"),
                element(0x0110, struct.pack("<H", self._sent % 65536)),
                element(0x0700, b"\0\0"),
                element(0x0800, b"\1\0"),
                element(0x1000, uid.encode()),
            )
        )
        parts = [data_set[at : at + PDU] for at in range(0, len(data_set), PDU)]
        pdus = [p_data(element(0, struct.pack("<L", len(command))) + command, 3)]
        pdus += [p_data(part, 2 if part is parts[-1] else 0) for part in parts]
        begun = time.perf_counter()
        self._socket.sendall(b"".join(pdus))
        answer = self._pdu()
        self.times.append(time.perf_counter() - begun)
        at = answer.index(STATUS) + len(STATUS)
        if answer[at : at + 2] != b"\0\0":
            raise RuntimeError(f"refused: {answer[at : at + 2].hex()}")

    def close(self) -> None:
        """Release (PS3.8 9.3.6)."""
        self._socket.sendall(struct.pack(">BBLL", 5, 0, 4, 0))
        self._socket.close()

    def _pdu(self) -> bytes:
        head = self._exactly(6)
        return head + self._exactly(int.from_bytes(head[2:], "big"))

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = self._socket.recv(size - len(found))
            if not piece:
                raise RuntimeError("the association ended")
            found += piece
        return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(port: int, pid: int, body: bytes, associations: int, seconds: float, first: int) -> str:
    """One row."""
    senders = [Sender(port, body, first + number) for number in range(associations)]
    until = time.perf_counter() + seconds
    failures: list[Exception] = []

    def run(sender: Sender) -> None:
        try:
            while time.perf_counter() < until:
                sender.store()
        except (RuntimeError, OSError, ValueError) as error:
            failures.append(error)

    cpu, begun = cpu_seconds(pid), time.perf_counter()
    threads = [threading.Thread(target=run, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, cpu = time.perf_counter() - begun, cpu_seconds(pid) - cpu
    if failures:
        raise failures[0]
    times = sorted(time for sender in senders for time in sender.times)
    for sender in senders:
        sender.close()
    count = len(times)
    p50, p99 = (1000 * times[min(count - 1, int(count * share))] for share in (0.5, 0.99))
    return f"{count / took:10.0f} {p50:9.1f} {p99:9.1f} {1000 * cpu / count:12.2f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--associations", default="1,4,16")
    options = parser.parse_args()
    ct = planned("ct", draw("bench/ct", AT)).body()
    projection = planned("fluoroscopy", draw("bench/fluoroscopy", AT)).body()
    with (
        tempfile.TemporaryDirectory(prefix="dosestream-bench-") as name,
        broker(Path(name) / "kafka") as (kafka, _),
    ):
        folder = Path(name)
        ready = folder / "ready.json"
        environment = os.environ | {
            "DOSESTREAM_KAFKA": kafka.bootstrap,
            "DOSESTREAM_DICOM_PORT": "0",
            "DOSESTREAM_READY": str(ready),
            "DOSESTREAM_REPEATS": str(folder / "repeats"),
        }
        with (folder / "log").open("w") as log:
            service = subprocess.Popen(ARRIVALS, env=environment, stderr=log)
        try:
            while not ready.exists():
                if service.poll() is not None:
                    raise RuntimeError((folder / "log").read_text())
                time.sleep(0.05)
            port = json.loads(ready.read_text())["port"]
            first = 0
            print("report                 associations  reports/s    p50 ms    p99 ms  CPU ms/report")
            for report, body in (("small CT", ct), ("fluoroscopy", grown(projection))):
                measure(port, service.pid, body, 1, 1.0, first)
                for associations in map(int, options.associations.split(",")):
                    first += 100
                    row = measure(port, service.pid, body, associations, options.seconds, first)
                    print(f"{report:12s} {len(body) / 1000:6.0f} kB {associations:12d} {row}", flush=True)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(30)


if __name__ == "__main__":
    main()
