"""A control id that names two messages is noticed, one that is heard again is not."""

from services.ingest.control_ids import ControlIds


def test_another_message_under_the_same_control_id_is_noticed() -> None:
    heard = ControlIds()
    assert [heard.reused("RIS", "1", digest) for digest in (b"a", b"a", b"b", b"b")] == [
        *(False, False, True, False)
    ]


def test_two_sources_may_number_alike() -> None:
    heard = ControlIds()
    assert not heard.reused("RIS", "1", b"a")
    assert not heard.reused("HIS", "1", b"b")


def test_the_oldest_are_forgotten_the_newest_are_not() -> None:
    heard = ControlIds(capacity=10)
    for number in range(35):
        heard.reused("RIS", str(number), b"a")
    assert heard.reused("RIS", "34", b"b")
    assert heard.reused("RIS", "25", b"b")
    assert not heard.reused("RIS", "0", b"b")
