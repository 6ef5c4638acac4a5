"""How person names are compared (PS3.4 C.2.2.2.1: the case of a name may be ignored, and here it is)."""

import unicodedata


def folded(name: str) -> str:
    """A name or a pattern without case, composed (NFC), without trailing carets and blanks."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip().rstrip("^ ")


def name_keys(name: str | None) -> list[str]:
    """What a name is found by: the whole of it, and each of its groups (alphabetic, ideographic, phonetic)."""
    if not name:
        return []
    groups = [folded(group) for group in name.split("=")]
    return list(dict.fromkeys(key for key in ("=".join(groups).rstrip("="), *groups) if key))
