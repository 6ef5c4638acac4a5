"""A history: weeks of several hospitals, drawn by chance from a seed, with the faults of real feeds.

People come again and again; rooms have hours and habits; records are merged, renamed and renumbered; messages
are late, doubled, and stamped by clocks that are wrong. Four messages in five are ADT unless told otherwise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from random import Random

from dosestream.simulate import day
from dosestream.simulate.agenda import Acts, Agenda
from dosestream.simulate.habits import Place, places
from dosestream.simulate.hospital import Hospital
from dosestream.simulate.moulds import Moulds
from dosestream.simulate.phase import phase
from dosestream.simulate.records import Chart
from dosestream.simulate.timeline import HL7, HOUR, MINUTE, SECOND, Step, in_order, later
from dosestream.simulate.truth import Clock, Line, truth
from dosestream.simulate.visit_stories import STORIES, change, companion, registration
from dosestream.simulate.visits import DAY, YEAR, Visit, evidence

ADT_SHARE = 0.8
# Shares of the messages that a history disturbs.
LATE, DOUBLED, WRONG_CLOCK = 0.05, 0.02, 0.01
# Nobody comes twice within so many days.
APART_DAYS = 8
# The story of a visit is told for so long after it.
AFTER = 5 * DAY
# So many days after the last visit nothing is late any more, and no window open.
OVER_DAYS = 9


@dataclass(slots=True)
class Site:
    """One hospital of a history."""

    h: Hospital
    places: tuple[Place, ...]
    moulds: Moulds
    agenda: Agenda = field(default_factory=Agenda)
    # Everybody who came, with the time of their last visit.
    regulars: list[tuple[Chart, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class History:
    """What was played.

    Attributes:
        timeline: every step, in the order of sending: the order of receipt, too.
        sites: the hospitals as they are in the end.
        end: a clock tick behind every window, in microseconds since 1970 UTC.
        compressed: made to be played faster than it was lived.
    """

    timeline: tuple[Step, ...]
    sites: tuple[Site, ...]
    end: int
    compressed: bool = False

    def truth(self, now: int | None = None) -> tuple[Line, ...]:
        """The lines of `truth.jsonl` at a clock tick, `end` unless given.

        `phase` is said of every study, for steps are received when they are sent; not where they are compressed.
        """
        now = self.end if now is None else now
        sent: dict[str, int] = {}
        for step in self.timeline:
            sent[step.name] = min(step.sent_at, sent.get(step.name, step.sent_at))
        lines: list[Line] = []
        for site in self.sites:
            phases = {scan.study_uid: phase(scan, site.h.said, sent, now) for scan in site.h.scans}
            for line in truth(site.h, Clock(now, now)):
                uid = line.get("study_instance_uid")
                told = line["kind"] == "study" and not self.compressed
                lines.append(line | {"phase": phases[str(uid)]} if told else line)
        return tuple(lines)


def history(
    seed: int,
    base: date,
    days: int,
    sites: int,
    studies_a_day: float = 30,
    compressed: bool = False,
    adt_share: float = ADT_SHARE,
) -> History:
    """Weeks of one or several hospitals.

    Args:
        seed: the same seed and base make the same bytes.
        base: the day after the last one played.
        days: how many days have visits; orders for them come earlier, corrections and late messages later.
        sites: how many hospitals; with one, its authority is the default one.
        studies_a_day: about so many visits a day each site has.
        compressed: it will be played in one go, long after it happened: then no clock is ahead (what is later than
            its receipt by more than a tolerance cannot be told apart), and the truth leaves the phase undefined.
            Choose a base `OVER_DAYS` days ago, so that all windows are over and nothing lies in the future.
        adt_share: of the HL7 messages, below 1.
    """
    moulds = Moulds(Random(f"{seed}/recipes"))
    played = [
        _site(seed, base, days, number, sites, studies_a_day, moulds, not compressed, adt_share)
        for number in range(1, sites + 1)
    ]
    rng = Random(f"{seed}/{base.isoformat()}/post")
    steps = [step for site in played for step in disturbed(in_order(site.h.steps), rng, site.h.skewed)]
    timeline = in_order(steps)
    last = max((step.sent_at for step in timeline), default=0)
    return History(timeline, tuple(played), max(last, _midnight(base)) + 30 * DAY, compressed)


def disturbed(steps: Sequence[Step], rng: Random, spared: set[str]) -> Iterator[Step]:
    """Steps as the network delivers them: some hours or days late, some twice, byte for byte.

    `spared`: names of those that a wrong clock has disturbed already.
    """
    for step in steps:
        if step.name in spared:
            yield step
            continue
        if rng.random() < LATE:
            step = later(step, rng.choice((20 * MINUTE, 3 * HOUR, 9 * HOUR, 30 * HOUR, 80 * HOUR)))
        yield step
        if rng.random() < DOUBLED:
            yield later(step, rng.choice((5 * SECOND, HOUR, 50 * HOUR)))


def _midnight(of: date) -> int:
    return int(datetime(of.year, of.month, of.day, tzinfo=UTC).timestamp()) * SECOND


def _site(
    seed: int,
    base: date,
    days: int,
    number: int,
    sites: int,
    studies_a_day: float,
    moulds: Moulds,
    clocks_ahead: bool,
    adt_share: float,
) -> Site:
    first = base - timedelta(days=days)
    h = day.hospital(seed, first + timedelta(days=1), number, sites)
    h.write, h.clocks_ahead, h.neighbours = moulds.report, clocks_ahead, sites > 1
    site = Site(h, places(h.rng), moulds)
    for back in range(days):
        for visit in _visits(site, first + timedelta(days=back), studies_a_day):
            _enter(site, visit)
    site.agenda.enter(_desk(site, h.clock(0), h.clock(24 * days), adt_share))
    site.agenda.run(h.clock(24 * days) + AFTER)
    return site


def _visits(site: Site, on: date, studies_a_day: float) -> Iterator[Visit]:
    """The visits of one day, each in a free half hour of a room that is open."""
    h = site.h
    midnight = _midnight(on)
    slots = [
        (place, midnight + half * 30 * MINUTE + h.rng.randrange(20 * 60) * SECOND)
        for place in site.places
        if place.shift.weekends or on.weekday() < 5
        for half in h.rng.sample(
            range(place.shift.begins * 2, place.shift.ends * 2),
            min(
                (place.shift.ends - place.shift.begins) * 2,
                round(studies_a_day * place.shift.weight / 26 * h.rng.uniform(0.7, 1.3)),
            ),
        )
    ]
    for place, at in sorted(slots, key=lambda slot: slot[1]):
        chart = _somebody(site, at)
        yield Visit(h, site.moulds, place, chart, at, evidence(h, place))


def _somebody(site: Site, at: int) -> Chart:
    """A regular who has not been here for a while, or somebody new."""
    h = site.h
    if site.regulars and h.rng.random() < 0.5:
        index = h.rng.randrange(len(site.regulars))
        chart, last = site.regulars[index]
        if at - last > APART_DAYS * DAY:
            site.regulars[index] = chart, at
            return chart
    chart = h.chart()
    if h.neighbours and h.rng.random() < 0.15:
        chart.identifier = h.common("patient")
    if h.rng.random() < 0.6:
        chart.national = h.serial("N")
    site.regulars.append((chart, at))
    return chart


def _enter(site: Site, visit: Visit) -> None:
    """A visit and what comes along with it."""
    h = site.h
    (story,) = h.rng.choices(list(STORIES), list(STORIES.values()))
    site.agenda.enter(registration(visit))
    site.agenda.enter(story(visit))
    if story.__name__ == "clock_of_the_future":
        return
    if h.rng.random() < 0.15:
        site.agenda.enter(change(visit))
    if h.rng.random() < 0.08:
        others = [place for place in site.places if place.room.kind != visit.place.room.kind]
        place = h.rng.choice(others)
        site.agenda.enter(companion(visit, replace(visit, place=place, evidence=evidence(h, place))))


def _desk(site: Site, begins: int, ends: int, adt_share: float) -> Acts:
    """What the registration desk says of everybody else, until this share of the messages is ADT."""
    h = site.h
    seen, adt, others = 0, 0, 0
    for at in range(begins, ends + AFTER, 10 * MINUTE):
        yield at
        kinds = [step.kind for step in h.steps[seen:] if step.channel == HL7]
        seen = len(h.steps)
        said = sum(kind.startswith("ADT") for kind in kinds)
        adt, others = adt + said, others + len(kinds) - said
        for _ in range(round(others * adt_share / (1 - adt_share)) - adt):
            _word(site, at)


def _word(site: Site, at: int) -> None:
    """One ADT message: about a regular, whose record it repeats, or about somebody who has no imaging."""
    h = site.h
    draw = h.rng.random()
    if site.regulars and draw < 0.4:
        chart = h.rng.choice(site.regulars)[0].survivor()
    else:
        chart = h.chart()
    off = 0
    if h.rng.random() < WRONG_CLOCK / ADT_SHARE:
        off = h.rng.choice((-YEAR, -40 * DAY, -2 * HOUR))
    h.tell(chart, at, h.rng.choice(("A08", "A31", "A04", "A08")), off=off)
