"""The concepts of DICOM dose reports (PS3.16 TID 10001-10015, 10021-10024) as tables: matched by code and scheme.

A code is (value, scheme designator). Retired SNOMED-RT codes are looked up in `RETIRED` first, so the other
tables hold SNOMED CT and DCM only. `docs/dose.md` shows what ends up where.
"""

from dataclasses import dataclass
from typing import Final

Code = tuple[str, str]


def dcm(value: str) -> Code:
    return (value, "DCM")


def sct(value: str) -> Code:
    return (value, "SCT")


# PS3.16 section 8.1: designators that mean SRT.
SNOMED_RT: Final = frozenset(("SRT", "SNM3", "99SDM"))
# SNOMED-RT to SNOMED CT, for what is matched here (PS3.16 annex O).
RETIRED: Final[dict[str, Code]] = {
    "P5-06000": sct("44491008"),  # Fluoroscopy
    "P5-40010": sct("71651007"),  # Mammography
    "G-C171": sct("272741003"),  # Laterality
    "T-D0005": sct("91723000"),  # Anatomical structure
    "T-04020": sct("73056007"),  # Right breast
    "T-04030": sct("80248007"),  # Left breast
    "T-04080": sct("63762007"),  # Both breasts
    "G-A100": sct("24028007"),  # Right
    "G-A101": sct("7771000"),  # Left
    "G-A102": sct("51440002"),  # Bilateral
    "C-10072": sct("89457008"),  # Radionuclide
    "C-B1000": sct("349358000"),  # Radiopharmaceutical agent
    "F-61FDB": sct("349358000"),
}

# The report.
X_RAY_DOSE_REPORT: Final = dcm("113701")
RADIOPHARMACEUTICAL_DOSE_REPORT: Final = dcm("113500")
PROCEDURE_REPORTED: Final = dcm("121058")
MAMMOGRAPHY: Final = sct("71651007")
FLUOROSCOPY: Final = sct("44491008")
STARTED: Final = frozenset((dcm("113809"), dcm("123003")))
ENDED: Final = frozenset((dcm("113810"), dcm("123004")))

# Container to the template family it belongs to: root template identifier and what it is.
ACCUMULATED, EVENT, ADMINISTRATION = "accumulated", "event", "administration"
CONTAINERS: Final[dict[Code, tuple[str, str]]] = {
    dcm("113811"): ("10011", ACCUMULATED),
    dcm("113819"): ("10011", EVENT),
    dcm("113702"): ("10001", ACCUMULATED),
    dcm("113706"): ("10001", EVENT),
    dcm("113502"): ("10021", ADMINISTRATION),
}


@dataclass(frozen=True, slots=True)
class Total:
    """What a stated total is: quantity and mode of `dose.dose_total`, and its unit."""

    quantity: str
    mode: str
    unit: str


DLP_SUB_TOTAL: Final = dcm("130745")
# TID 10012 (CT), 10004 (fluoroscopy), 10005 (mammography), 10006 and 10007 (projection), 10022 (administration).
TOTALS: Final[dict[Code, Total]] = {
    dcm("113813"): Total("ct_dlp", "total", "mGy.cm"),
    DLP_SUB_TOTAL: Total("ct_dlp", "total", "mGy.cm"),  # of one phantom
    dcm("113722"): Total("dap", "total", "Gy.m2"),
    dcm("113726"): Total("dap", "fluoro", "Gy.m2"),
    dcm("113727"): Total("dap", "acquisition", "Gy.m2"),
    dcm("113725"): Total("dose_rp", "total", "Gy"),
    dcm("113728"): Total("dose_rp", "fluoro", "Gy"),
    dcm("113729"): Total("dose_rp", "acquisition", "Gy"),
    dcm("113730"): Total("fluoro_time", "total", "s"),
    dcm("113855"): Total("acquisition_time", "total", "s"),
    dcm("111637"): Total("agd", "total", "mGy"),
    dcm("113507"): Total("administered_activity", "total", "MBq"),
    dcm("113839"): Total("effective_dose", "total", "mSv"),
}


@dataclass(frozen=True, slots=True)
class Number:
    """A number of an irradiation event: its unit, and the concepts it is read from, the first valued one wins."""

    unit: str
    codes: tuple[Code, ...]


# Field of IrradiationEvent to where it is read. TID 10013, 10014 (CT), 10003, 10003A, B and C (projection).
NUMBERS: Final[dict[str, Number]] = {
    "ctdivol_mgy": Number("mGy", (dcm("113830"),)),
    "dlp_mgycm": Number("mGy.cm", (dcm("113838"),)),
    "ssde_mgy": Number("mGy", (dcm("113930"),)),
    "pitch": Number("1", (dcm("113828"),)),
    "scan_length_mm": Number("mm", (dcm("113825"),)),
    "dap_gym2": Number("Gy.m2", (dcm("122130"),)),
    "dose_rp_gy": Number("Gy", (dcm("113738"),)),
    "frames": Number("1", (dcm("113768"),)),
    "pulse_rate": Number("/s", (dcm("113791"),)),
    "source_detector_mm": Number("mm", (dcm("113750"),)),
    "source_patient_mm": Number("mm", (dcm("113737"), dcm("113748"))),
    "primary_angle_deg": Number("deg", (dcm("112011"),)),
    "secondary_angle_deg": Number("deg", (dcm("112012"),)),
    "agd_mgy": Number("mGy", (dcm("111631"),)),
    "compressed_thickness_mm": Number("mm", (dcm("111633"),)),
    "hvl_mm": Number("mm", (dcm("111634"),)),
    "exposure_index": Number("1", (dcm("113845"),)),
    "deviation_index": Number("1", (dcm("113847"),)),
}
# Fields of IrradiationEvent and of XRaySource: stated once per tube or pulse group.
SOURCE_NUMBERS: Final[dict[str, Number]] = {
    "kvp": Number("kV", (dcm("113733"),)),
    "tube_current_ma": Number("mA", (dcm("113734"), dcm("113767"))),
    "exposure_uas": Number("uA.s", (dcm("113736"),)),
    "exposure_time_ms": Number("ms", (dcm("113735"), dcm("113824"))),
    # XRaySource only.
    "pulse_width_ms": Number("ms", (dcm("113793"),)),
}
UNITS_OF: Final[dict[Code, str]] = {
    code: number.unit
    for table in (NUMBERS, SOURCE_NUMBERS)
    for number in table.values()
    for code in number.codes
}

# Coded and text items of an event: field to concepts, the first valued one wins.
WORDS: Final[dict[str, tuple[Code, ...]]] = {
    "acquisition_type": (dcm("113820"), dcm("113721")),
    "protocol": (dcm("125203"),),
    "target_region": (dcm("123014"), sct("91723000")),
    "view": (dcm("111031"),),
    "target": (dcm("111632"),),
}
WORD_FIELDS: Final[dict[Code, str]] = {code: field for field, codes in WORDS.items() for code in codes}

EVENT_UID: Final = frozenset((dcm("113769"), dcm("113853")))
EVENT_STARTED: Final = dcm("111526")
PLANE: Final = dcm("113764")
LATERALITY: Final = sct("272741003")
PHANTOM: Final = dcm("113835")
X_RAY_SOURCE: Final = dcm("113831")
X_RAY_SOURCE_ID: Final = dcm("113832")
X_RAY_FILTERS: Final = dcm("113771")
FILTER_MATERIAL: Final = dcm("113757")
FILTER_MINIMUM: Final = dcm("113758")
FILTER_MAXIMUM: Final = dcm("113773")
RADIONUCLIDE: Final = sct("89457008")
RADIOPHARMACEUTICAL: Final = frozenset((sct("349358000"), dcm("123001")))

ALL_PLANES: Final = dcm("113890")
PLANES: Final[dict[Code, str]] = {
    dcm("113622"): "single",
    dcm("113620"): "A",
    dcm("113621"): "B",
    ALL_PLANES: "all",
}
PHANTOMS: Final[dict[Code, str]] = {dcm("113690"): "HEAD", dcm("113691"): "BODY"}
SIDES: Final[dict[Code, str]] = {
    sct("24028007"): "R",
    sct("73056007"): "R",
    sct("7771000"): "L",
    sct("80248007"): "L",
    sct("51440002"): "B",
    sct("63762007"): "B",
}

# Numbers of these templates that nothing here uses. A DCM number in no table is listed as unread: most often
# a code that is off by a digit.
_UNUSED = """
111636 111638 111647 111648 111649 112011 113506 113508 113509 113518 113731 113739 113740 113742 113751
113752 113753 113754 113755 113756 113759 113760 113761 113763 113766 113770 113788 113789 113790 113792
113812 113814 113839 113821 113823 113826 113827 113833 113834 113836 113837 113840 113846 113893 113895 113896
113897 113898 113901 113902 113903 113904 113905 113906 113909 113910 113911 113912 113913 113914 113931
113932 113933 113934 113935 113936 113937 113980 113986 113990 113993 113994 113995 122322 123005 123006
123007 126301 126302
"""
UNUSED_NUMBERS: Final = frozenset(map(dcm, _UNUSED.split()))
