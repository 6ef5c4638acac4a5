"""The character set of an answer: the one of the query where it can say the text, else UTF-8 (PS3.3 C.12.1.1.2)."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from pydicom.charset import python_encoding

UTF_8: Final = "ISO_IR 192"
# Control characters of code extensions and of DICOM's own delimiters, whichever set they come from.
PLAIN: Final = "ISO_IR 6"


def answer_charset(asked: Sequence[str], texts: Iterable[str]) -> list[str]:
    """The defined terms for an answer's (0008,0005), none where plain ASCII says it all and nothing was asked.

    Args:
        asked: the query's terms, an empty first one being ASCII with code extensions.
        texts: every text of the answer.
    """
    foreign = {char for text in texts if not text.isascii() for char in text if not char.isascii()}
    if not foreign:
        return list(asked) if all(term in python_encoding for term in asked) else []
    if asked and all(_says(tuple(asked), char) for char in foreign):
        return list(asked)
    return [UTF_8]


@lru_cache(maxsize=65_536)
def _says(terms: tuple[str, ...], char: str) -> bool:
    """Whether one of the terms has the character."""
    for term in terms:
        codec = python_encoding.get(term or PLAIN)
        # Latin-1 stands for plain ASCII there, but ASCII has none of these.
        if codec is None or term in ("", PLAIN, "ISO 2022 IR 6"):
            continue
        try:
            char.encode(codec)
        except (UnicodeError, LookupError):
            continue
        return True
    return False
