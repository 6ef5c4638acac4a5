"""Whether two systems can mean the same person: names written differently, birth dates."""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=4096)
def normal_form(name: str) -> tuple[str, str]:
    """Family and given name of a DICOM PN: without accents, case, punctuation; ideographic groups left out."""
    parts = name.split("=")[0].split("^")
    return _letters(parts[0]), _letters(parts[1]) if len(parts) > 1 else ""


def _letters(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if char.isalnum())


def same_name(one: str, other: str) -> bool:
    """Whether two names may be one person's: family equal, given equal or one an abbreviation of the other."""
    (family, given), (family_2, given_2) = normal_form(one), normal_form(other)
    return family == family_2 and (given.startswith(given_2) or given_2.startswith(given))


def contradict(field: str, value: str, known: Iterable[str]) -> bool:
    """Whether a value agrees with none of those known; where either side says nothing, nothing contradicts."""
    known = list(known)
    if not known or value in ("", '""'):
        return False
    if field == "name":
        return not any(same_name(value, other) for other in known)
    return value not in known
