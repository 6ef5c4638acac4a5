"""How old, tall and heavy a patient was at the exam, where no header says so."""

from datetime import UTC, date, datetime, timedelta
from math import isfinite

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def age_years(birth_date: str | None, study_at: int | None, study_local: str | None) -> float | None:
    """Completed years and the part of the current one, so that a birthday is a whole number.

    Args:
        birth_date: ISO 8601.
        study_at: microseconds since 1970 UTC, None where the study has no time.
        study_local: the same as it was written where it was made, ISO 8601; empty or None where that is not known.
    """
    if not birth_date or study_at is None:
        return None
    try:
        born = date.fromisoformat(birth_date)
        made = (
            datetime.fromisoformat(study_local).date()
            if study_local
            else (EPOCH + timedelta(microseconds=study_at)).date()
        )
    except (ValueError, OverflowError):
        return None
    # The calendar knows no birthday after its last year.
    if made < born or made.year == date.max.year:
        return None
    years = made.year - born.year
    if _birthday(born, made.year) > made:
        years -= 1
    last, following = _birthday(born, born.year + years), _birthday(born, born.year + years + 1)
    return years + (made - last).days / (following - last).days


def _birthday(born: date, year: int) -> date:
    """Who was born on 29 February has it on 1 March in other years."""
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 3, 1)


def measured(text: str | None) -> float | None:
    """A height in m or a weight in kg as an order event has it; None for what is none."""
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if isfinite(value) and value > 0 else None
