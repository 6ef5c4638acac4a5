"""One place of a rule: an expression for each field that is read there."""

import re

from dosestream.hl7.expression import Expression, parse

# The place that stands for what IHE says: whatever the field has without the rule.
DEFAULT = "default"

# A column of a place with several: blanks within quotes, brackets and parentheses part nothing.
_COLUMN = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\((?:"(?:[^"\\]|\\.)*"|[^)"])*\)|\[[^\]]*\]|[^\s"(\[])+')


def columns(place: str, count: int) -> list[Expression]:
    """The expressions of one place: `count` of them, apart by blanks.

    Raises:
        PathError: one is none.
        ValueError: there are more or fewer.
    """
    if count == 1:
        return [parse(place)]
    found = _COLUMN.findall(place)
    if len(found) != count:
        raise ValueError(f"has {len(found)} paths for {count} fields")
    return [parse(one) for one in found]
