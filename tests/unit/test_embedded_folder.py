"""The data folder: one user at a time, secrets made once, a full disk said in a sentence."""

import errno
import json
from pathlib import Path

import pytest

from dosestream.embedded.errors import StackError
from dosestream.embedded.folder import LEAST_FREE_BYTES, DataFolder, mistake_of, space_mistake


def test_a_second_holder_is_refused_with_the_first_ones_process_until_it_lets_go(tmp_path: Path) -> None:
    first = DataFolder.open(tmp_path / "data")
    owner = (tmp_path / "data" / "lock").read_text()
    with pytest.raises(StackError, match=f"in use by another .* {owner}.*--data-dir"):
        DataFolder.open(tmp_path / "data")
    first.close()
    DataFolder.open(tmp_path / "data").close()


def test_secrets_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path / "data")
    made = folder.secrets()
    assert folder.secrets() == made
    assert len(set(json.loads((folder.path / "secrets.json").read_text()).values())) == 2
    assert (folder.path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_secrets_that_cannot_be_read_are_never_replaced(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path / "data")
    (folder.path / "secrets.json").write_text("{")
    with pytest.raises(StackError, match="put back"):
        folder.secrets()
    assert (folder.path / "secrets.json").read_text() == "{"
    folder.close()


def test_ports_are_remembered_and_nonsense_is_forgotten(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path / "data")
    assert folder.ports() == {}
    folder.remember_ports({"mllp": 2575})
    assert folder.ports() == {"mllp": 2575}
    (folder.path / "ports.json").write_text("no JSON")
    assert folder.ports() == {}
    folder.close()


@pytest.mark.parametrize(
    ("free_bytes", "said"), [(LEAST_FREE_BYTES, False), (LEAST_FREE_BYTES - 1, True), (0, True)]
)
def test_too_little_space_is_said_before_the_start(free_bytes: int, said: bool) -> None:
    mistake = space_mistake(Path("/data"), free_bytes)
    assert (mistake is not None) is said
    if mistake is not None:
        assert "free some space" in mistake


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full: free some space"),
        (errno.EDQUOT, "is full: free some space"),
        (errno.EACCES, "Permission denied"),
    ],
)
def test_what_the_system_refuses_becomes_one_sentence(number: int, words: str) -> None:
    import os

    said = mistake_of(OSError(number, os.strerror(number), "/data/x"), Path("/data"))
    assert words in said
    assert "--data-dir" in said
