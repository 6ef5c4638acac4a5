"""Who a message means: assigning authority and identifier, resolved by the site's rules."""

from typing import NamedTuple

from dosestream.events.records import Demographics, Identifier
from dosestream.reconcile.rules import Rules


class PatientId(NamedTuple):
    """A patient identifier with its assigning authority; an empty authority means: not said."""

    authority: str
    value: str


def normal(rules: Rules, authority: str, value: str) -> str:
    """An identifier as its authority writes it: without leading zeros, in capitals, where the site says so."""
    value = value.strip()
    if not rules.ids_without_case and not rules.ids_without_zeros:
        return value
    if authority in rules.ids_without_case:
        value = value.upper()
    if authority in rules.ids_without_zeros:
        value = value.lstrip("0") or value[:1]
    return value


def bare_forms(rules: Rules, value: str) -> set[str]:
    """All ways in which an authority may have filed an identifier that was sent without one."""
    particular = rules.ids_without_case | rules.ids_without_zeros
    return {value.strip(), *(normal(rules, authority, value) for authority in particular)}


def resolve(rules: Rules, source: str, identifier: Identifier, default: str | None = None) -> PatientId:
    """The identifier with its authority: as sent, else the source's, else `default`; aliases replaced."""
    authority = identifier.authority
    if not authority or authority == '""':
        authority = rules.authority_by_source.get(source, "") or (
            rules.authority if default is None else default
        )
    authority = rules.authority_alias.get(authority, authority)
    return PatientId(authority, normal(rules, authority, identifier.value))


def _somebody(rules: Rules, identifier: Identifier, resolved: PatientId) -> bool:
    if rules.stands_for_nobody(identifier.value):
        return False
    return resolved.value == identifier.value or not rules.stands_for_nobody(resolved.value)


def resolved(rules: Rules, source: str, identifiers: tuple[Identifier, ...]) -> tuple[PatientId, ...]:
    """The identities that HL7 identifiers mean, each once; nobody's identifiers left out."""
    found = [who for one in identifiers if _somebody(rules, one, who := resolve(rules, source, one))]
    return tuple(found) if len(found) < 2 else tuple(dict.fromkeys(found))


def hl7_identities(rules: Rules, source: str, patient: Demographics | None) -> tuple[PatientId, ...]:
    """The identities of a PID, the first one being what facts are filed under; nobody's identifiers left out."""
    return () if patient is None else resolved(rules, source, patient.identifiers)


def dicom_identity(
    rules: Rules, source: str, patient: Demographics, institution: str = ""
) -> PatientId | None:
    """The identity of a DICOM header, None where it names nobody.

    The authority is as sent, else that of the institution, else that of the sender; empty where none is known.
    """
    default = rules.authority_by_institution.get(institution.strip().casefold(), "")
    for identifier in patient.identifiers:
        sent = identifier.authority not in ("", '""')
        if not sent and default:
            identifier = Identifier(authority=default, value=identifier.value)
        who = resolve(rules, source, identifier, default="")
        if _somebody(rules, identifier, who):
            return who
    return None
