"""A mistake on the command line is said in one sentence, and ends with exit code 2."""

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest
import typer

from dosestream import cli
from dosestream.cli.address import ae_host_port, host_port
from dosestream.cli.stackfile import find
from dosestream.embedded.errors import StackError

DOSESTREAM = str(Path(sys.executable).with_name("dosestream"))


def environment(given: dict[str, str]) -> dict[str, str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("DOSESTREAM_")}
    return environ | {"XDG_DATA_HOME": "/nonexistent"} | given


def run(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """The command in this process, which has loaded most of what it needs."""
    out, err, ended = StringIO(), StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [DOSESTREAM, *arguments]),
        mock.patch.dict(os.environ, environment(given), clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            assert end.code is None or isinstance(end.code, int)
            ended = end.code or 0
    return subprocess.CompletedProcess(arguments, ended, out.getvalue(), err.getvalue())


@pytest.mark.parametrize("arguments", [["status"], ["ingest", "--config", "/nonexistent.toml"]])
def test_the_program_ends_as_it_does_in_this_process(arguments: list[str]) -> None:
    inside = run(*arguments)
    program = subprocess.run(
        [DOSESTREAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment({}),
    )
    assert (program.returncode, program.stdout, program.stderr) == (
        inside.returncode,
        inside.stdout,
        inside.stderr,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status"], "give --ready-file"),
        (["status", "--ready-file", "/nonexistent.json"], "is the stack up"),
        (["ingest", "--config", "/nonexistent.toml"], "cannot be read"),
        (["send", __file__, "--to", "nowhere"], "no HOST:PORT"),
        (["store", __file__, "--to", "127.0.0.1:11112"], "no AE@HOST:PORT"),
        (["send", "/nonexistent.hl7", "--to", "127.0.0.1:2575"], "does not exist"),
        (["link", "--study", "1.2"], "which order is meant"),
        (["exclude", "--study", "one"], "no Study Instance UID"),
        (["merge", "--prior", "4711", "--patient", "HOSP:1"], "no AUTHORITY:ID"),
        (["merge", "--prior", "HOSP:1", "--patient", "HOSP:1"], "a merge takes two"),
        (["unmerge", "--prior", "HOSP:1", "--patient", "HOSP:2"], "give --ready-file"),
        (["frobnicate"], "No such command"),
    ],
)
def test_a_mistake_exits_2_and_says_what_to_do(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    # Boxes may break lines.
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr


def test_every_command_has_help() -> None:
    commands = "up ingest arrivals reconciler worklist send store status missing fetch simulate config check"
    commands += " link unlink merge unmerge exclude include reassign tail"
    for command in commands.split():
        assert run(command, "--help").returncode == 0, command


def test_help_imports_nothing_that_a_service_needs() -> None:
    heavy = "confluent_kafka psycopg faust pydicom pynetdicom fastavro aiokafka"
    program = f"import sys, dosestream.cli; print([m for m in {heavy.split()!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_config_check_shows_every_mistake_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "dosestream.toml"
    file.write_text('[mllp]\nport = "x"\n[dicom]\nae = "A"\n')
    result = run("config", "check", str(file))
    assert result.returncode == 1
    assert f"{file}:2:" in result.stderr
    assert f"{file}:4:" in result.stderr
    file.write_text("[mllp]\nport = 2575\n")
    result = run("config", "check", str(file))
    assert (result.returncode, result.stderr) == (0, "")


def test_config_check_without_a_file_reads_the_one_that_services_get(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text("[mllp]\nport = 0.5\n")
    result = run("config", "check", DOSESTREAM_CONFIG=str(file))
    assert result.returncode == 1
    assert f"{file}:2:" in result.stderr
    assert run("config", "check").returncode == 2


@pytest.mark.parametrize(
    ("text", "taken_apart"),
    [
        ("127.0.0.1:2575", ("127.0.0.1", 2575)),
        ("ris.example:1", ("ris.example", 1)),
        ("[::1]:2575", ("::1", 2575)),
    ],
)
def test_an_address_is_taken_apart(text: str, taken_apart: tuple[str, int]) -> None:
    assert host_port(text) == taken_apart
    assert ae_host_port(f"AE@{text}") == ("AE", *taken_apart)


@pytest.mark.parametrize("text", ["", "host", ":2575", "host:", "host:x", "host:0", "host:65536"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        host_port(text)


@pytest.mark.parametrize("text", ["host:1", "@host:1", "SEVENTEEN_LETTERS@host:1"])
def test_what_is_no_ae_title_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        ae_host_port(text)


def test_the_variables_that_services_get_stand_for_the_ready_file() -> None:
    ready = find(
        None,
        {"DOSESTREAM_KAFKA": "k:1", "DOSESTREAM_POSTGRES": "postgresql://p", "DOSESTREAM_MLLP_PORT": "7"},
    )
    assert (ready["kafka"], ready["postgres"], ready["mllp"]["port"]) == ("k:1", "postgresql://p", 7)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kafka": "k:1"}'])
def test_a_file_that_is_no_ready_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ready.json"
    file.write_text(text)
    with pytest.raises(StackError, match="is no ready file"):
        find(file)
