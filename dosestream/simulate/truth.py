"""The true answer: what the dose database must say once everything played has been heard.

One line per study, order, patient record and report, under the column names of the views `dose.study`,
`dose.imaging_order`, `dose.patient` and `dose.report`. It is read from the simulated hospital (who was scanned for which
order), never concluded from messages. A column the scenario leaves undefined is absent; None is NULL.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

from dosestream.simulate.dose_reports import KINDS
from dosestream.simulate.hospital import Hospital
from dosestream.simulate.records import Chart, Order, Scan
from dosestream.simulate.timeline import HOUR

Value = str | int | float | None
# Column name to value; the key "kind" is `study`, `order`, `patient` or `report`.
Line = dict[str, Value]

TOTALS = (
    "ct_dlp_total_mgycm",
    "dap_total_gym2",
    "dose_rp_total_gy",
    "fluoro_time_s",
    "agd_left_mgy",
    "agd_right_mgy",
)
# The default window and grace: until both are over an open study waits and an open order is expected.
OPEN_FOR = 48 * HOUR


@dataclass(frozen=True, slots=True)
class Clock:
    """When the answer is asked for, microseconds since 1970 UTC.

    Attributes:
        horizon: up to when it is to hold: what turns with the clock before that (waiting, expected) is undefined.
        now: exactly when it is asked; None where only the horizon is known.
    """

    horizon: int
    now: int | None = None

    def choose(self, about: int, still: str, then: str) -> str | None:
        """What is the case of something that stands open until window and grace after `about` are over."""
        closes = about + OPEN_FOR
        if self.now is not None:
            return still if self.now <= closes else then
        return still if closes > self.horizon else None


def truth(hospital: Hospital, clock: Clock) -> tuple[Line, ...]:
    """All lines."""
    performed = {
        id(order): scan for scan in hospital.scans for order in scan.orders if scan.link_state == "linked"
    }
    lines = [_study(scan, hospital, clock) for scan in hospital.scans]
    lines += [_order(order, performed.get(id(order)), clock) for order in hospital.orders if order.told]
    lines += [_patient(chart) for chart in hospital.charts if chart.told]
    lines += [_report(order, performed.get(id(order))) for order in hospital.orders if order.findings]
    return tuple(lines)


def to_jsonl(lines: Iterable[Line]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def from_jsonl(text: str) -> tuple[Line, ...]:
    """The lines of `truth.jsonl`."""
    return tuple(json.loads(line) for line in text.splitlines() if line.strip())


def _or_none(order: Order, attribute: str) -> str | None:
    return getattr(order, attribute) if attribute in order.told else None


def _demographics(chart: Chart | None) -> Line:
    if chart is None:
        return {"patient_id": None, "patient_name": None, "patient_birth_date": None, "patient_sex": None}
    return {
        "patient_id": chart.identifier,
        "patient_name": chart.name or None,
        "patient_birth_date": chart.birth_date.isoformat() if chart.birth_date else None,
        "patient_sex": chart.sex or None,
    }


def _study(scan: Scan, hospital: Hospital, clock: Clock) -> Line:
    line: Line = {"kind": "study", "study_instance_uid": scan.study_uid}
    chart = scan.chart
    if chart is None and scan.orders:
        chart = scan.orders[0].chart
    if chart is not None and (hospital.default_authority or scan.link_state == "linked"):
        line["patient_authority"] = chart.authority
    line |= _demographics(chart.survivor() if chart else None)
    state: str | None = scan.link_state
    if state == "waiting":
        state = clock.choose(scan.study_at, "waiting", "unmatched")
    if state is not None:
        line["link_state"] = state
    if scan.link_state == "linked":
        order = scan.orders[0]
        line |= {
            "accession_number": _or_none(order, "accession") or scan.accession or None,
            "placer_order_number": _or_none(order, "placer"),
            "filler_order_number": _or_none(order, "filler"),
            "procedure_code": order.procedure.code,
            "procedure_meaning": order.procedure.meaning,
            "order_status": order.status,
            "link_method": scan.link_method,
        }
    else:
        line |= {"accession_number": scan.accession or None, "order_status": None, "link_method": None}
        if scan.request is None:
            code = scan.procedure_code if scan.link_state == "waiting" else ""
            line |= {"placer_order_number": None, "filler_order_number": None, "procedure_code": code or None}
    return line | _dose(scan)


def _dose(scan: Scan) -> Line:
    if not scan.dose:
        return dict.fromkeys(TOTALS)
    kind = KINDS[scan.room.kind]
    exposures = [exposure for report in scan.counted for exposure in report]
    modality = {"ct": "CT", "mammography": "MG"}.get(scan.room.kind)
    if modality is None:
        modality = "RF" if any(exposure.fluoroscopy for exposure in exposures) else "DX"
    sums: dict[str, Decimal] = {}
    for report in scan.counted:
        for column, value in kind.totals(report).items():
            sums[column] = sums.get(column, Decimal(0)) + value
    totals: Line = {column: float(sums[column]) if column in sums else None for column in TOTALS}
    line: Line = {"modality": modality, "event_count": len({e.uid for e in exposures})}
    return line | totals


def _order(order: Order, scan: Scan | None, clock: Clock) -> Line:
    chart = order.chart.survivor()
    line: Line = {
        "kind": "order",
        "placer_order_number": _or_none(order, "placer"),
        "filler_order_number": _or_none(order, "filler"),
        "accession_number": _or_none(order, "accession"),
        "study_instance_uid": scan.study_uid if scan else None,
        "patient_authority": chart.authority,
        "patient_id": chart.identifier,
        "procedure_code": order.procedure.code,
        "procedure_meaning": order.procedure.meaning,
        "modality": _or_none(order, "modality"),
        "status": order.status,
    }
    if scan:
        line["state"] = "performed"
    elif order.status == "CANCELED":
        line["state"] = "cancelled"
    elif order.status != "DISCONTINUED" and (
        state := clock.choose(order.scheduled_at, "expected", "overdue")
    ):
        line["state"] = state
    return line


def _patient(chart: Chart) -> Line:
    line: Line = {"kind": "patient", "patient_authority": chart.authority, "patient_id": chart.identifier}
    if chart.merged_into is not None:
        return line | {
            "merged_into_authority": chart.survivor().authority,
            "merged_into_id": chart.survivor().identifier,
        }
    demographics = _demographics(chart)
    return line | {"merged_into_authority": None, "merged_into_id": None} | demographics


def _report(order: Order, scan: Scan | None) -> Line:
    """The report of an order: the newest one signed. `text_sha256` is of its text in UTF-8, lines joined by LF."""
    newest = max(order.findings, key=lambda finding: finding.at)
    signed = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=newest.at)
    return {
        "kind": "report",
        "study_instance_uid": scan.study_uid if scan else None,
        "accession_number": _or_none(order, "accession"),
        "status": newest.status,
        "text_sha256": sha256("\n".join(newest.lines).encode()).hexdigest(),
        "reported_at": signed.isoformat(),
    }
