"""Units by the rules of UCUM, and as vendors spell them."""

from decimal import Decimal

import pytest

from dosestream.dose import concepts
from dosestream.dose.units import UnitError, convert, factor_of

WORTH = [
    ("Gy.m2", "Gy.m2", "1"),
    ("Gym2", "Gy.m2", "1"),
    ("Gy*m2", "Gy.m2", "1"),
    ("uGy.m2", "Gy.m2", "1e-6"),
    ("µGy·m²", "Gy.m2", "1e-6"),
    ("nGy.m2", "Gy.m2", "1e-9"),
    ("dGy.cm2", "Gy.m2", "1e-5"),
    ("dGycm2", "Gy.m2", "1e-5"),
    ("cGy.cm^2", "Gy.m2", "1e-6"),
    ("kGy.mm2", "Gy.m2", "1e-3"),
    ("mGycm", "mGy.cm", "1"),
    ("mGy cm", "mGy.cm", "1"),
    ("Gy.m", "mGy.cm", "1e5"),
    ("mAs", "uA.s", "1e3"),
    ("uAs", "uA.s", "1"),
    ("mC", "uA.s", "1e3"),
    ("kVp", "kV", "1"),
    ("min", "s", "60"),
    ("ms", "s", "1e-3"),
    ("h", "s", "3600"),
    ("{pulse}/s", "/s", "1"),
    ("{pulses}/s", "/s", "1"),
    ("1/s", "/s", "1"),
    ("s-1", "/s", "1"),
    ("Hz", "/s", "1"),
    ("mCi", "MBq", "37"),
    ("GBq", "MBq", "1e3"),
    ("{deg}", "deg", "1"),
    ("daN", "N", "10"),
    ("cm3", "mL", "1"),
    ("mm2", "m2", "1e-6"),
    ("RAD", "mGy", "10"),
]


@pytest.mark.parametrize(("stored", "wanted", "worth"), WORTH)
def test_a_unit_is_worth(stored: str, wanted: str, worth: str) -> None:
    assert (factor_of(stored, wanted) or Decimal(1)) == Decimal(worth)


OTHER = [
    ("Gy", "mSv"),  # an absorbed dose is no effective one
    ("mGy", "mGy.cm"),
    ("cm2", "mm"),
    ("furlong", "mm"),
    ("", "Gy"),
    ("Gy.m2}", "Gy.m2"),
    ("m" * 500, "mm"),
    ("Gy.m99", "Gy.m2"),
]


@pytest.mark.parametrize(("stored", "wanted"), OTHER)
def test_a_unit_of_another_kind_is_refused(stored: str, wanted: str) -> None:
    with pytest.raises(UnitError):
        convert("1", stored, wanted)


def test_conversion_is_decimal_and_rounded_once() -> None:
    assert convert("0.1", "dGy.cm2", "Gy.m2") == 1e-06
    assert convert("8.664e-005", "Gym2", "Gy.m2") == 8.664e-05
    assert convert("0.3", "mAs", "uA.s") == 300.0


def test_every_unit_of_the_tables_is_one_that_others_convert_to() -> None:
    wanted = {*concepts.UNITS_OF.values(), *(total.unit for total in concepts.TOTALS.values())}
    wanted |= {unit for _, unit in concepts.CHECK_NUMBERS.values()}
    wanted |= {unit for _, unit in concepts.ADMINISTRATION_NUMBERS.values()}
    for unit in wanted - {"1"}:
        assert factor_of(unit + ".1", unit) is None
