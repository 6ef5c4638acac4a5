"""Who a client is to the broker, and how it knows the broker: TLS, and SASL with a password from a file.

The password is read whenever a client is made, so a changed file holds from the next start on, and neither the
settings nor the environment hold it.
"""

import ssl
from pathlib import Path
from typing import Any

from dosestream.settings import KafkaSettings, SettingsError

ClientConfig = dict[str, Any]


def is_tls(kafka: KafkaSettings) -> bool:
    """Whether the connection is encrypted."""
    return kafka.security_protocol in ("SSL", "SASL_SSL")


def is_sasl(kafka: KafkaSettings) -> bool:
    """Whether the client says its name and proves it with a password."""
    return kafka.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")


def connection(kafka: KafkaSettings) -> ClientConfig:
    """What every librdkafka client begins with (its CONFIGURATION.md, `security.protocol` and what follows).

    Raises:
        SettingsError: the password cannot be read.
    """
    config: ClientConfig = {"bootstrap.servers": kafka.bootstrap}
    if kafka.security_protocol == "PLAINTEXT":
        return config
    config["security.protocol"] = kafka.security_protocol
    if is_tls(kafka):
        files = {
            "ssl.ca.location": kafka.ca_file,
            "ssl.certificate.location": kafka.certificate,
            "ssl.key.location": kafka.key,
        }
        config |= {name: path for name, path in files.items() if path}
    if is_sasl(kafka):
        config |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": kafka.user,
            "sasl.password": password(kafka),
        }
    return config


def password(kafka: KafkaSettings) -> str:
    """The one line of `kafka.password_file`.

    Raises:
        SettingsError: it cannot be read, or holds something else.
    """
    if not (kafka.user and kafka.password_file):
        raise SettingsError(
            [f"kafka.security_protocol is {kafka.security_protocol}: set kafka.user and kafka.password_file"]
        )
    return read_password(Path(kafka.password_file), "kafka.password_file")


def read_password(path: Path, said: str) -> str:
    """The one line of a file of a password; `said` is how the file was named.

    Raises:
        SettingsError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8"
        raise SettingsError([f"{said}: {path}: {reason}"]) from error
    if not text or "\n" in text:
        raise SettingsError([f"{said}: {path}: must hold one line, the password"])
    return text


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """The same for clients on Python's own sockets; None where nothing is encrypted.

    Raises:
        SettingsError: a certificate, or a key, cannot be used.
    """
    if not is_tls(kafka):
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ca_file or None)
        if kafka.certificate:
            context.load_cert_chain(kafka.certificate, kafka.key or None)
    except OSError as error:
        raise SettingsError([f"kafka: a TLS file cannot be used: {error}"]) from error
    return context
