"""What of a changed configuration holds at once, and what with the next start."""

from dataclasses import replace

import pytest

from dosestream.settings import MllpSettings, Settings, TlsSettings
from services.ingest.reload import reloaded

TLS = TlsSettings(certificate="old.pem", key="old.key")
RUNNING = Settings(mllp=MllpSettings(tls=TLS))

CHANGES = [
    (
        "networks hold",
        MllpSettings(tls=TLS, allow=("10.0.0.0/8",)),
        MllpSettings(tls=TLS, allow=("10.0.0.0/8",)),
        [],
    ),
    (
        "another certificate's path holds",
        MllpSettings(tls=replace(TLS, certificate="new.pem")),
        MllpSettings(tls=replace(TLS, certificate="new.pem")),
        [],
    ),
    (
        "another TLS port waits",
        MllpSettings(tls=replace(TLS, port=1)),
        MllpSettings(tls=TLS),
        ["mllp.tls.port"],
    ),
    ("the end of TLS waits", MllpSettings(), MllpSettings(tls=TLS), ["mllp.tls"]),
    ("another plain port waits", MllpSettings(tls=TLS, port=1), MllpSettings(tls=TLS), ["mllp.port"]),
]


@pytest.mark.parametrize(("wanted", "holds", "waits"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_of_a_reload(wanted: MllpSettings, holds: MllpSettings, waits: list[str]) -> None:
    assert reloaded(RUNNING, Settings(mllp=wanted)) == (Settings(mllp=holds), waits)
