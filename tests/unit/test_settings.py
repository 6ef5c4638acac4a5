"""A site's configuration: every mistake is told with its line."""

from pathlib import Path

import pytest

from dosestream.settings import Settings, SettingsError, load, parse
from dosestream.settings.doubts import doubts

MISTAKES = {
    "an unknown section": ("[mllpp]\nport = 1\n", "1: unknown key 'mllpp'"),
    "an unknown key": ("[mllp]\nhost = 'h'\nprot = 1\n", "3: unknown key 'prot'"),
    "text where a number must be": ("[mllp]\nport = '1'\n", "2: 'port' is '1', but must be a whole number"),
    "a port that is none": ("[mllp]\nport = 99999\n", "2: 99999 is no port"),
    "a path that is none": ("[mapping]\naccession_fallback = ['OBR-3.x']\n", "2: 'OBR-3.x' is no path"),
    "a zone that is none": ("[site]\ntimezone = 'Mars'\n", "2: 'Mars' is no IANA time zone"),
    "an unknown character set": ("[[source]]\ncharset = 'klingon'\n", "2: 'klingon' is no character set"),
    "the second source": ("[[source]]\nname = 'a'\n[[source]]\nnmae = 'b'\n", "4: unknown key 'nmae'"),
    "an unknown status": ("[order_status]\nNW_SC = 'Q'\n", "2: 'Q' is no status"),
    "a choice that is none": ("[mllp]\non_reject = 'AX'\n", "2: 'on_reject' is 'AX'"),
    "a network that is none": ("[mllp]\nallow = ['10.0.0.0/8', '10.0.0']\n", "2: '10.0.0' is no network"),
    "a source's network that is none": ("[[source]]\npeers = ['x']\n", "2: 'x' is no network"),
    "a certificate without key": ("[mllp.tls]\ncertificate = 'c'\n", "2: 'certificate' needs 'key'"),
    "certificates asked for without authority": (
        "[mllp.tls]\ncertificate = 'c'\nkey = 'k'\nrequire_client_certificate = true\n",
        "4: 'require_client_certificate' needs 'client_ca'",
    ),
    "authorities of DICOM peers without TLS": (
        "[dicom.tls]\nclient_ca = 'ca'\n",
        "2: 'client_ca' needs 'certificate'",
    ),
    "no TOML": ("[mllp\n", "1: "),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(text, "site.toml")
    assert error.value.mistakes[0].startswith(f"site.toml:{told}")


def test_mistakes_are_told_in_the_order_of_the_file() -> None:
    with pytest.raises(SettingsError) as error:
        parse("[site]\ntimezone = 'Mars'\n[mllp]\nport = -1\n[foo]\n", "f")
    assert [m.split(":")[1] for m in error.value.mistakes] == ["2", "4", "5"]


def test_the_environment_stands_over_the_file_and_the_file_over_the_defaults() -> None:
    assert load(environ={}) == Settings()
    tls = load(environ={"DOSESTREAM_MLLP_TLS_PORT": "10"})
    assert (tls.mllp.tls.port, tls.mllp.port) == (10, Settings().mllp.port)
    settings = load(environ={"DOSESTREAM_KAFKA": "k:1", "DOSESTREAM_MLLP_PORT": "9"})
    assert (settings.kafka.bootstrap, settings.mllp.port) == ("k:1", 9)
    with pytest.raises(SettingsError, match="DOSESTREAM_MLLP_PORT='x' is no int"):
        load(environ={"DOSESTREAM_MLLP_PORT": "x"})


@pytest.mark.parametrize("section", ["mllp", "dicom"])
def test_files_of_tls_lie_beside_the_configuration(section: str, tmp_path: Path) -> None:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("")
    config = tmp_path / "dosestream.toml"
    config.write_text(f"[{section}.tls]\ncertificate = 'c.pem'\nkey = 'k.pem'\n")
    tls = getattr(load(config, {}), section).tls
    assert (tls.certificate, tls.key) == (str(tmp_path / "c.pem"), str(tmp_path / "k.pem"))
    config.write_text(f"[{section}.tls]\ncertificate = 'c.pem'\nkey = 'none.pem'\n")
    with pytest.raises(
        SettingsError, match=rf"dosestream\.toml:3: {section}\.tls\.key: .*none\.pem: cannot be read"
    ):
        load(config, {})


SECRETS = {
    "a variable from a file": (
        {"DOSESTREAM_PATIENT_KEY_SECRET_FILE": "one"},
        ("s/1 t", "postgresql://127.0.0.1:5432/dosestream"),
    ),
    "a variable stands over its file": (
        {"DOSESTREAM_PATIENT_KEY_SECRET_FILE": "one", "DOSESTREAM_PATIENT_KEY_SECRET": "other"},
        ("other", "postgresql://127.0.0.1:5432/dosestream"),
    ),
    "the database's password": (
        {"DOSESTREAM_POSTGRES": "postgresql://u@h:1/d?x=1", "DOSESTREAM_POSTGRES_PASSWORD_FILE": "one"},
        ("dosestream", "postgresql://u:s%2F1%20t@h:1/d?x=1"),
    ),
    "a URL with a password keeps it": (
        {"DOSESTREAM_POSTGRES": "postgresql://u:p@h/d", "DOSESTREAM_POSTGRES_PASSWORD_FILE": "one"},
        ("dosestream", "postgresql://u:p@h/d"),
    ),
}


@pytest.mark.parametrize(("environ", "expected"), SECRETS.values(), ids=SECRETS.keys())
def test_secrets_lie_in_files(environ: dict[str, str], expected: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "one").write_text("s/1 t\n")
    named = {key: str(tmp_path / value) if key.endswith("_FILE") else value for key, value in environ.items()}
    settings = load(environ=named)
    assert (settings.site.patient_key_secret, settings.postgres.url) == expected


WRONG_SECRETS = {
    "a file that is not there": ("DOSESTREAM_KAFKA_FILE", None, "No such file"),
    "an empty file": ("DOSESTREAM_KAFKA_FILE", "\n", "must hold one line"),
    "a password of nobody": ("DOSESTREAM_POSTGRES_PASSWORD_FILE", "x", "names no user"),
}


@pytest.mark.parametrize(("variable", "content", "told"), WRONG_SECRETS.values(), ids=WRONG_SECRETS.keys())
def test_a_secret_of_no_use_is_a_mistake(
    variable: str, content: str | None, told: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "secret").write_text(content)
    with pytest.raises(SettingsError, match=told):
        load(environ={variable: str(tmp_path / "secret")})


def test_the_password_file_lies_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret")
    config = tmp_path / "dosestream.toml"
    config.write_text("[postgres]\nurl = 'postgresql://u@h/d'\npassword_file = 'pw'\n")
    assert load(config, {}).postgres.url == "postgresql://u:secret@h/d"


def test_a_patient_key_that_everybody_knows_is_doubted() -> None:
    assert [doubt for doubt in doubts(Settings()) if "patient_key_secret" in doubt]
    assert doubts(parse('[site]\npatient_key_secret = "of our own"\n')) == []
