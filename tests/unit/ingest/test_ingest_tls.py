"""The listener's certificate: read, read again, kept where the new one is broken, and told before it ends."""

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import Authority, Pair

from dosestream.settings import TlsSettings
from dosestream.tls import Certificates, Expiry, TlsError, identity, load, warnings

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def put(pair: Pair, folder: Path) -> TlsSettings:
    """The pair under the names that a listener's configuration says; the file's time moves on."""
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(pair.certificate.read_bytes())
    key.write_bytes(pair.key.read_bytes())
    os.utime(certificate, ns=(certificate.stat().st_mtime_ns + 10**9,) * 2)
    return TlsSettings(certificate=str(certificate), key=str(key))


def test_a_changed_certificate_is_read_and_the_old_context_stays_as_it_was(
    authority: Authority, tmp_path: Path
) -> None:
    told: list[tuple[str, str]] = []
    tls = put(authority.sign("first"), tmp_path)
    certificates = Certificates(tls, lambda *one: told.append(one))
    before = certificates.loaded.context
    certificates.look(0.0)
    assert certificates.loaded.context is before
    put(authority.sign("second"), tmp_path)
    certificates.look(1.0)
    assert certificates.loaded.context is not before
    assert [(code, words.partition(",")[0]) for code, words in told] == [("", "CN=first"), ("", "CN=second")]


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_a_broken_certificate_is_told_and_the_old_one_stays(
    authority: Authority, tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    tls = put(authority.sign("good"), tmp_path)
    certificates = Certificates(tls, lambda code, _words: told.append(code))
    before = certificates.loaded
    Path(getattr(tls, broken)).write_text("-----BEGIN NOTHING-----")
    certificates.look(1.0)
    assert certificates.loaded is before
    assert told == ["", "broken"]
    assert "kept as it was" in caplog.text
    certificates.look(2.0)
    assert told == ["", "broken"], "told once for each change of the files"
    put(authority.sign("mended"), tmp_path)
    certificates.look(3.0)
    assert told[-1] == ""


UNUSABLE = ["no file", "no certificate", "another's key", "a key with a password", "no authority"]


@pytest.mark.parametrize("what", UNUSABLE)
def test_files_of_no_use_are_a_sentence(authority: Authority, tmp_path: Path, what: str) -> None:
    pair, other = authority.sign("one"), authority.sign("other")
    (tmp_path / "empty.pem").write_text("")
    locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHeMEkGCSqGSIb3DQEFDTA8\n-----END ENCRYPTED PRIVATE KEY-----\n"
    (tmp_path / "locked.key").write_text(locked)
    files = {
        "no file": (tmp_path / "nothing.pem", pair.key, ""),
        "no certificate": (tmp_path / "empty.pem", pair.key, ""),
        "another's key": (pair.certificate, other.key, ""),
        "a key with a password": (pair.certificate, tmp_path / "locked.key", ""),
        "no authority": (pair.certificate, pair.key, str(tmp_path / "empty.pem")),
    }[what]
    with pytest.raises(TlsError) as error:
        load(TlsSettings(certificate=str(files[0]), key=str(files[1]), client_ca=files[2]))
    assert "\n" not in str(error.value)


ENDS = [
    ("in a year", 365.0, ""),
    ("in 31 days", 31.0, ""),
    ("in 29 days", 29.5, "ends in 29 days"),
    ("in an hour", 0.04, "ends in 0 days"),
    ("yesterday", -1.0, "ended 2026-02-28"),
]


@pytest.mark.parametrize(("days", "said"), [e[1:] for e in ENDS], ids=[e[0] for e in ENDS])
def test_a_certificate_that_ends(days: float, said: str) -> None:
    found = warnings((Expiry("server.pem", "CN=here", AT + timedelta(days=days)),), AT)
    assert len(found) == bool(said)
    assert all(said in one for one in found)


def test_the_end_is_told_once_a_day(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(put(authority.sign("soon", days=10), tmp_path), lambda _code, _words: None)
    day = 86_400.0
    with caplog.at_level(logging.WARNING):
        for at in (0.0, 60.0, day - 1, day):
            certificates.look(at)
    assert caplog.text.count("renew it") == 2


def test_a_subject_and_the_names_it_may_be_called() -> None:
    certificate = {
        "subject": ((("organizationName", "Hospital"),), (("commonName", "RIS.Hospital"),)),
        "subjectAltName": (("DNS", "ris.hospital.example"), ("URI", "urn:ris:1"), ("IP Address", "10.0.0.1")),
    }
    assert identity(certificate) == (
        "CN=RIS.Hospital,O=Hospital",
        frozenset({"ris.hospital", "ris.hospital.example", "urn:ris:1"}),
    )
    assert identity({}) == ("", frozenset())
