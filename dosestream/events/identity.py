"""Identifiers derived from content: an event's id, a patient's key."""

import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache

from dosestream.events.records import Identifier


def content_hash(body: bytes) -> str:
    """SHA-256 of the bytes, hex."""
    return hashlib.sha256(body).hexdigest()


def event_id(source: str, body: bytes, group: int) -> str:
    """Identity of the event made from one group of a message: 32 hex digits.

    The same bytes from the same source make the same id, however often and whenever they come.
    """
    digest = hashlib.sha256(source.encode() + b"\0" + group.to_bytes(4, "big") + body)
    return digest.hexdigest()[:32]


# The records of one message carry the same key, and a patient's messages often come together.
@lru_cache(maxsize=8192)
def patient_key(secret: bytes, authority: str, identifier: str) -> bytes:
    """The partition key of a patient: a keyed hash, so that no topic's key tells who it is."""
    message = f"{authority}\0{identifier}".encode()
    return hmac.digest(secret, message, "sha256").hex()[:32].encode()


def record_key(
    secret: bytes, default_authority: str, identifiers: Sequence[Identifier], fallback: str
) -> bytes:
    """The key of a record about a patient: its first identifier, else the fallback (study UID, source)."""
    if identifiers:
        first = identifiers[0]
        return patient_key(secret, first.authority or default_authority, first.value)
    return patient_key(secret, "", fallback)
