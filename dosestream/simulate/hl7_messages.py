"""HL7 v2 messages as the simulated hospital's systems write them (HL7 2.3.1 to 2.5.1, ER7 encoding).

Independent of the reader under test on purpose: segments are put together field by field here and nowhere
else, so that a wrong reading of the standard cannot cancel itself out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

from dosestream.simulate.procedures import Procedure

# Structure names of MSH-9.3, written from version 2.3.1 on.
STRUCTURES: Mapping[str, str] = {
    "ADT^A01": "ADT_A01",
    "ADT^A02": "ADT_A02",
    "ADT^A03": "ADT_A03",
    "ADT^A04": "ADT_A01",
    "ADT^A05": "ADT_A05",
    "ADT^A08": "ADT_A01",
    "ADT^A28": "ADT_A05",
    "ADT^A31": "ADT_A05",
    "ADT^A40": "ADT_A39",
    "ADT^A47": "ADT_A30",
    "ORM^O01": "ORM_O01",
    "OMG^O19": "OMG_O19",
    "OMI^O23": "OMI_O23",
    "ORU^R01": "ORU_R01",
    **{f"SIU^{trigger}": "SIU_S12" for trigger in ("S12", "S13", "S15", "S26")},
}
CODECS: Mapping[str, str] = {"": "utf-8", "UNICODE UTF-8": "utf-8", "8859/1": "latin-1"}
# SCH-25 (table 0278) by trigger event.
APPOINTMENT_STATUS: Mapping[str, str] = {
    "S12": "Booked",
    "S13": "Booked",
    "S15": "Cancelled",
    "S26": "Noshow",
}
ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"})


@dataclass(frozen=True, slots=True)
class Sender:
    """A sending system.

    Attributes:
        name: short word for it, the prefix of its control ids.
        version: MSH-12.
        charset: MSH-18, empty where the system leaves it so (its bytes are UTF-8 then).
        enhanced: asks for an accept acknowledgement (MSH-15 `AL`, MSH-16 `NE`).
        offset_minutes: writes local time with this offset; None writes site time without an offset.
    """

    name: str
    application: str
    facility: str
    version: str = "2.3.1"
    charset: str = ""
    enhanced: bool = False
    offset_minutes: int | None = None

    def time(self, at: int) -> str:
        """`at` (microseconds since 1970 UTC) as this system writes a TS: to the second, its own zone."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
        if self.offset_minutes is None:
            return moment.strftime("%Y%m%d%H%M%S")
        return moment.astimezone(timezone(timedelta(minutes=self.offset_minutes))).strftime("%Y%m%d%H%M%S%z")


@dataclass(frozen=True, slots=True)
class Person:
    """What a PID says. `name` is a DICOM PN: family^given^middle^prefix^suffix. `national`, where it is known, is a
    second repetition of PID-3 under the authority `NAT`."""

    identifier: str
    authority: str
    name: str
    birth_date: date | None
    sex: str
    address: str = ""
    cleared: frozenset[str] = frozenset()
    national: str = ""


@dataclass(frozen=True, slots=True)
class OrderGroup:
    """One ORC/OBR group (and its ZDS or IPC). Empty text is sent as an empty field."""

    control: str
    status: str
    placer: str
    filler: str
    group: str
    accession: str
    requested_procedure_id: str
    step_id: str
    study_uid: str
    procedure: Procedure
    modality: str
    scheduled_at: int | None
    transaction_at: int
    parent: str = ""


def escaped(text: str) -> str:
    """Text as a component: the delimiters as escape sequences (HL7 2.5.1, 2.7.1)."""
    return text.translate(ESCAPES)


def segment(name: str, fields: Mapping[int, str]) -> str:
    """One segment; `fields` maps the field number to its encoded text."""
    last = max(fields, default=0)
    return "|".join([name, *(fields.get(number, "") for number in range(1, last + 1))])


def message(sender: Sender, kind: str, at: int, control_id: str, segments: Sequence[str]) -> bytes:
    """The message's bytes: MSH written here, `segments` after it, CR after each one."""
    typed = f"{kind}^{STRUCTURES[kind]}" if kind in STRUCTURES and sender.version >= "2.4" else kind
    head = ["MSH", "^~\\&", sender.application, sender.facility, "DOSESTREAM", "RADIOLOGY", sender.time(at)]
    head += ["", typed, control_id, "P", sender.version, "", ""]
    head += ["AL", "NE"] if sender.enhanced else ["", ""]
    head += ["", sender.charset]
    body = "".join(f"{line}\r" for line in ["|".join(head).rstrip("|"), *segments])
    return body.encode(CODECS[sender.charset])


def xpn(name: str) -> str:
    """A DICOM PN as XPN: HL7 has the suffix before the prefix."""
    family, given, middle, prefix, suffix = [*name.split("^"), "", "", "", "", ""][:5]
    return "^".join(map(escaped, [family, given, middle, suffix, prefix])).rstrip("^")


def cx(identifier: str, authority: str) -> str:
    """An identifier as CX; the authority may be left to the receiver."""
    return f"{identifier}^^^{authority}^MR" if authority else identifier


def identifiers(person: Person) -> str:
    """PID-3: the hospital's own identifier first."""
    own = cx(person.identifier, person.authority) if person.identifier else ""
    return f"{own}~{person.national}^^^NAT^NI" if person.national else own


def pid(person: Person) -> str:
    """PID. A field named in `cleared` is sent as two double quotes."""
    fields = {
        1: "1",
        3: identifiers(person),
        5: xpn(person.name),
        7: person.birth_date.strftime("%Y%m%d") if person.birth_date else "",
        8: person.sex,
        11: person.address,
    }
    numbers = {"name": 5, "birth_date": 7, "sex": 8}
    return segment("PID", fields | {numbers[name]: '""' for name in person.cleared})


def adt(
    sender: Sender,
    trigger: str,
    at: int,
    control_id: str,
    person: Person,
    location: str = "",
    prior: str = "",
) -> bytes:
    """An ADT message. `prior` is MRG-1, as CX, of A40 and A47."""
    segments = [segment("EVN", {1: trigger, 2: sender.time(at)}), pid(person)]
    if prior:
        segments.append(segment("MRG", {1: prior}))
    else:
        segments.append(segment("PV1", {1: "1", 2: "I" if trigger in ("A01", "A02") else "O", 3: location}))
    return message(sender, f"ADT^{trigger}", at, control_id, segments)


def _orc(sender: Sender, group: OrderGroup, timing: bool) -> str:
    fields = {
        1: group.control,
        2: f"{group.placer}^HIS" if group.placer else "",
        3: f"{group.filler}^RIS" if group.filler else "",
        4: group.group,
        5: group.status,
        9: sender.time(group.transaction_at),
        12: "1042^Weaver^Ellen^^^Dr.",
    }
    if timing and group.scheduled_at is not None:
        fields[7] = f"1^^^{sender.time(group.scheduled_at)}^^R"
    return segment("ORC", fields)


def _obr(group: OrderGroup, number: int, ipc: bool) -> str:
    code = [group.procedure.code, escaped(group.procedure.meaning), "SIM"]
    fields = {
        1: str(number),
        2: f"{group.placer}^HIS" if group.placer else "",
        3: f"{group.filler}^RIS" if group.filler else "",
        4: "^".join(code),
        16: "1042^Weaver^Ellen^^^Dr.",
    }
    if not ipc:
        fields |= {
            18: group.accession,
            19: group.requested_procedure_id,
            20: group.step_id,
            24: group.modality,
        }
    return segment("OBR", fields)


def _zds(group: OrderGroup) -> list[str]:
    return [segment("ZDS", {1: f"{group.study_uid}^^Application^DICOM"})] if group.study_uid else []


def orm(sender: Sender, at: int, control_id: str, person: Person, groups: Sequence[OrderGroup]) -> bytes:
    """ORM^O01 (IHE RAD-2, RAD-3 and, with accession and ZDS, RAD-4 and RAD-13)."""
    segments = [pid(person), segment("PV1", {1: "1", 2: "O", 8: "1042^Weaver^Ellen^^^Dr."})]
    for number, group in enumerate(groups, 1):
        segments += [_orc(sender, group, timing=True), _obr(group, number, ipc=False), *_zds(group)]
    return message(sender, "ORM^O01", at, control_id, segments)


def omg(sender: Sender, at: int, control_id: str, person: Person, groups: Sequence[OrderGroup]) -> bytes:
    """OMG^O19: the schedule stands in TQ1-7, the rest as in ORM."""
    segments = [pid(person), segment("PV1", {1: "1", 2: "O"})]
    for number, group in enumerate(groups, 1):
        segments += [_orc(sender, group, timing=False), *_tq1(sender, group), _obr(group, number, ipc=False)]
        segments += _zds(group)
    return message(sender, "OMG^O19", at, control_id, segments)


def omi(sender: Sender, at: int, control_id: str, person: Person, groups: Sequence[OrderGroup]) -> bytes:
    """OMI^O23: imaging numbers stand in IPC. Groups of one filler number share the ORC/OBR before them."""
    segments = [pid(person), segment("PV1", {1: "1", 2: "O"})]
    before = ""
    for number, group in enumerate(groups, 1):
        if group.filler != before:
            segments += [_orc(sender, group, timing=False), *_tq1(sender, group), _obr(group, number, True)]
            before = group.filler
        fields = {
            1: group.accession,
            2: group.requested_procedure_id,
            3: group.study_uid,
            4: group.step_id,
            5: group.modality,
            6: f"{group.procedure.code}P^{escaped(group.procedure.meaning)}^SIM",
        }
        segments.append(segment("IPC", fields))
    return message(sender, "OMI^O23", at, control_id, segments)


def _tq1(sender: Sender, group: OrderGroup) -> list[str]:
    if group.scheduled_at is None:
        return []
    return [segment("TQ1", {1: "1", 7: sender.time(group.scheduled_at), 9: "R"})]


def oru(
    sender: Sender,
    at: int,
    control_id: str,
    person: Person,
    group: OrderGroup,
    lines: Sequence[str],
    status: str,
) -> bytes:
    """ORU^R01: the radiologist's report of an order, a line of it in each OBX; `status` is OBR-25 and OBX-11."""
    obr = segment(
        "OBR",
        {
            1: "1",
            2: f"{group.placer}^HIS" if group.placer else "",
            3: f"{group.filler}^RIS" if group.filler else "",
            4: f"{group.procedure.code}^{escaped(group.procedure.meaning)}^SIM",
            18: group.accession,
            22: sender.time(at),
            25: status,
            32: "2077&Reed&Martin&&&Dr.",
        },
    )
    found = [
        segment("OBX", {1: str(number), 2: "TX", 3: "GDT^Report", 5: escaped(line), 11: status})
        for number, line in enumerate(lines, 1)
    ]
    return message(sender, "ORU^R01", at, control_id, [pid(person), obr, *found])


def siu(
    sender: Sender,
    trigger: str,
    at: int,
    control_id: str,
    person: Person,
    group: OrderGroup,
    appointment: str,
    room: str,
) -> bytes:
    """SIU: an appointment (SCH-2) for an order (SCH-26, SCH-27) is booked, moved or given up."""
    begins = sender.time(group.scheduled_at) if group.scheduled_at is not None else ""
    sch = {
        2: f"{appointment}^RIS",
        25: APPOINTMENT_STATUS[trigger],
        26: f"{group.placer}^HIS" if group.placer else "",
        27: f"{group.filler}^RIS" if group.filler else "",
    }
    service = f"{group.procedure.code}^{escaped(group.procedure.meaning)}^SIM"
    segments = [
        segment("SCH", sch),
        pid(person),
        segment("RGS", {1: "1"}),
        segment("AIS", {1: "1", 3: service, 4: begins}),
        segment("AIL", {1: "1", 3: room}),
    ]
    return message(sender, f"SIU^{trigger}", at, control_id, segments)
