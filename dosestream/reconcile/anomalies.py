"""What a person should look at, found in the facts: one row per kind and subject. No value of a patient's."""

from collections.abc import Iterable, Iterator, Mapping

from dosestream.events.records import Study
from dosestream.reconcile.duplicates import first_seen_at, number_of
from dosestream.reconcile.facts import OrderFact, StudyFact
from dosestream.reconcile.links import Outcome
from dosestream.reconcile.orders import ImagingOrder
from dosestream.reconcile.rows import AnomalyRow
from dosestream.reconcile.studies import ArrivedStudy
from dosestream.reconcile.transitions import forbidden

SECOND_US = 1_000_000


def of_orders(orders: Iterable[ImagingOrder], repeated: Mapping[str, ImagingOrder]) -> Iterator[AnomalyRow]:
    """Forbidden transitions and orders placed twice (`repeated`: key of the later to the earlier)."""
    for order in orders:
        made_badly = list(forbidden(order.words, order.moving, order.rules.transitions))
        if not made_badly and order.key not in repeated:
            continue
        rows = {
            "accession_number": order.value("accession_number"),
            "placer_order_number": order.value("placer_order_number"),
            "filler_order_number": order.value("filler_order_number"),
        }
        for made in made_badly:
            yield AnomalyRow(
                kind="forbidden_transition",
                subject=number_of(order),
                detail={"from": made.before, "to": made.after, "message": made.control_id, **rows},
                first_seen_at=made.seen_at,
            )
        if (earlier := repeated.get(order.key)) is not None:
            yield AnomalyRow(
                kind="duplicate_order",
                subject=number_of(order),
                detail={"duplicate_of": number_of(earlier), **rows},
                first_seen_at=first_seen_at((order, earlier)),
            )


def clock_ahead(facts: Iterable[OrderFact | StudyFact], tolerance_us: int) -> Iterator[AnomalyRow]:
    """Messages and instances whose time lies past their receipt and the tolerance: the sender's clock is wrong."""
    seen: dict[tuple[str, str], AnomalyRow] = {}
    for fact in facts:
        event = fact.event
        latest = event.received_at + tolerance_us
        said = event.event_time, event.message_time, event.study_at if isinstance(event, Study) else None
        if not any(at is not None and at > latest for at in said):
            continue
        times = {event.event_time_path or "event time": event.event_time, "MSH-7": event.message_time}
        if isinstance(fact, StudyFact):
            times["(0008,0020)"] = fact.event.study_at
        ahead = {path: at - event.received_at for path, at in times.items() if at is not None and at > latest}
        row = AnomalyRow(
            kind="clock_ahead",
            subject=event.control_id,
            detail={
                "source": event.source,
                "seconds_ahead": {path: us // SECOND_US for path, us in sorted(ahead.items())},
            },
            first_seen_at=event.received_at,
        )
        key = (event.source, event.control_id)
        if key not in seen or _order(row) < _order(seen[key]):
            seen[key] = row
    yield from (seen[key] for key in sorted(seen))


def _order(row: AnomalyRow) -> tuple[int, str]:
    return row.first_seen_at, repr(row.detail)


def of_study(study: ArrivedStudy, outcome: Outcome) -> Iterator[AnomalyRow]:
    """A link in doubt, and what its instances' readers noted."""
    uid = study.study_instance_uid
    if outcome.state in ("conflict", "ambiguous"):
        seen = [f.event.received_at for f in study.facts]
        seen += [f.event.received_at for one in outcome.candidates for f in one.order.facts[:1]]
        yield AnomalyRow(
            kind=f"link_{outcome.state}",
            subject=uid,
            detail={"reason": outcome.reason},
            first_seen_at=max(study.first_received_at, *seen),
        )
    for fact in study.facts:
        for issue in fact.event.issues:
            kind, _, detail = issue.partition(":")
            yield AnomalyRow(
                kind=kind,
                subject=fact.event.sop_instance_uid,
                detail={"study_instance_uid": uid, "detail": detail.strip()},
                first_seen_at=fact.event.received_at,
            )


def shared_instances(studies: Iterable[ArrivedStudy]) -> Iterator[AnomalyRow]:
    """One SOP Instance UID under two studies is two reports, and worth a look."""
    studies = list(studies)
    if len(studies) < 2:
        return
    homes: dict[str, list[tuple[str, int]]] = {}
    for study in studies:
        for fact in study.facts:
            homes.setdefault(fact.event.sop_instance_uid, []).append(
                (study.study_instance_uid, fact.event.received_at)
            )
    for sop, places in sorted(homes.items()):
        if len(places) > 1:
            yield AnomalyRow(
                kind="sop_instance_under_two_studies",
                subject=sop,
                detail={"studies": sorted(uid for uid, _ in places)},
                first_seen_at=max(at for _, at in places),
            )
