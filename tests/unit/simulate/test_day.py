"""The script of a day: the same every time, shaped as a real feed, and true to itself."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from simulated_day import BASE, day_one

from dosestream.simulate.day import Day, answers, plan, scenario
from dosestream.simulate.scenarios import SCENARIOS
from dosestream.simulate.timeline import DICOM, HL7, Step, backwards, doubled, in_order, shuffled
from dosestream.simulate.truth import from_jsonl, to_jsonl


@pytest.fixture
def base() -> date:
    return BASE


@pytest.fixture
def day() -> Day:
    return day_one()


@pytest.mark.slow
def test_the_same_seed_and_date_make_the_same_bytes(day: Day, base: date) -> None:
    assert plan(1, base) == day


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "later", "site"),
    [(2, 0, 1), (1, 1, 1), (1, 0, 2)],
    ids=["another seed", "another date", "another site"],
)
def test_another_seed_date_or_site_shares_no_identifier(
    day: Day, base: date, seed: int, later: int, site: int
) -> None:
    def identifiers(of: Day) -> set[object]:
        names = ("study_instance_uid", "accession_number", "filler_order_number", "patient_id")
        lines = {line[name] for line in of.truth() for name in names if line.get(name)}
        return lines | {step.name for step in of.timeline}

    other = plan(seed, base + timedelta(days=later), site, sites=site)
    assert not identifiers(other) & identifiers(day)


def test_a_day_is_a_few_hundred_messages_and_some_thirty_studies(day: Day) -> None:
    channels = Counter(step.channel for step in day.timeline)
    assert 400 <= channels[HL7] <= 550
    assert 25 <= len({line["study_instance_uid"] for line in day.truth() if line["kind"] == "study"}) <= 35
    assert channels[DICOM] > 25


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_four_messages_in_five_are_adt(base: date, seed: int) -> None:
    kinds = [step.kind for step in plan(seed, base).timeline if step.channel == HL7]
    share = sum(kind.startswith("ADT") for kind in kinds) / len(kinds)
    assert 0.78 <= share <= 0.82


def test_every_message_type_of_the_scripted_day_is_there(day: Day) -> None:
    kinds = {step.kind for step in day.timeline}
    triggers = ("A01", "A02", "A03", "A04", "A05", "A08", "A28", "A31", "A40", "A47")
    wanted = {f"ADT^{trigger}" for trigger in triggers}
    wanted |= {"ORM^O01", "OMG^O19", "OMI^O23", "ORU^R01", "dose report", "image"}
    wanted |= {"SIU^S12", "SIU^S13", "SIU^S26"}
    assert wanted <= kinds


def test_nothing_lies_in_the_future_of_the_base_date(day: Day, base: date) -> None:
    midnight = int(datetime(base.year, base.month, base.day, tzinfo=UTC).timestamp()) * 1_000_000
    assert max(step.happened_at for step in day.timeline) < midnight


def test_control_ids_are_unique_but_for_messages_sent_twice_byte_for_byte(day: Day) -> None:
    bodies: dict[str, set[bytes]] = {}
    for step in day.timeline:
        bodies.setdefault(step.name, set()).add(step.body)
    assert all(len(same) == 1 for same in bodies.values())
    assert len(bodies) < len(day.timeline), "a day has doubled messages"
    assert max(len(step.name) for step in day.timeline if step.channel == HL7) <= 20


def test_accession_numbers_fit_sh(day: Day) -> None:
    accessions = [str(line["accession_number"]) for line in day.truth() if line.get("accession_number")]
    assert accessions
    assert max(map(len, accessions)) <= 16


def test_messages_are_sent_late_and_out_of_order(day: Day) -> None:
    by_sender: dict[str, list[Step]] = {}
    for step in day.timeline:
        by_sender.setdefault(step.sender, []).append(step)
    overtaken = [
        (before, after)
        for steps in by_sender.values()
        for before, after in pairwise(steps)
        if before.happened_at > after.happened_at
    ]
    assert overtaken
    assert max(step.sent_at - step.happened_at for step in day.timeline) > 2 * 3_600_000_000


def test_a_held_message_keeps_the_time_it_happened(day: Day) -> None:
    held = [
        s
        for s in day.timeline
        if s.channel == HL7 and s.sender == "HIS" and s.sent_at - s.happened_at > 3_600_000_000
    ]
    assert held
    for step in held:
        written = step.body.split(b"|")[6].decode()
        happened = datetime.fromtimestamp(step.happened_at / 1_000_000, UTC)
        assert written == happened.strftime("%Y%m%d%H%M%S")


def test_every_link_state_of_the_scripted_day_is_there(day: Day) -> None:
    studies = [line for line in day.truth() if line["kind"] == "study"]
    states = Counter(line["link_state"] for line in studies)
    assert states.keys() == {"linked", "waiting", "conflict"}
    methods = {line["link_method"] for line in studies if line["link_state"] == "linked"}
    assert methods == {"study_uid", "accession", "order_number", "accession_only"}
    orders = Counter(line["state"] for line in day.truth() if line["kind"] == "order")
    assert orders.keys() == {"performed", "expected", "cancelled"}


def test_some_messages_are_refused_by_a_correct_receiver(day: Day) -> None:
    counts = answers(day)
    assert counts["AE"] == counts["AR"] == 1
    assert counts["AA"] > counts["CA"] > 0


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("room", ["CT1", "XA2"])
def test_a_story_says_of_every_performed_order_which_study_it_is(base: date, name: str, room: str) -> None:
    story = scenario(name, 3, base, room)
    lines = story.truth()
    assert lines
    studies = {str(line["study_instance_uid"]): line for line in lines if line["kind"] == "study"}
    for order in (line for line in lines if line["kind"] == "order"):
        if order.get("state") == "performed":
            study = studies[str(order["study_instance_uid"])]
            assert study["link_state"] == "linked"
            assert study["patient_id"] == order["patient_id"]
        else:
            assert order["study_instance_uid"] is None
    sent = {step.name for step in story.timeline if step.channel == DICOM}
    assert len(sent) >= len(studies)


def test_what_turns_with_the_clock_is_left_undefined_for_days_long_past(base: date) -> None:
    old = plan(1, base, until=base + timedelta(days=5)).truth()
    assert {line["link_state"] for line in old if "link_state" in line} == {"linked", "conflict"}
    assert {line["state"] for line in old if "state" in line} == {"performed", "cancelled"}


def test_the_truth_survives_its_file(day: Day) -> None:
    assert from_jsonl(to_jsonl(day.truth())) == day.truth()


@pytest.mark.parametrize(
    ("disturb", "copies"),
    [
        (lambda steps: shuffled(steps, 5), 1),
        (backwards, 1),
        (lambda steps: doubled(steps, 5), 2),
        (lambda steps: shuffled(doubled(steps, 5), 6), 2),
    ],
    ids=["shuffled", "backwards", "doubled", "shuffled and doubled"],
)
def test_a_disturbed_timeline_holds_the_same_steps(
    day: Day, disturb: Callable[[Sequence[Step]], Sequence[Step]], copies: int
) -> None:
    disturbed = disturb(day.timeline)
    assert disturbed != day.timeline
    assert Counter(disturbed) == Counter({step: n * copies for step, n in Counter(day.timeline).items()})


def test_doubling_a_share_sends_that_share_twice(day: Day) -> None:
    some = doubled(day.timeline, 5, share=0.1)
    assert 1.02 < len(some) / len(day.timeline) < 1.2


def test_a_timeline_is_in_the_order_of_sending(day: Day) -> None:
    assert in_order(shuffled(day.timeline, 9)) == day.timeline
