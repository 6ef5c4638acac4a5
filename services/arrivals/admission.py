"""Who may associate: by address before a byte is read, then by AE titles. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from dosestream.admission import Networks, address_of
from dosestream.settings import Settings


class Reject(NamedTuple):
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4), and a word for the log."""

    result: int
    source: int
    reason: int
    why: str


CALLING_UNKNOWN: Final = Reject(1, 1, 3, "calling AE title not recognised")
CALLING_ELSEWHERE: Final = Reject(1, 1, 3, "calling AE title not recognised at this address")
CALLED_UNKNOWN: Final = Reject(1, 1, 7, "called AE title not recognised")


def may_connect(settings: Settings, address: str) -> bool:
    """Whether a connection from this address is taken at all: everyone's where `dicom.allow` is empty."""
    allow = settings.dicom.allow
    if not allow:
        return True
    return _within(address, (*allow, *(net for one in settings.source if one.ae_title for net in one.peers)))


def rejection(settings: Settings, calling: str, called: str, address: str) -> Reject | None:
    """Why an association is rejected, None where it is accepted."""
    dicom = settings.dicom
    if dicom.require_called_ae_title and called != dicom.ae_title:
        return CALLED_UNKNOWN
    source = next((one for one in settings.source if one.ae_title and one.ae_title == calling), None)
    if source is None:
        return CALLING_UNKNOWN if dicom.known_sources_only else None
    if source.peers and not _within(address, source.peers):
        return CALLING_ELSEWHERE
    return None


def _within(address: str, networks: Iterable[str]) -> bool:
    return Networks(tuple(networks)).hold(address_of(address))
