"""What a generation is built with, as a digest: where it differs, an interrupted build is not gone on with."""

import hashlib
from dataclasses import replace
from pathlib import Path

import dosestream
from dosestream.db.generations import Origin
from dosestream.reconcile.rules import rules_from
from dosestream.settings import KafkaSettings, PostgresSettings, Settings

# Rooms whose code decides what is built, and those that decide it only where messages are mapped again.
DERIVING: tuple[str, ...] = ("db", "events", "reconcile")
MAPPING: tuple[str, ...] = ("dose", "hl7", "mapping")


def basis_of(settings: Settings, origin: Origin) -> str:
    """Sixteen hex digits over the rules and the code, and over the mapping where messages are mapped again."""
    found = hashlib.sha256(rules_from(settings).hash.encode())
    rooms = DERIVING
    if origin is Origin.RAW:
        rooms += MAPPING
        # Where the servers are says nothing of messages.
        told = replace(settings, kafka=KafkaSettings(), postgres=PostgresSettings())
        found.update(repr(told).encode())
    for room in rooms:
        folder = Path(dosestream.__file__).with_name(room)
        for file in sorted((*folder.rglob("*.py"), *folder.rglob("*.sql"))):
            found.update(file.read_bytes())
    return found.hexdigest()[:16]
