"""Profiles and contracts on the way of a message: flagged, it is taken all the same; refused, it makes no event."""

from pathlib import Path

import pytest
from hl7_cases import events, normalised

from dosestream.events.records import Order
from dosestream.hl7.profile import ProfileSettings
from dosestream.mapping.normalise import interpret
from dosestream.settings import ConformanceSettings, Settings, SettingsError, SourceSettings, load

ORDER = ("PID|||1^^^HOSP||DOE||19800101|M", "ORC|NW|P1|F1", "OBR|1|P1|F1|CT1")
VISIT = ProfileSettings("visits", "his", ("ORM^O01",), "reject", required=("PV1-19.1",))
STRICT = Settings(source=(SourceSettings("his", sending_application="HIS"),), profile=(VISIT,))
BODY = ("MSH|^~\\&|HIS|HOSP|||20260301||{kind}|1|P|2.5\r" + "\r".join(ORDER) + "\rZQQ|1\r").encode()


def test_a_message_that_a_profile_rejects_makes_no_event_and_keeps_its_place() -> None:
    found = normalised("ORM^O01", *ORDER, settings=STRICT)
    assert found.events == ()
    assert found.rejection is not None
    assert (found.rejection.code, found.rejection.location) == ("profile", "PV1")


def test_a_profile_that_rejects_lets_pass_what_it_asks_for() -> None:
    visit = f"PV1||I{'|' * 17}V1"
    assert len(events("ORM^O01", ORDER[0], visit, *ORDER[1:], settings=STRICT)) == 1


def body(kind: str) -> bytes:
    return BODY.replace(b"{kind}", kind.encode())


FLAGGED = {
    "the minimum of IHE and a Z segment nobody knows": ("ORM^O01", True, ["required PID-5", "unknown ZQQ"]),
    "without the minimum": ("ORM^O01", False, ["unknown ZQQ"]),
    "a type that no profile is for": ("BAR^P01", True, ["unknown ZQQ"]),
    "an acknowledgement": ("ACK", True, []),
}


@pytest.mark.parametrize(("kind", "minimum", "rules"), FLAGGED.values(), ids=FLAGGED.keys())
def test_what_is_only_flagged_is_told_and_refuses_nothing(kind: str, minimum: bool, rules: list[str]) -> None:
    settings = Settings(conformance=ConformanceSettings(ihe_minimum=minimum))
    found = interpret(body(kind).replace(b"DOE", b""), settings)
    assert [one.rule for one in found.findings] == rules
    assert found.refusal is None


def test_rules_are_those_of_the_configuration_that_is_asked_with() -> None:
    strict, lenient = (
        Settings(profile=(ProfileSettings(on_violation="reject", required=("ZAB",)),)),
        Settings(),
    )
    refusals = [interpret(body("ORM^O01"), one).refusal for one in (strict, lenient, strict)]
    assert [refusal is not None for refusal in refusals] == [True, False, True]


CONTRACT = """
segment = "ZRM"
vendor = "Vendor"
status = "documented"
source = "interface manual, chapter 4"
[[field]]
number = 2
name = "Room"
type = "CE"
component = 1
event_field = "FIELD"
"""


def site(folder: Path, field: str, more: str = "") -> Settings:
    (folder / "z").mkdir()
    (folder / "z" / "zrm.toml").write_text(CONTRACT.replace("FIELD", field))
    (folder / "dosestream.toml").write_text(f'[z_segments]\nfolder = "z"\n{more}')
    return load(folder / "dosestream.toml", {})


def order(settings: Settings, *segments: str) -> Order:
    (event,) = events("ORM^O01", *ORDER, *segments, settings=settings)
    assert isinstance(event, Order)
    return event


def test_a_contract_gives_a_field_where_the_standard_places_say_nothing(tmp_path: Path) -> None:
    settings = site(tmp_path, "station_location")
    taken = order(settings, "ZRM|1|CT room 2^x")
    assert (taken.station_location, taken.paths["station_location"]) == ("CT room 2", "ZRM-2.1")
    assert order(settings, "IPC|||||||| Room 7", "ZRM|1|CT room 2").station_location == "Room 7"
    assert order(settings).station_location == ""


def test_a_rule_of_the_site_stands_over_a_contract(tmp_path: Path) -> None:
    rule = '[[mapping.rule]]\nfield = "station_location"\npaths = ["ZRM-3"]\n'
    assert order(site(tmp_path, "station_location", rule), "ZRM|1|a|b").station_location == "b"


def test_a_contract_for_a_field_that_no_event_has_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ZRM-2\.1 for 'room_temperature'"):
        site(tmp_path, "room_temperature")
