"""Refused connections in few words."""

from services.ingest.admission import AGAIN_S, MOST_REMEMBERED, OTHERS, Refusals, Refused, Why


def test_an_address_is_told_at_once_and_then_in_counts() -> None:
    refusals = Refusals()
    refusals.add("192.0.2.1", Why.ADDRESS)
    assert refusals.due(0.0) == [Refused("192.0.2.1", Why.ADDRESS, 1, "")]
    for _ in range(500):
        refusals.add("192.0.2.1", Why.ADDRESS)
    assert refusals.due(1.0) == []
    assert refusals.due(AGAIN_S) == [Refused("192.0.2.1", Why.ADDRESS, 500, "")]
    assert refusals.due(3 * AGAIN_S) == []


def test_another_reason_is_told_by_itself_with_its_last_words() -> None:
    refusals = Refusals()
    for reason in ("took too long", "no shared cipher"):
        refusals.add("192.0.2.1", Why.TLS, reason)
    refusals.add("192.0.2.1", Why.FULL)
    assert refusals.due(0.0) == [
        Refused("192.0.2.1", Why.TLS, 2, "no shared cipher"),
        Refused("192.0.2.1", Why.FULL, 1, ""),
    ]


def test_at_the_end_everything_is_told() -> None:
    refusals = Refusals()
    refusals.add("192.0.2.1", Why.ADDRESS)
    refusals.due(0.0)
    refusals.add("192.0.2.1", Why.ADDRESS)
    assert refusals.due(1.0, all_of_them=True) == [Refused("192.0.2.1", Why.ADDRESS, 1, "")]


def test_more_addresses_than_are_told_apart_count_together() -> None:
    refusals = Refusals()
    for number in range(MOST_REMEMBERED + 50):
        refusals.add(f"host-{number}", Why.ADDRESS)
    found = refusals.due(0.0)
    assert sum(one.attempts for one in found) == MOST_REMEMBERED + 50
    assert {one.host: one.attempts for one in found}[OTHERS] == 50
