"""How clients connect, from the settings: what librdkafka and Python's sockets are told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

from dosestream.kafka.client import admin_config, consumer_config, producer_config
from dosestream.kafka.security import connection, tls_context
from dosestream.settings import KafkaSettings, SettingsError, load

SECURED = KafkaSettings(security_protocol="SASL_SSL", user="ingest", ca_file="ca.pem")


@pytest.fixture
def secured(tmp_path: Path) -> KafkaSettings:
    (tmp_path / "password").write_text("s3cret\n")
    return replace(SECURED, password_file=str(tmp_path / "password"))


def test_a_plain_connection_is_told_nothing_of_security() -> None:
    assert connection(KafkaSettings(bootstrap="k:1")) == {"bootstrap.servers": "k:1"}


def test_every_client_says_who_it_is(secured: KafkaSettings) -> None:
    expected = {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "ca.pem",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ingest",
        "sasl.password": "s3cret",
    }
    configs: tuple[dict[str, Any], ...] = (
        admin_config(secured),
        consumer_config(secured, group="g"),
        producer_config(secured, linger_ms=0, delivery_timeout_ms=1000),
    )
    for config in configs:
        assert expected.items() <= config.items()


def test_a_certificate_of_ours_needs_no_password(tmp_path: Path) -> None:
    kafka = KafkaSettings(security_protocol="SSL", ca_file="ca.pem", certificate="c.pem", key="k.pem")
    assert connection(kafka) == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SSL",
        "ssl.ca.location": "ca.pem",
        "ssl.certificate.location": "c.pem",
        "ssl.key.location": "k.pem",
    }


def test_python_s_sockets_trust_the_same_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("client")
    kafka = KafkaSettings(
        security_protocol="SSL",
        ca_file=str(authority.certificate),
        certificate=str(pair.certificate),
        key=str(pair.key),
    )
    context = tls_context(kafka)
    assert context is not None
    assert context.cert_store_stats()["x509_ca"] == 1
    assert context.check_hostname
    assert tls_context(KafkaSettings()) is None
    with pytest.raises(SettingsError, match="TLS file"):
        tls_context(replace(kafka, ca_file=str(tmp_path / "none.pem")))


PASSWORDS = {"none": (None, "No such file"), "empty": ("\n", "one line"), "two lines": ("a\nb\n", "one line")}


@pytest.mark.parametrize(("content", "told"), PASSWORDS.values(), ids=PASSWORDS.keys())
def test_a_password_of_no_use_is_a_mistake(content: str | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "password").write_text(content)
    with pytest.raises(SettingsError, match=told):
        connection(replace(SECURED, password_file=str(tmp_path / "password")))


def test_sasl_needs_a_user_and_a_password() -> None:
    with pytest.raises(SettingsError, match=r"set kafka\.user and kafka\.password_file"):
        connection(SECURED)


MISTAKES = {
    "an unknown protocol": ("security_protocol = 'TLS'", "must be one of PLAINTEXT, SSL"),
    "an unknown mechanism": ("sasl_mechanism = 'MD5'", "must be one of SCRAM-SHA-512"),
    "a file that is not there": ("ca_file = 'none.pem'", "No such file"),
    "a key alone": ("key = 'dosestream.toml'", "'key' needs 'certificate'"),
    "more in sync than there are": ("replication = 2\nmin_insync_replicas = 3", "can never be in sync"),
    "a topic that is not ours": ("topic = [{name = 'x'}]", "must be one of radiology.hl7.raw.v1"),
    "a topic twice": (
        "topic = [{name = 'radiology.dose.v1'}, {name = 'radiology.dose.v1'}]",
        "named twice",
    ),
    "a limit that cleanup keeps": (
        "topic = [{name = 'radiology.audit.v1', retention_days = 1}]",
        "retention.audit_days",
    ),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    config = tmp_path / "dosestream.toml"
    config.write_text(f"[kafka]\n{text}\n")
    with pytest.raises(SettingsError, match=told):
        load(config, {})


def test_the_files_lie_beside_the_configuration_and_the_environment_stands_over_it(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    config = tmp_path / "dosestream.toml"
    config.write_text("[kafka]\nsecurity_protocol = 'SASL_SSL'\nca_file = 'ca.pem'\nuser = 'a'\n")
    kafka = load(config, {"DOSESTREAM_KAFKA_USER": "b", "DOSESTREAM_KAFKA_PASSWORD_FILE": "/p"}).kafka
    assert (kafka.user, kafka.password_file, kafka.ca_file) == ("b", "/p", str(tmp_path / "ca.pem"))
