"""First-receipt times."""

import pytest

from dosestream.events.receipt import ReceiptClock


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([100, 200], [100, 200]),
        ([100, 100, 100], [100, 101, 102]),
        ([100, 50, 60], [100, 101, 102]),
        ([100, 99, 200], [100, 101, 200]),
    ],
    ids=["as it goes", "a clock that stands", "a clock set back", "and caught up"],
)
def test_receipt_times_never_repeat(readings: list[int], expected: list[int]) -> None:
    given_times = iter(readings)
    clock = ReceiptClock(lambda: next(given_times))
    assert [clock.next("his") for _ in readings] == expected


def test_no_two_workers_say_the_same_time() -> None:
    clocks = [ReceiptClock(lambda: 100, worker, 3) for worker in range(3)]
    times = [clock.next("his") for _ in range(50) for clock in clocks]
    assert len(set(times)) == len(times)
    for number in range(3):
        mine = times[number::3]
        assert mine == sorted(mine)
        assert mine[0] - 100 < 3
