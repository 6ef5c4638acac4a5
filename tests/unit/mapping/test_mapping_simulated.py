"""Reports of a simulated week, read by our mapping and held against what its radiologists signed."""

from datetime import date
from hashlib import sha256

import pytest

from dosestream.mapping.normalise import interpret
from dosestream.settings import Settings
from dosestream.simulate.history import history
from dosestream.simulate.timeline import HL7

SETTINGS = Settings()


@pytest.mark.slow
def test_the_newest_report_of_every_order_is_the_true_one() -> None:
    played = history(5, date(2026, 3, 14), days=4, sites=1)
    newest: dict[str, dict[str, object]] = {}
    appointments = 0
    for step in played.timeline:
        if step.channel != HL7 or step.kind[:3] not in ("ORU", "SIU"):
            continue
        found = interpret(step.body, SETTINGS)
        assert found.refusal is None
        (draft,) = found.drafts
        if step.kind.startswith("SIU"):
            assert draft.fields["filler_order_number"]
            assert draft.fields["scheduled_at"]
            appointments += 1
            continue
        known = newest.get(draft.fields["filler_order_number"])
        if known is None or int(str(known["event_time"])) < draft.fields["event_time"]:
            newest[draft.fields["filler_order_number"]] = draft.fields
    truth = [line for line in played.truth() if line["kind"] == "report"]
    assert len(truth) == len(newest) > 50
    assert appointments > 10
    by_accession = {fields.get("accession_number"): fields for fields in newest.values()}
    assert len(by_accession) == len(newest)
    for line in truth:
        fields = by_accession[line["accession_number"]]
        assert fields["status"] == line["status"]
        assert sha256(str(fields["text"]).encode()).hexdigest() == line["text_sha256"]
        assert fields["author"] == "Reed^Martin^^Dr."
