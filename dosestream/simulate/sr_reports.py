"""Every kind of instance that tells a dose, as a table: what is exposed, what is written, what must be read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from dosestream.simulate import (
    sr_ct,
    sr_mammography,
    sr_patient_dose,
    sr_projection,
    sr_radiopharmaceutical,
    sr_text,
)
from dosestream.simulate.dose_reports import Request
from dosestream.simulate.sr_codes import Code, dcm
from dosestream.simulate.sr_document import Head, Plan
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_plan import Item, code, modifier, text, uid
from dosestream.simulate.timeline import MINUTE

XRAY_DOSE: Final = "1.2.840.10008.5.1.4.1.1.88.67"
RADIOPHARMACEUTICAL_DOSE: Final = "1.2.840.10008.5.1.4.1.1.88.68"
PATIENT_DOSE: Final = "1.2.840.10008.5.1.4.1.1.88.73"
ENHANCED_SR: Final = "1.2.840.10008.5.1.4.1.1.88.22"

Exposures = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of report.

    Attributes:
        tid: the root template (PS3.16).
        title: concept name of the root.
        procedure: the row that names the procedure, None where the template has none.
        said: what must be read that no item carries.
        scope: the report says what it accumulates over (113705).
        observer: the report names the scanner as its observer (TID 1002).
    """

    tid: str
    sop_class: str
    title: str
    expose: Callable[[Draw], Exposures]
    procedure: Callable[[], Item | None]
    content: Callable[[Exposures], tuple[Item, ...]]
    said: Mapping[str, Any]
    kind: str = "dose_report"
    scope: bool = True
    observer: bool = True
    modality: str = "SR"


XRAY: Final = {"fluoroscopy": False, "mammography": False}
FLUORO: Final = {"fluoroscopy": True, "mammography": False}


def _ct(**how: Any) -> Template:
    return Template(
        "10011", XRAY_DOSE, "113701", partial(sr_ct.expose, **how), sr_ct.procedure, sr_ct.content, XRAY
    )


def _projection(expose: Callable[[Draw], Exposures], equipment: str, said: Mapping[str, Any]) -> Template:
    content = partial(sr_projection.content, equipment=equipment)
    return Template("10001", XRAY_DOSE, "113701", expose, sr_projection.procedure, content, said)


TEMPLATES: Final[Mapping[str, Template]] = {
    "ct": _ct(),
    "ct of head and chest": _ct(regions=("head", "chest")),
    "ct with two tubes": _ct(tubes=2),
    "ct with dose check": _ct(checked=True),
    "ct in an enhanced sr": Template(
        "10011", ENHANCED_SR, "113701", sr_ct.expose, sr_ct.procedure, sr_ct.content, XRAY
    ),
    "fluoroscopy": _projection(sr_projection.expose, sr_projection.FLUOROSCOPY_GUIDED, FLUORO),
    "biplane angiography": _projection(
        partial(sr_projection.expose, planes=("A", "B")), sr_projection.FLUOROSCOPY_GUIDED, FLUORO
    ),
    "angiography with pulse groups": _projection(
        partial(sr_projection.expose, groups=3), sr_projection.FLUOROSCOPY_GUIDED, FLUORO
    ),
    "digital radiography": _projection(sr_projection.radiographs, sr_projection.INTEGRATED, XRAY),
    "computed radiography": _projection(sr_projection.radiographs, sr_projection.CASSETTE, XRAY),
    "mammography": Template(
        "10001", XRAY_DOSE, "113701", sr_mammography.expose, sr_mammography.procedure, sr_mammography.content,
        {"fluoroscopy": False, "mammography": True},
    ),
    "radiopharmaceutical": Template(
        "10021", RADIOPHARMACEUTICAL_DOSE, "113500", sr_radiopharmaceutical.expose,
        sr_radiopharmaceutical.procedure, sr_radiopharmaceutical.content, {**XRAY, "positron": True},
        scope=False, observer=False,
    ),
    "patient dose": Template(
        "10030", PATIENT_DOSE, "128401", sr_patient_dose.expose, sr_patient_dose.procedure,
        sr_patient_dose.content, XRAY, scope=False,
    ),
    "report without dose": Template(
        "2000", ENHANCED_SR, "121060", sr_text.expose, sr_text.procedure, sr_text.content, {},
        kind="structured_report", scope=False,
    ),
}  # fmt: skip
# What mandatory rows of observer context (TID 1002, 1004) say of the scanner.
OBSERVER: Final = (
    code("121005", "121007").under("HAS OBS CONTEXT"),
    uid("121012", "2.25.75541").under("HAS OBS CONTEXT"),
    text("121013", "ROOM1").under("HAS OBS CONTEXT"),
    text("121014", "SIMULATED").under("HAS OBS CONTEXT"),
    text("121015", "Model 1").under("HAS OBS CONTEXT"),
    text("121016", "S1").under("HAS OBS CONTEXT"),
)
LANGUAGE: Final = modifier("121049", Code("en", "RFC5646", "English"))


def draw(seed: str, at: int) -> Draw:
    """Chance for one report."""
    return Draw(Random(seed), at)


def plan(name: str, chance: Draw) -> Plan:
    """A report of this kind, without faults."""
    template = TEMPLATES[name]
    head = head_of(name, chance)
    return of(name, head, template.expose(chance))


def head_of(name: str, chance: Draw) -> Head:
    """The header of a new report of a new study."""
    template = TEMPLATES[name]
    accession = f"A{chance.rng.randrange(10**8):08d}"
    return Head(
        kind=template.kind,
        sop_class=template.sop_class,
        sop_uid=chance.uid(),
        study_uid=chance.uid(),
        series_uid=chance.uid(),
        modality=template.modality,
        study_at=chance.at,
        content_at=chance.at + 20 * MINUTE,
        patient_id=f"P{chance.rng.randrange(10**6):06d}",
        accession=accession,
        request=Request(accession=accession, placer=f"H{accession}", filler=f"F{accession}"),
        title=dcm(template.title),
        template=template.tid,
    )


def of(name: str, head: Head, exposures: Exposures) -> Plan:
    """A report of these exposures."""
    template = TEMPLATES[name]
    root = [template.procedure()] if template.tid != "10030" else [LANGUAGE]
    scope = code("113705", "113014", uid("110180", head.study_uid).under("HAS PROPERTIES"))
    content = (
        *filter(None, root),
        *(OBSERVER if template.observer else ()),
        *((scope.under("HAS OBS CONTEXT"),) if template.scope else ()),
        *template.content(exposures),
    )
    dose = template.kind == "dose_report"
    said = {"template": template.tid, "source": "rdsr", **template.said} if dose else {}
    issues = ("sr_without_dose",) if template.kind == "structured_report" else ()
    return Plan(name, head, content, said, issues=issues)
