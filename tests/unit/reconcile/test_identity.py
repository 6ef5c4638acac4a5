"""Who an identifier means, by the site's configuration."""

import pytest
from said import person, unissued

from dosestream.reconcile.identity import PatientId, bare_forms, dicom_identity, hl7_identities, normal
from dosestream.reconcile.rules import rules_from
from dosestream.settings import SettingsError, parse

RULES = rules_from(
    parse(
        """
        [site]
        authority = "HOSP"
        [[source]]
        name = "east-ct"
        ae_title = "EASTCT"
        authority = "EAST"
        [institution_authority]
        "Clinic North" = "NORTH"
        [[authority]]
        name = "HOSP"
        aliases = ["1.2.3"]
        leading_zeros = "ignore"
        [[authority]]
        name = "NORTH"
        case = "ignore"
        [matching]
        merged_away = "own"
        """
    )
)

REPORTS = {
    "as sent": ("ct", "7@OTHER", "", PatientId("OTHER", "7")),
    "an alias is the authority it stands for": ("ct", "007@1.2.3", "", PatientId("HOSP", "7")),
    "the sender's": ("east-ct", "007", "", PatientId("EAST", "007")),
    "the institution's before the sender's": ("east-ct", "ab7", " clinic NORTH", PatientId("NORTH", "AB7")),
    "of no authority": ("ct", "007", "Clinic South", PatientId("", "007")),
    "nobody": ("ct", "UNKNOWN", "", None),
}


@pytest.mark.parametrize(("source", "sent", "institution", "expected"), REPORTS.values(), ids=REPORTS.keys())
def test_whom_a_report_means(source: str, sent: str, institution: str, expected: PatientId | None) -> None:
    value, _, authority = sent.partition("@")
    patient = person(value, authority=authority) if authority else unissued(value)
    assert dicom_identity(RULES, source, patient, institution) == expected


def test_hl7_identifiers_without_authority_are_the_sources_or_the_sites() -> None:
    patient = unissued("0042")
    assert hl7_identities(RULES, "HIS|HOSP", patient) == (PatientId("HOSP", "42"),)
    assert hl7_identities(RULES, "east-ct", patient) == (PatientId("EAST", "0042"),)


def test_repetitions_that_mean_the_same_are_one_and_nobody_is_left_out() -> None:
    patient = person("007", "7@1.2.3", "000", "UNKNOWN@OTHER")
    assert hl7_identities(RULES, "HIS|HOSP", patient) == (PatientId("HOSP", "7"),)


def test_an_identifier_of_zeros_is_zero() -> None:
    assert normal(RULES, "HOSP", "000") == "0"


def test_a_bare_identifier_may_be_filed_as_any_authority_writes_it() -> None:
    assert bare_forms(RULES, "00ab") == {"00ab", "ab", "00AB"}


def test_a_policy_that_is_none_is_a_mistake_with_its_line() -> None:
    assert not RULES.follow_merges
    with pytest.raises(SettingsError, match=r":3: 'merged_away' is 'never', but must be one of follow, own"):
        parse('\n[matching]\nmerged_away = "never"\n')
