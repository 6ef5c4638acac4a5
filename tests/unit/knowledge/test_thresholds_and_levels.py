"""Thresholds and reference levels as a site writes them."""

from pathlib import Path

import pytest

from dosestream.knowledge.quantities import QUANTITIES
from dosestream.knowledge.reference_levels import ReferenceLevelSettings, like, row
from dosestream.knowledge.thresholds import AlertSettings, thresholds
from dosestream.reconcile.rules import Rules, rules_from
from dosestream.settings import Settings, SettingsError, parse

ROOT = Path(__file__).parents[3]
VIEWS = (ROOT / "dosestream/db/knowledge.sql").read_text(encoding="utf-8")


def test_the_defaults_are_those_of_ncrp_168_in_the_units_of_the_columns() -> None:
    assert thresholds(AlertSettings()) == {"dose_rp": 5.0, "dap": 0.05, "fluoro_time": 3600.0}
    assert rules_from(Settings()).alert_thresholds == Rules().alert_thresholds


def test_a_site_sets_its_own_thresholds_and_leaves_some_out() -> None:
    settings = parse("[alert]\ndose_rp = '3000 mGy'\ndap = ''\nct_dlp = '3000 mGy.cm'\n")
    rules = rules_from(settings)
    assert rules.alert_thresholds == {"dose_rp": 3.0, "fluoro_time": 3600.0, "ct_dlp": 3000.0}
    assert rules.hash != Rules().hash


LEVEL = "[[reference_level]]\nname = 'a'\nquantity = 'ct_dlp'\nvalue = 500\nunit = 'mGy.cm'\n"
MISTAKES = {
    "a threshold without a number": ("[alert]\ndose_rp = 'high'\n", "2: 'high': no unit, where Gy is meant"),
    "a threshold in another unit": ("[alert]\ndap = '5 Gy'\n", "2: '5 Gy': unit 'Gy' is not known"),
    "a threshold of nothing": ("[alert]\n\nfluoro_time = '0 s'\n", "3: '0 s': must be above 0"),
    "a kind that is none": ("[alert]\nskin = '2 Gy'\n", "2: unknown key 'skin'"),
    "a quantity that is none": (
        LEVEL.replace("ct_dlp", "dlp"),
        "3: 'quantity' is 'dlp', but must be one of ct_dlp, dap",
    ),
    "no quantity": (LEVEL.replace("quantity = 'ct_dlp'\n", ""), "1: needs a 'quantity'"),
    "a level of nothing": (LEVEL.replace("500", "0"), "4: 'value' is 0, but must be a number above 0"),
    "a level that is text": (LEVEL.replace("500", "'x'"), "4: 'value' is 'x', but must be a number"),
    "a unit of another quantity": (LEVEL.replace("mGy.cm", "Gy.cm2"), "5: unit 'Gy.cm2' is not known"),
    "a band upside down": (
        LEVEL + LEVEL + "age_from = 10\nage_to = 5\n",
        "12: 'age_to' must be above 'age_from'",
    ),
    "no name, in the second level": (
        LEVEL + LEVEL.replace("name = 'a'\n", ""),
        "6: a reference level needs a 'name'",
    ),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(text, "site.toml")
    assert error.value.mistakes[0].startswith(f"site.toml:{told}")


def test_a_level_is_stored_in_the_unit_of_its_quantity() -> None:
    settings = parse(
        LEVEL.replace("500", "0.5").replace("mGy.cm", "Gy.cm") + "protocol = 'Abd*'\nage_to = 15\n"
    )
    found = row(3, settings.reference_level[0])
    assert (found["number"], found["value"], found["unit"]) == (3, 500.0, "mGy.cm")
    assert (found["protocol_like"], found["age_from"], found["age_to"]) == ("Abd%", None, 15.0)
    assert (found["modality"], found["procedure_like"], found["weight_to"]) == (None, None, None)


@pytest.mark.parametrize(
    ("pattern", "as_like"),
    [("", None), ("Abd*", "Abd%"), ("CT?", "CT_"), ("100%_a\\b", "100\\%\\_a\\\\b")],
)
def test_a_pattern_becomes_sqls(pattern: str, as_like: str | None) -> None:
    assert like(pattern) == as_like


@pytest.mark.parametrize("name", QUANTITIES)
def test_the_views_have_every_quantity_with_its_unit(name: str) -> None:
    quantity = QUANTITIES[name]
    view = VIEWS.partition("VIEW {views}." + ("event" if quantity.of_event else "study") + "_quantity AS")[2]
    (line,) = (line for line in view.partition(";")[0].splitlines() if f"('{name}'" in line)
    assert quantity.column in line
    assert f"'{quantity.unit}')" in line


def test_a_level_selects_by_everything_or_nothing() -> None:
    plain = row(1, ReferenceLevelSettings(name="a", quantity="dap", value=20, unit="Gy.cm2"))
    assert plain["value"] == pytest.approx(0.002)
    assert {plain[key] for key in ("modality", "protocol", "age_from", "age_to", "weight_from")} == {None}
