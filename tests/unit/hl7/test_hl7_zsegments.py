"""Contracts of Z segments: what they ask of messages, what they give to events, and their mistakes."""

from pathlib import Path

import pytest

from dosestream.hl7.header import read_header
from dosestream.hl7.profile import compiled
from dosestream.hl7.reader import Message, read
from dosestream.hl7.zsegments import ZContract, ZField, event_fields, known, mistakes, profiles, unknown
from dosestream.settings import Settings, SettingsError, load
from dosestream.settings.document import build
from dosestream.settings.files import contracts, shipped_contracts

UID = ZField(
    1, "Study Instance UID", required=True, format="UID", component=1, event_field="study_instance_uid"
)
ROOM = ZField(3, "Room", event_field="station_location")
ZDS = ZContract("ZDS", "IHE", status="standard", source="TF-2", field=(UID,))
ZRM = ZContract("ZRM", "Vendor", status="documented", source="manual", senders=("ris", "his"), field=(ROOM,))


def message(*segments: str) -> Message:
    body = "".join(f"{s}\r" for s in ("MSH|^~\\&|RIS||||||ORM^O01|1|P|2.5", *segments)).encode()
    header = read_header(body)
    assert header is not None
    found = read(body, header)
    assert isinstance(found, Message)
    return found


RULES = {
    "a contract that is kept": ("ZDS|1.2.3^Application^DICOM", []),
    "a required field that is empty": ("ZDS||x", ["required ZDS-1.1"]),
    "a value of another form": ("ZDS|no uid", ["format ZDS-1.1"]),
    "a segment that is not there": ("NTE|1", []),
}


@pytest.mark.parametrize(("segment", "rules"), RULES.values(), ids=RULES.keys())
def test_a_contract_is_held_against_messages(segment: str, rules: list[str]) -> None:
    found = compiled(profiles([ZDS]), "ris", "ORM^O01").findings(message(segment))
    assert [one.rule for one in found] == rules


def test_a_contract_gives_fields_of_events_to_its_senders() -> None:
    assert event_fields([ZDS, ZRM]) == (
        ("", "study_instance_uid", "ZDS-1.1"),
        ("ris", "station_location", "ZRM-3"),
        ("his", "station_location", "ZRM-3"),
    )


def test_segments_without_a_contract_are_told_once_each_and_never_by_their_content() -> None:
    found = unknown(
        message("ZDS|1", "ZRM|2", "ZXX|3", "ZXX|4", "ZDOE JOHN", "Z\x01|5"), known([ZDS, ZRM], "other")
    )
    assert [one.rule for one in found] == ["unknown ZRM", "unknown ZXX", "unknown Z??", "unknown Z??"]
    assert {one.severity for one in found} == {"warning"}


MISTAKES = {
    "no Z segment": ('segment = "PID"\nvendor = "v"\nsource = "s"\n', "1: 'PID' is no Z segment"),
    "no vendor": ('segment = "ZAB"\nsource = "s"\n', "1: 'vendor' is missing: say whose segment it is"),
    "no source": ('segment = "ZAB"\nvendor = "v"\n', "1: 'source' is missing: say where"),
    "an unknown status": (
        'segment = "ZAB"\nvendor = "v"\nsource = "s"\nstatus = "guessed"\n',
        "4: 'guessed' must be one of standard, documented, observed",
    ),
    "two fields of one number": (
        (
            'segment = "ZAB"\nvendor = "v"\nsource = "s"\n'
            '[[field]]\nnumber = 1\nname = "a"\n[[field]]\nnumber = 1\nname = "b"\n'
        ),
        "8: 1 is no number of its own",
    ),
    "a meaning that nobody wrote down": (
        (
            'segment = "ZAB"\nvendor = "v"\nsource = "s"\n'
            '[[field]]\nnumber = 1\nname = "a"\nevent_field = "modality"\n'
        ),
        "7: an observed segment maps nothing",
    ),
    "an unknown key": (
        'segment = "ZAB"\nvendor = "v"\nsource = "s"\nmeaning = "x"\n',
        "4: unknown key 'meaning'",
    ),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_contract_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        build(ZContract, text, "zab.toml")
    assert error.value.mistakes[0].startswith(f"zab.toml:{told}")


def test_the_shipped_contracts_are_good_and_say_where_they_come_from() -> None:
    shipped = shipped_contracts()
    assert {one.segment for one in shipped} >= {"ZDS", "ZSI", "ZPH"}
    assert [found for one in shipped for found in mistakes(one)] == []
    assert all(not one.field for one in shipped if one.status == "observed")


def test_a_site_adds_its_folder_of_contracts_and_its_own_replace_the_shipped(tmp_path: Path) -> None:
    config = tmp_path / "dosestream.toml"
    config.write_text('[z_segments]\nfolder = "z"\n')
    with pytest.raises(SettingsError, match="is no folder of Z segment contracts"):
        load(config, {})
    (tmp_path / "z").mkdir()
    own = tmp_path / "z" / "zsi.toml"
    own.write_text('segment = "ZSI"\nvendor = "V"\nstatus = "documented"\nsource = "manual 4.2"\n')
    found = contracts(load(config, {}))
    assert [one.vendor for one in found if one.segment == "ZSI"] == ["V"]
    assert len(found) == len(contracts(Settings()))
    own.write_text('segment = "ZSI"\nvendor = 1\n')
    with pytest.raises(SettingsError, match=r"zsi\.toml:2: 'vendor' is 1, but must be text"):
        load(config, {})
