"""Who a message means: assigning authority and identifier, resolved by the site's rules."""

from typing import NamedTuple

from dosestream.events.records import Demographics, Identifier
from dosestream.reconcile.rules import Rules


class PatientId(NamedTuple):
    """A patient identifier with its assigning authority; an empty authority means: not said."""

    authority: str
    value: str


def resolve(rules: Rules, source: str, identifier: Identifier, default: str | None = None) -> PatientId:
    """The identifier with its authority: as sent, else the source's, else `default`; aliases replaced."""
    authority = identifier.authority if identifier.authority != '""' else ""
    authority = authority or rules.authority_by_source.get(source, "")
    if not authority:
        authority = rules.authority if default is None else default
    return PatientId(rules.authority_alias.get(authority, authority), identifier.value.strip())


def hl7_identities(rules: Rules, source: str, patient: Demographics | None) -> tuple[PatientId, ...]:
    """The identities of a PID, the first one being what facts are filed under; nobody's identifiers left out."""
    if patient is None:
        return ()
    found = (
        resolve(rules, source, identifier)
        for identifier in patient.identifiers
        if not rules.stands_for_nobody(identifier.value)
    )
    return tuple(dict.fromkeys(found))


def dicom_identity(rules: Rules, source: str, patient: Demographics) -> PatientId | None:
    """The identity of a DICOM header, None where it names nobody; the authority is empty where none is known."""
    for identifier in patient.identifiers:
        if not rules.stands_for_nobody(identifier.value):
            return resolve(rules, source, identifier, default="")
    return None
