"""Which message changed a study's row, one after the other as they were received. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dosestream.events.records import Decision
from dosestream.past.picture import Picture, picture
from dosestream.past.related import Event
from dosestream.reconcile.rules import Rules

# Columns that say when the row is looked at again, not what it says.
UNSHOWN = frozenset({"next_due", "closes_at"})


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a study's history.

    Attributes:
        at: receipt time of what changed the row, or the time that did; microseconds since 1970 UTC.
        cause: the message or decision; None where time alone did it.
        columns: name to the value before and the value after.
        picture: the row afterwards.
    """

    at: int
    cause: Event | None
    columns: Mapping[str, tuple[object, object]]
    picture: Picture | None


def history(
    events: Iterable[Event], study_instance_uid: str, rules: Rules, now: int, since: int = 0
) -> Iterator[Change]:
    """Every change of the study's row up to `now`, those after `since` only.

    Args:
        events: all that decide about it, each once.
        study_instance_uid: which study.
        rules: the site's configuration, as it is now.
        now: the end, microseconds since 1970 UTC.
        since: leave out what happened until then.
    """
    waiting = sorted(events, key=lambda event: (event.received_at, event.event_id))
    heard = [event for event in waiting if event.received_at <= since]
    later = [event for event in waiting if since < event.received_at <= now]
    shown = picture(heard, study_instance_uid, rules, since)
    for event in (*later, None):
        end = now if event is None else event.received_at
        # Nothing changes by time between two moments at which it may.
        while shown is not None and shown.next_due is not None and shown.next_due <= end:
            at = shown.next_due
            before, shown = shown, picture(heard, study_instance_uid, rules, at)
            if changed := difference(before, shown):
                yield Change(at, None, changed, shown)
            if shown is not None and shown.next_due == at:
                break
        if event is not None:
            heard.append(event)
            before_it, shown = shown, picture(heard, study_instance_uid, rules, end)
            if changed := difference(before_it, shown):
                yield Change(end, event, changed, shown)


def difference(before: Picture | None, after: Picture | None) -> dict[str, tuple[object, object]]:
    """Columns that differ, with both values; `orders` stands for the links."""
    old = {} if before is None else {**before.row, "orders": list(before.orders) or None}
    new = {} if after is None else {**after.row, "orders": list(after.orders) or None}
    names = (name for name in {**old, **new} if name not in UNSHOWN)
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def told_by(cause: Event | None) -> str:
    """What a change is laid to, in words: no value of a patient's."""
    if cause is None:
        return "time"
    if isinstance(cause, Decision):
        return f"decision {cause.kind}{' withdrawn' if cause.withdrawn else ''} by {cause.by}"
    return f"{cause.message_type} {cause.control_id} from {cause.source}"
