"""Dose reports by the thousand: the content of a report is encoded once for exposures of one shape, and cast again
with other UIDs and times. The header is written anew each time.

The content sequence (0040,A730) is the last element of a dose report, so its bytes can be set behind any header.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from dosestream.simulate import dose_reports
from dosestream.simulate.dose_reports import KINDS, Exposures, Header
from dosestream.simulate.procedures import Procedure, Room
from dosestream.simulate.sr_content import stamp
from dosestream.simulate.timeline import SECOND

# Placeholders, as long as what they stand for: no UUID is as large, and no scanner as old.
DAY_ZERO = -2208988800 * SECOND
STUDY = "2.25.998" + "0" * 36
EVENT = "2.25.999{:036d}"
PLACE = re.compile(rb"2\.25\.99[89]\d{36}|19000101\d{6}")
# So many different exposures a room and procedure are made.
RECIPES = 2


class Moulds:
    """Writes reports, and makes the exposures they are of. `rng` chooses the recipes' dose."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._recipes: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        self._contents: dict[tuple[Room, tuple[Any, ...]], bytes] = {}

    def expose(
        self, rng: Random, room: Room, procedure: Procedure, start: int, new_uid: Callable[[], str]
    ) -> tuple[Any, ...]:
        """One of the recipes for this procedure in this room, begun at `start`."""
        recipes = self._recipes.setdefault((room.ae_title, procedure.code), [])
        if len(recipes) < RECIPES:
            made = KINDS[room.kind].expose(self._rng, room, procedure, 0, lambda: "")
            recipes.append(tuple(made[:3]))
        recipe = recipes[rng.randrange(len(recipes))]
        return tuple(replace(e, uid=new_uid(), started_at=start + e.started_at) for e in recipe)

    def report(self, header: Header, exposures: Exposures) -> bytes:
        """As `dose_reports.report`."""
        start = min(e.started_at for e in exposures)
        shape = tuple(
            replace(e, uid=EVENT.format(number), started_at=DAY_ZERO + e.started_at - start)
            for number, e in enumerate(exposures)
        )
        key = replace(header.room, issuer=False), shape
        if (content := self._contents.get(key)) is None:
            content = self._contents[key] = _content(header, shape)
        uids = [e.uid for e in exposures]

        def cast(place: re.Match[bytes]) -> bytes:
            text = place[0].decode()
            if text.startswith("19"):
                hours, minutes, seconds = int(text[8:10]), int(text[10:12]), int(text[12:14])
                after = (hours * 3600 + minutes * 60 + seconds) * SECOND
                return stamp(start + after).strftime("%Y%m%d%H%M%S").encode()
            return (header.study_uid if text == STUDY else uids[int(text[8:])]).encode()

        return dose_reports.report(header) + PLACE.sub(cast, content)


def _content(header: Header, shape: Exposures) -> bytes:
    """The encoded content sequence of these exposures, placeholders in place of UIDs and times."""
    header = replace(header, study_uid=STUDY)
    whole, head = dose_reports.report(header, shape), dose_reports.report(header)
    assert whole.startswith(head)
    return whole[len(head) :]
