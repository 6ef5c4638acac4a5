"""`dosestream up`: what it starts it keeps up, and takes along when it ends, however it ends."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from running_stack import DOSESTREAM, RunningStack, arguments, descendants, is_alive, wait_until

from dosestream.cli.stack import START_ORDER
from dosestream.embedded import ports

Start = Callable[..., RunningStack]


def ports_of(ready: dict[str, Any]) -> tuple[object, ...]:
    return ready["mllp"]["port"], ready["dicom"]["port"], ready["kafka"], ready["postgres"]


def run_up(*options: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOSESTREAM, "up", "--no-demo", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | env,
    )


def assert_one_sentence(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


def test_the_ready_file_says_where_everything_listens(stack: RunningStack) -> None:
    ready = stack.ready
    assert ready["pid"] == stack.process.pid
    assert ready["mllp_tls"] is None
    assert ready["web"] is None
    assert ready["dicom"]["ae_title"] == "DOSESTREAM"
    assert ready["worklist"]["ae_title"] == "DOSESTREAM_WL"
    for listener in (ready["mllp"], ready["dicom"], ready["worklist"]):
        socket.create_connection((listener["host"], listener["port"]), 5).close()
    assert AdminClient({"bootstrap.servers": ready["kafka"]}).list_topics(timeout=60).brokers
    with psycopg.connect(ready["postgres"]) as connection:
        assert connection.execute("SELECT count(*) FROM dose.study").fetchone() is not None


def test_every_service_is_a_process_of_its_own_named_by_its_subcommand(stack: RunningStack) -> None:
    for name in START_ORDER:
        pid = stack.pid(name)
        assert pid is not None, name
        assert arguments(pid)[1:3] == [DOSESTREAM, name]
    assert stack.pid("kafka.Kafka") is not None


def test_what_the_data_folder_holds_is_closed_to_others(stack: RunningStack) -> None:
    for path in (
        stack.data_dir,
        stack.data_dir / "secrets.json",
        stack.data_dir / "postgres",
        stack.ready_file,
    ):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("word", [*START_ORDER, "kafka.Kafka"])
def test_a_killed_process_is_started_again_and_the_others_are_left_alone(
    stack: RunningStack, word: str
) -> None:
    before, others = stack.ready, {w: stack.pid(w) for w in (*START_ORDER, "kafka.Kafka") if w != word}
    since = time.monotonic()
    stack.kill(word)
    assert time.monotonic() - since < 10
    assert {w: stack.pid(w) for w in others} == others
    assert stack.ready == before
    port = {
        "ingest": before["mllp"]["port"],
        "arrivals": before["dicom"]["port"],
        "worklist": before["worklist"]["port"],
        "kafka.Kafka": int(before["kafka"].rpartition(":")[2]),
    }
    if word in port:
        wait_until(lambda: ports.answers(port[word]), f"{word} listening on its old port")


def test_the_database_server_is_started_again_with_what_it_held(stack: RunningStack) -> None:
    url = stack.ready["postgres"]
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid(), count(*) FROM dosestream.generation").fetchone()
    server = int((stack.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(server, signal.SIGKILL)

    def serves() -> bool:
        try:
            with psycopg.connect(url, connect_timeout=2) as connection:
                found = connection.execute("SELECT count(*) FROM dosestream.generation").fetchone()
                return row is not None and found == row[1:]
        except psycopg.OperationalError:
            return False

    wait_until(lambda: not is_alive(server), "the server is dead")
    wait_until(serves, "the server is back")


def test_status_shows_every_service_up_and_nothing_behind(stack: RunningStack) -> None:
    def status() -> dict[str, Any]:
        result = subprocess.run(
            [DOSESTREAM, "status", "--json", "--ready-file", str(stack.ready_file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        document: dict[str, Any] = json.loads(result.stdout) if result.returncode == 0 else {"services": []}
        return document

    wait_until(
        lambda: len(s := status()["services"]) == 7 and all(entry["up"] for entry in s),
        "all seven services up",
    )
    behind = {entry["topic"]: entry["behind"] for entry in status()["topics"]}
    assert behind["radiology.order.v1"] == 0
    assert behind["radiology.hl7.raw.v1"] is None
    assert all(source["name"] and not source["idle"] for source in status()["sources"])


def test_a_second_up_over_the_same_folder_is_told_so_and_disturbs_nothing(stack: RunningStack) -> None:
    result = run_up("--data-dir", str(stack.data_dir), "--free-ports", "--ready-file", str(stack.ready_file))
    assert_one_sentence(result, "in use", str(stack.process.pid), "--data-dir")
    assert stack.ready_file.exists()
    assert stack.process.poll() is None


def test_sigterm_stops_everything_and_a_resumed_folder_has_its_ports_and_data(start_stack: Start) -> None:
    first = start_stack()
    before, running = first.ready, descendants(first.process.pid)
    assert len(running) >= 5
    with psycopg.connect(before["postgres"]) as connection:
        connection.execute("CREATE TABLE public.kept AS SELECT 7 AS value")
    assert first.stop() == 0
    assert [pid for pid in running if is_alive(pid)] == []
    assert not first.ready_file.exists()

    second = start_stack()
    assert ports_of(second.ready) == ports_of(before)
    with psycopg.connect(second.ready["postgres"]) as connection:
        assert connection.execute("SELECT value FROM public.kept").fetchone() == (7,)


def test_kill_9_of_up_leaves_nothing_running_and_the_folder_is_resumed(start_stack: Start) -> None:
    first = start_stack()
    running = descendants(first.process.pid)
    first.process.kill()
    first.process.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in running), "everything has ended")
    first.ready_file.unlink()
    second = start_stack()
    assert second.ready["pid"] == second.process.pid


def test_ctrl_c_while_it_starts_leaves_nothing_running(start_stack: Start) -> None:
    starting = start_stack(wait=False)
    wait_until(lambda: starting.pid("kafka.Kafka") is not None, "the broker is being started")
    running = descendants(starting.process.pid)
    starting.process.send_signal(signal.SIGINT)
    assert starting.process.wait(60) == 0
    assert [pid for pid in running if is_alive(pid)] == []
    assert "Traceback" not in starting.output()


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        config = tmp_path / "dosestream.toml"
        config.write_text(f"[mllp]\nport = {port}\n")
        result = run_up("--data-dir", str(tmp_path / "data"), "--config", str(config))
    assert_one_sentence(result, str(port), "HL7", "--free-ports")


@pytest.mark.parametrize(
    ("missing", "present", "remedy"),
    [("Java", (), "apt install openjdk-17-jre-headless"), ("Maven", ("java",), "apt install maven")],
)
def test_a_missing_program_is_named_with_what_to_do(
    tmp_path: Path, missing: str, present: tuple[str, ...], remedy: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in present:
        found = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (programs / name).symlink_to(found)
    result = run_up(
        "--data-dir",
        str(tmp_path / "data"),
        "--free-ports",
        PATH=str(programs),
        JAVA_HOME="",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    assert_one_sentence(result, missing, remedy)


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run_up("--data-dir", str(tmp_path / "file" / "data"), "--free-ports")
    assert_one_sentence(result, str(tmp_path / "file"), "--data-dir")


def test_a_mistake_in_the_configuration_is_shown_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "dosestream.toml"
    config.write_text('[site]\ntimezone = "Mars/Olympus"\n')
    result = run_up("--data-dir", str(tmp_path / "data"), "--config", str(config))
    assert_one_sentence(result, f"{config}:2", "Mars/Olympus")
