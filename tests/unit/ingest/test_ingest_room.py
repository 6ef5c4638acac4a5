"""Room for what is under way: who may read on, and who is told when there is room again."""

from dataclasses import dataclass, field

from dosestream.settings import MIB, KafkaSettings, MllpSettings, Settings
from services.ingest.room import LARGE_FRAME, Room


@dataclass
class Load:
    """What is between receipt and answer."""

    under_way: int = 0
    bytes_under_way: int = 0


@dataclass(eq=False)
class Sender:
    """A connection that notes when it is told to look again."""

    told: list[str] = field(default_factory=list)

    def pace(self) -> None:
        self.told.append("room")


SETTINGS = Settings(
    kafka=KafkaSettings(max_message_bytes=MIB), mllp=MllpSettings(in_flight=8, in_flight_mib=2)
)


def test_a_sender_waits_while_as_many_messages_are_under_way_as_allowed() -> None:
    load, sender = Load(under_way=7), Sender()
    room = Room(SETTINGS, load)
    assert room.has(sender)
    load.under_way = 8
    assert not room.has(sender)


def test_a_sender_waits_while_as_many_bytes_are_under_way_as_allowed() -> None:
    load = Load(under_way=1, bytes_under_way=2 * MIB)
    assert not Room(SETTINGS, load).has(Sender())


def test_who_waits_is_told_once_when_a_quarter_is_free() -> None:
    load, sender = Load(under_way=8), Sender()
    room = Room(SETTINGS, load)
    room.has(sender)
    load.under_way = 7
    room.made()
    assert sender.told == []
    load.under_way = 6
    room.made()
    room.made()
    assert sender.told == ["room"]


def test_small_frames_grow_without_asking() -> None:
    room = Room(SETTINGS, Load())
    assert all(room.may_grow(Sender(), LARGE_FRAME) for _ in range(100))


def test_only_as_many_large_frames_grow_at_a_time_as_their_bytes_have_room() -> None:
    room, senders = Room(SETTINGS, Load()), [Sender(), Sender(), Sender()]
    assert [room.may_grow(sender, LARGE_FRAME + 1) for sender in senders] == [True, True, False]
    assert room.may_grow(senders[0], 2 * LARGE_FRAME)


def test_the_next_large_frame_grows_when_one_is_complete() -> None:
    room, (first, second, third) = Room(SETTINGS, Load()), (Sender(), Sender(), Sender())
    for sender in (first, second, third):
        room.may_grow(sender, LARGE_FRAME + 1)
    room.may_grow(first, 0)
    room.made()
    assert third.told == ["room"]
    assert room.may_grow(third, LARGE_FRAME + 1)


def test_a_connection_that_ends_leaves_its_place_and_is_told_nothing() -> None:
    room, (first, second, third) = Room(SETTINGS, Load()), (Sender(), Sender(), Sender())
    for sender in (first, second, third):
        room.may_grow(sender, LARGE_FRAME + 1)
    room.leave(third)
    room.leave(first)
    assert third.told == first.told == []
    assert room.may_grow(Sender(), LARGE_FRAME + 1)
