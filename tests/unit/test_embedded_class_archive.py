"""The broker's classes kept: what goes wrong with them keeps no broker from starting."""

from pathlib import Path

import pytest

from dosestream.embedded import class_archive, jars
from dosestream.embedded.errors import StackError
from dosestream.embedded.kafka import EmbeddedKafka


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is to be."""
    place = tmp_path / "cache" / "kafka.jsa"
    monkeypatch.setattr(jars, "java", lambda: "/bin/false")
    monkeypatch.setattr(jars, "class_archive", lambda java: place)
    return place


def test_a_folder_that_cannot_be_written_keeps_nothing_and_fails_nothing(archive: Path) -> None:
    assert class_archive.missing()
    assert not class_archive.make()
    assert class_archive.missing()


def test_a_broker_that_does_not_start_is_tried_again(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(broker: EmbeddedKafka) -> None:
        raise StackError("it does not start")

    monkeypatch.setattr(EmbeddedKafka, "prepare", prepare)
    archive.parent.mkdir()
    assert not class_archive.make()
    assert class_archive.missing()
    # Nothing is left of the try.
    assert [one.suffix for one in archive.parent.iterdir()] == [".lock"]


def test_a_java_that_keeps_no_classes_is_tried_once(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    monkeypatch.setattr(EmbeddedKafka, "launch", lambda broker: tries.append(broker.folder))
    for name in ("prepare", "wait_ready"):
        monkeypatch.setattr(EmbeddedKafka, name, lambda broker: None)
    archive.parent.mkdir()
    assert [class_archive.make(), class_archive.make()] == [False, False]
    assert len(tries) == 1
    assert not class_archive.missing()
    assert sorted(one.suffix for one in archive.parent.iterdir()) == [".lock", ".tried"]


def test_another_java_has_an_archive_of_its_own(tmp_path: Path) -> None:
    programs = [tmp_path / "java17", tmp_path / "java21"]
    for number, program in enumerate(programs):
        program.write_bytes(bytes(number))
    ours, others = (jars.class_archive(str(program)) for program in programs)
    assert ours != others
    assert ours == jars.class_archive(str(programs[0]))
    programs[0].write_bytes(b"an update")
    assert jars.class_archive(str(programs[0])) != ours
