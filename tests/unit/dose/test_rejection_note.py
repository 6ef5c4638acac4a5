"""Key Object Selections: which are rejection notes, and what they name."""

import pytest
import sr_builder as sr
from arrived import instance, study_of
from pydicom import Dataset, Sequence

from dosestream.events.records import Study

KOS = "1.2.840.10008.5.1.4.1.1.88.59"


def evidence(*instances: str) -> Sequence:
    """An evidence sequence of one study, a series an instance."""
    study = Dataset()
    study.StudyInstanceUID = "1.2.826.0.1.2"
    series = []
    for uid in instances:
        item, reference = Dataset(), Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sr.DOSE_SR, uid
        item.SeriesInstanceUID, item.ReferencedSOPSequence = "1.2.826.0.1.3", Sequence([reference])
        series.append(item)
    study.ReferencedSeriesSequence = Sequence(series)
    return Sequence([study])


def note(title: str = "113001", sop_class: str = KOS) -> Study:
    data_set = sr.report(title=title, SOPClassUID=sop_class, Modality="KO")
    data_set.CurrentRequestedProcedureEvidenceSequence = evidence("1.2.9.1", "1.2.9.2")
    data_set.PertinentOtherEvidenceSequence = evidence("1.2.9.2", "1.2.9.3")
    return study_of(instance(sr.part10(data_set), source="PACS", message_type=sop_class))


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
def test_a_rejection_note_names_instances_of_both_evidence_sequences_once(title: str) -> None:
    event = note(title)
    assert (event.kind, event.rejection_code) == ("rejection_note", title)
    assert event.rejected_instances == ("1.2.9.1", "1.2.9.2", "1.2.9.3")
    assert not [issue for issue in event.issues if issue.startswith("sr_without_dose")]


@pytest.mark.parametrize(("title", "sop_class"), [("113000", KOS), ("113001", sr.ENHANCED_SR)])
def test_other_objects_reject_nothing(title: str, sop_class: str) -> None:
    event = note(title, sop_class)
    assert (event.kind, event.rejection_code, event.rejected_instances) == ("structured_report", "", ())
