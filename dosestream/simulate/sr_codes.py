"""Coded concepts of dose reports (DICOM PS3.16), in the two dialects scanners speak.

`SRT` is what scanners wrote before DICOM retired SNOMED-RT codes, `SCT` what they write since.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Code(NamedTuple):
    """Code Value, Coding Scheme Designator, Code Meaning."""

    value: str
    scheme: str
    meaning: str


# One concept in both dialects: SRT value, SCT value, meaning.
SNOMED: Mapping[str, tuple[str, str, str]] = {
    "computed tomography": ("P5-08000", "77477000", "Computed Tomography X-Ray"),
    "mammography": ("P5-40010", "71651007", "Mammography"),
    "fluoroscopy": ("P5-06000", "44491008", "Fluoroscopy"),
    "spiral": ("P5-08001", "116152004", "Spiral Acquisition"),
    "head": ("T-D1100", "69536005", "Head"),
    "chest": ("T-D3000", "51185008", "Chest"),
    "abdomen": ("T-D4000", "113345001", "Abdomen"),
    "heart": ("T-32000", "80891009", "Heart"),
    "breast": ("T-04000", "76752008", "Breast"),
    "left breast": ("T-04030", "80248007", "Left breast"),
    "right breast": ("T-04020", "73056007", "Right breast"),
    "left": ("G-A101", "7771000", "Left"),
    "right": ("G-A100", "24028007", "Right"),
    "laterality": ("G-C171", "272741003", "Laterality"),
    "has intent": ("G-C0E8", "363703001", "Has Intent"),
    "diagnostic intent": ("R-408C3", "261004008", "Diagnostic Intent"),
    "cranio-caudal": ("R-10242", "399162004", "cranio-caudal"),
    "medio-lateral oblique": ("R-10226", "399368009", "medio-lateral oblique"),
    "yes": ("R-0038D", "373066001", "Yes"),
}


def snomed(name: str, dialect: str) -> Code:
    """A SNOMED concept in the dialect `SRT` or `SCT`."""
    srt, sct, meaning = SNOMED[name]
    return Code(srt if dialect == "SRT" else sct, dialect, meaning)


def dcm(value: str) -> Code:
    """A concept of the DICOM Controlled Terminology (PS3.16 annex D)."""
    return Code(value, "DCM", DCM[value])


DCM: Mapping[str, str] = {
    "110180": "Study Instance UID",
    "111031": "Image View",
    "111526": "DateTime Started",
    "111631": "Average Glandular Dose",
    "111633": "Compression Thickness",
    "111634": "Half Value Layer",
    "111636": "Entrance Exposure at RP",
    "111637": "Accumulated Average Glandular Dose",
    "112011": "Positioner Primary Angle",
    "112012": "Positioner Secondary Angle",
    "113014": "Study",
    "113611": "Stationary Acquisition",
    "113620": "Plane A",
    "113621": "Plane B",
    "113622": "Single Plane",
    "113631": "Pulsed",
    "113691": "IEC Body Dosimetry Phantom",
    "113690": "IEC Head Dosimetry Phantom",
    "113701": "X-Ray Radiation Dose Report",
    "113702": "Accumulated X-Ray Dose Data",
    "113704": "Projection X-Ray",
    "113705": "Scope of Accumulation",
    "113706": "Irradiation Event X-Ray Data",
    "113721": "Irradiation Event Type",
    "113722": "Dose Area Product Total",
    "113725": "Dose (RP) Total",
    "113726": "Fluoro Dose Area Product Total",
    "113727": "Acquisition Dose Area Product Total",
    "113728": "Fluoro Dose (RP) Total",
    "113729": "Acquisition Dose (RP) Total",
    "113730": "Total Fluoro Time",
    "113731": "Total Number of Radiographic Frames",
    "113732": "Fluoro Mode",
    "113733": "KVP",
    "113734": "X-Ray Tube Current",
    "113736": "Exposure",
    "113738": "Dose (RP)",
    "113742": "Irradiation Duration",
    "113748": "Distance Source to Isocenter",
    "113750": "Distance Source to Detector",
    "113764": "Acquisition Plane",
    "113768": "Number of Pulses",
    "113769": "Irradiation Event UID",
    "113780": "Reference Point Definition",
    "113791": "Pulse Rate",
    "113793": "Pulse Width",
    "113804": "Sequenced Acquisition",
    "113805": "Constant Angle Acquisition",
    "113806": "Stationary Acquisition",
    "113809": "Start of X-Ray Irradiation",
    "113810": "End of X-Ray Irradiation",
    "113811": "CT Accumulated Dose Data",
    "113812": "Total Number of Irradiation Events",
    "113813": "CT Dose Length Product Total",
    "113819": "CT Acquisition",
    "113820": "CT Acquisition Type",
    "113822": "CT Acquisition Parameters",
    "113823": "Number of X-Ray Sources",
    "113824": "Exposure Time",
    "113825": "Scanning Length",
    "113826": "Nominal Single Collimation Width",
    "113827": "Nominal Total Collimation Width",
    "113828": "Pitch Factor",
    "113829": "CT Dose",
    "113830": "Mean CTDIvol",
    "113831": "CT X-Ray Source Parameters",
    "113832": "Identification of the X-Ray Source",
    "113833": "Maximum X-Ray Tube Current",
    "113834": "Exposure Time per Rotation",
    "113835": "CTDIw Phantom Type",
    "113838": "DLP",
    "113854": "Source of Dose Information",
    "113855": "Total Acquisition Time",
    "113856": "Automated Data Collection",
    "113859": "Irradiating Device",
    "113860": "15cm from Isocenter toward Source",
    "113865": "Entrance exposure to a 4.2 cm breast thickness",
    "113876": "Device Role in Procedure",
    "113943": "X-Ray Source Data Available",
    "113944": "X-Ray Mechanical Data Available",
    "113945": "X-Ray Detector Data Available",
    "121005": "Observer Type",
    "121007": "Device",
    "121012": "Device Observer UID",
    "121013": "Device Observer Name",
    "121014": "Device Observer Manufacturer",
    "121015": "Device Observer Model Name",
    "121016": "Device Observer Serial Number",
    "121058": "Procedure reported",
    "122130": "Dose Area Product",
    "123014": "Target Region",
    "125203": "Acquisition Protocol",
}
