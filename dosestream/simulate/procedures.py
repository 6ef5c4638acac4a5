"""What the simulated hospital can be asked for: its exam catalogue and its rooms."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Procedure:
    """One exam of the catalogue.

    Attributes:
        code, meaning: as OBR-4 names it.
        region: what is irradiated, a key of `sr_codes.SNOMED`.
        protocols: acquisition protocols as the scanner names them.
    """

    code: str
    meaning: str
    region: str
    protocols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """A room: its scanner, and how that scanner writes dose reports.

    Attributes:
        modality: what orders call it (OBR-24).
        kind: which reports come out of it, a key of `dose_reports.KINDS`.
        dialect: `SRT` (older scanners) or `SCT`: the scheme of anatomy and finding codes.
        dap_unit, dose_rp_unit: UCUM text written for these two quantities.
        issuer: writes Issuer of Patient ID.
        zone: writes Timezone Offset From UTC.
        implicit: writes Implicit VR Little Endian.
    """

    name: str
    ae_title: str
    modality: str
    kind: str
    manufacturer: str
    model: str
    serial: str
    dialect: str = "SCT"
    dap_unit: str = "Gy.m2"
    dose_rp_unit: str = "Gy"
    issuer: bool = False
    zone: bool = False
    implicit: bool = False
    latin1: bool = False


ROOMS: tuple[Room, ...] = (
    Room("CT 1", "CT1", "CT", "ct", "SIEMENS", "SOMATOM Force", "75541", zone=True),
    Room("CT 2", "CT2", "CT", "ct", "GE MEDICAL SYSTEMS", "Revolution CT", "GE0421", dialect="SRT"),
    Room(
        "Fluoroscopy",
        "XA1",
        "RF",
        "projection",
        "Siemens",
        "AXIOM-Artis",
        "146278",
        dialect="SRT",
        dap_unit="Gym2",
        latin1=True,
    ),
    Room(
        "Cath lab",
        "XA2",
        "XA",
        "projection",
        "Philips",
        "Azurion 7 B20/15",
        "7722",
        dap_unit="dGy.cm2",
        dose_rp_unit="mGy",
        issuer=True,
    ),
    Room(
        "Mammography", "MG1", "MG", "mammography", "HOLOGIC, Inc.", "Selenia Dimensions", "H81", implicit=True
    ),
)

CATALOGUE: Mapping[str, tuple[Procedure, ...]] = {
    "ct": (
        Procedure("CTHEAD", "CT head without contrast", "head", ("Topogram", "HeadSpi")),
        Procedure("CTCHEST", "CT chest", "chest", ("Topogram", "Thorax")),
        Procedure("CTABDPEL", "CT abdomen & pelvis", "abdomen", ("Topogram", "PreMon", "AbdPelv")),
        Procedure("CTCAP", "CT chest/abdomen/pelvis", "abdomen", ("Topogram", "Thorax", "AbdPelv")),
    ),
    "projection": (
        Procedure("RFSWALL", "Barium swallow", "chest", ("FL low", "Swallow 4 f/s")),
        Procedure("RFENEMA", "Colon contrast enema", "abdomen", ("FL low", "Single")),
        Procedure("XACOR", "Coronary angiography", "heart", ("FL cardiac", "Coro 15 f/s", "LV 30 f/s")),
    ),
    "mammography": (
        Procedure("MGSCREEN", "Mammography, screening, both sides", "breast", ("Standard",)),
        Procedure("MGDIAG", "Mammography, diagnostic, both sides", "breast", ("Standard",)),
    ),
}
