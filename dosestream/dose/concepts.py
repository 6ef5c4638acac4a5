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
    "G-C2D0": sct("363589002"),  # Associated Procedure
    "P5-0A006": sct("241439007"),  # PET heart study
    "P5-0A00A": sct("241443006"),  # PET study for localization of tumor
    "P5-0A00D": sct("416323006"),  # PET breast study
    "R-FB9B7": sct("702767007"),  # PET study for localization of tumor, before
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
    "C-B02C9": sct("349358000"),
    "F-61FDB": sct("349358000"),
    "G-C32C": sct("408730004"),  # Procedure Context
    "G-C036": sct("370129005"),  # Measurement Method
    "R-0038D": sct("373066001"),  # Yes
    "R-00339": sct("373067005"),  # No
    "G-C340": sct("410675002"),  # Route of administration
    "G-C0E3": sct("363698007"),  # Finding site
    "G-C581": sct("272737002"),  # Site of
    "R-42806": sct("304283002"),  # Half-life of radiopharmaceutical
}

# The report.
X_RAY_DOSE_REPORT: Final = dcm("113701")
RADIOPHARMACEUTICAL_DOSE_REPORT: Final = dcm("113500")
PATIENT_DOSE_REPORT: Final = dcm("128401")
PROCEDURE_REPORTED: Final = dcm("121058")
# TID 10021.
ASSOCIATED_PROCEDURE: Final = sct("363589002")
MAMMOGRAPHY: Final = sct("71651007")
# Of CID 3108, and positron emission tomography in general.
PET_STUDIES: Final = frozenset(
    map(sct, ("241439007", "764666002", "241443006", "416323006", "702767007", "82918005"))
)
FLUOROSCOPY: Final = sct("44491008")
STARTED: Final = frozenset((dcm("113809"), dcm("123003")))
ENDED: Final = frozenset((dcm("113810"), dcm("123004")))

# Container to the template family it belongs to: root template identifier and what it is.
ACCUMULATED, EVENT, ADMINISTRATION, ESTIMATE = "accumulated", "event", "administration", "estimate"
CONTAINERS: Final[dict[Code, tuple[str, str]]] = {
    dcm("113811"): ("10011", ACCUMULATED),
    dcm("113819"): ("10011", EVENT),
    dcm("113702"): ("10001", ACCUMULATED),
    dcm("113706"): ("10001", EVENT),
    dcm("113502"): ("10021", ADMINISTRATION),
    dcm("128402"): ("10030", ESTIMATE),
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
    dcm("113814"): Total("effective_dose", "total", "mSv"),
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
    # XRaySource.measured only where they differ.
    "tube_current_max_ma": Number("mA", (dcm("113833"),)),
    "rotation_time_ms": Number("ms", (dcm("113834"),)),
    "focal_spot_mm": Number("mm", (dcm("113766"),)),
    "filter_aluminium_mm": Number("mm", (dcm("113821"),)),
}
# Those of them that have no field of their own: they stand in `measured`.
SOURCE_MEASURED: Final = ("tube_current_max_ma", "rotation_time_ms", "focal_spot_mm", "filter_aluminium_mm")
# Column to what it is read from: IrradiationEvent.measured.
MEASURED: Final[dict[str, Number]] = {
    # TID 10013, 10014.
    "reconstructable_length_mm": Number("mm", (dcm("113893"),)),
    "exposed_range_mm": Number("mm", (dcm("113899"),)),
    "reconstructable_top_mm": Number("mm", (dcm("113895"),)),
    "reconstructable_bottom_mm": Number("mm", (dcm("113896"),)),
    "scan_top_mm": Number("mm", (dcm("113897"),)),
    "scan_bottom_mm": Number("mm", (dcm("113898"),)),
    "single_collimation_mm": Number("mm", (dcm("113826"),)),
    "total_collimation_mm": Number("mm", (dcm("113827"),)),
    "xray_source_count": Number("1", (dcm("113823"),)),
    "ctdi_free_air_mgy": Number("mGy", (dcm("113837"),)),
    "effective_dose_msv": Number("mSv", (dcm("113839"),)),
    "water_equivalent_diameter_mm": Number("mm", (dcm("113980"),)),
    "water_equivalent_diameter_z_mm": Number("mm", (dcm("113986"),)),
    "lateral_dimension_mm": Number("mm", (dcm("113931"),)),
    "ap_dimension_mm": Number("mm", (dcm("113932"),)),
    "effective_diameter_mm": Number("mm", (dcm("113933"),)),
    # TID 10003.
    "entrance_exposure_mgy": Number("mGy", (dcm("111636"),)),
    "patient_equivalent_thickness_mm": Number("mm", (dcm("111638"),)),
    # TID 10003A.
    "target_exposure_index": Number("1", (dcm("113846"),)),
    # TID 10003B.
    "irradiation_duration_s": Number("s", (dcm("113742"),)),
    "collimated_area_m2": Number("m2", (dcm("113790"),)),
    "collimated_height_mm": Number("mm", (dcm("113788"),)),
    "collimated_width_mm": Number("mm", (dcm("113789"),)),
    # TID 10003C.
    "source_reference_point_mm": Number("mm", (dcm("113737"),)),
    "source_isocenter_mm": Number("mm", (dcm("113748"),)),
    "source_table_mm": Number("mm", (dcm("113792"),)),
    "primary_end_angle_deg": Number("deg", (dcm("113739"),)),
    "secondary_end_angle_deg": Number("deg", (dcm("113740"),)),
    "column_angulation_deg": Number("deg", (dcm("113770"),)),
    "table_longitudinal_mm": Number("mm", (dcm("113751"),)),
    "table_lateral_mm": Number("mm", (dcm("113752"),)),
    "table_height_mm": Number("mm", (dcm("113753"),)),
    "table_longitudinal_end_mm": Number("mm", (dcm("113759"),)),
    "table_lateral_end_mm": Number("mm", (dcm("113760"),)),
    "table_height_end_mm": Number("mm", (dcm("113761"),)),
    "table_head_tilt_deg": Number("deg", (dcm("113754"),)),
    "table_horizontal_rotation_deg": Number("deg", (dcm("113755"),)),
    "table_cradle_tilt_deg": Number("deg", (dcm("113756"),)),
    "compression_force_n": Number("N", (dcm("111647"),)),
    "compression_pressure_kpa": Number("kPa", (dcm("111648"),)),
    "compression_contact_area_mm2": Number("mm2", (dcm("111649"),)),
    # Enhanced X-ray dose (TID 10042 and below).
    "table_head_tilt_end_deg": Number("deg", (dcm("128763"),)),
    "table_horizontal_rotation_end_deg": Number("deg", (dcm("128764"),)),
    "table_cradle_tilt_end_deg": Number("deg", (dcm("128765"),)),
    "table_x_mm": Number("mm", (dcm("128766"),)),
    "table_y_mm": Number("mm", (dcm("128767"),)),
    "table_z_mm": Number("mm", (dcm("128768"),)),
    "table_x_end_mm": Number("mm", (dcm("128769"),)),
    "table_y_end_mm": Number("mm", (dcm("128770"),)),
    "table_z_end_mm": Number("mm", (dcm("128771"),)),
    "isocenter_primary_angle_deg": Number("deg", (dcm("128757"),)),
    "isocenter_secondary_angle_deg": Number("deg", (dcm("128758"),)),
    "isocenter_rotation_deg": Number("deg", (dcm("128759"),)),
    "isocenter_primary_end_angle_deg": Number("deg", (dcm("128760"),)),
    "isocenter_secondary_end_angle_deg": Number("deg", (dcm("128761"),)),
    "isocenter_rotation_end_deg": Number("deg", (dcm("128762"),)),
}
UNITS_OF: Final[dict[Code, str]] = {
    code: number.unit
    for table in (NUMBERS, SOURCE_NUMBERS, MEASURED)
    for number in table.values()
    for code in number.codes
}
MEASURED_FIELDS: Final[dict[Code, str]] = {
    code: column for column, number in MEASURED.items() for code in number.codes
}
# A code to the column whose value as stored is kept; of a code with two columns the one that always has it.
STORED_FIELDS: Final[dict[Code, str]] = {
    code: column
    for table in (MEASURED, NUMBERS, SOURCE_NUMBERS)
    for column, number in table.items()
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
# Further ones: IrradiationEvent.described; several are joined by "; ".
DESCRIBED: Final[dict[Code, str]] = {
    dcm("113732"): "fluoro_mode",
    dcm("111635"): "grid",
    dcm("111032"): "view_modifier",
    dcm("113842"): "modulation",
    dcm("113772"): "filter_types",
    dcm("113780"): "reference_point",
    dcm("113605"): "event_label",
    dcm("113606"): "event_label_type",
    dcm("113946"): "eponymous_name",
    dcm("113743"): "patient_orientation",
    dcm("113744"): "patient_orientation_modifier",
    dcm("113745"): "patient_table_relationship",
    dcm("113947"): "detector_type",
    dcm("113956"): "mechanical_configuration",
    dcm("113854"): "dose_information_source",
    dcm("121106"): "comment",
    sct("408730004"): "procedure_context",
    dcm("113961"): "reconstruction",
    dcm("128551"): "repeated",
    dcm("128552"): "repeat_reason",
}
# How a number was found: the Measurement Method under it.
MEASUREMENT_METHOD: Final = sct("370129005")
METHODS: Final[dict[Code, str]] = {
    dcm("113930"): "ssde_method",
    dcm("113980"): "water_equivalent_diameter_method",
    dcm("113839"): "effective_dose_method",
}

# TID 10015: container to its kind, and per kind what of DoseCheck is read from what.
DOSE_CHECKS: Final[dict[Code, str]] = {dcm("113900"): "alert", dcm("113908"): "notification"}
CHECK_CONFIGURED: Final[dict[Code, str]] = {
    dcm("113901"): "dlp_configured",
    dcm("113902"): "ctdivol_configured",
    dcm("113909"): "dlp_configured",
    dcm("113910"): "ctdivol_configured",
}
CHECK_NUMBERS: Final[dict[Code, tuple[str, str]]] = {
    dcm("113903"): ("dlp_value_mgycm", "mGy.cm"),
    dcm("113904"): ("ctdivol_value_mgy", "mGy"),
    dcm("113905"): ("dlp_estimate_mgycm", "mGy.cm"),
    dcm("113906"): ("ctdivol_estimate_mgy", "mGy"),
    dcm("113911"): ("dlp_value_mgycm", "mGy.cm"),
    dcm("113912"): ("ctdivol_value_mgy", "mGy"),
    dcm("113913"): ("dlp_estimate_mgycm", "mGy.cm"),
    dcm("113914"): ("ctdivol_estimate_mgy", "mGy"),
}
CHECK_REASON: Final = dcm("113907")
PERSON_NAME: Final = dcm("113870")
PERSON_ID: Final = dcm("113871")
YES, NO = sct("373066001"), sct("373067005")
ANSWERS: Final[dict[Code, bool]] = {YES: True, NO: False}

EVENT_UID: Final = frozenset((dcm("113769"), dcm("113853")))
EVENT_TYPE: Final = dcm("113721")
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
# TID 10022, 10023.
ADMINISTERED_ACTIVITY: Final = dcm("113507")
EFFECTIVE_DOSE: Final = dcm("113839")
ADMINISTRATION_UID: Final = dcm("113503")
ADMINISTRATION_NUMBERS: Final[dict[Code, tuple[str, str]]] = {
    dcm("113506"): ("extravasation_mbq", "MBq"),
    dcm("113508"): ("pre_administration_mbq", "MBq"),
    dcm("113509"): ("post_administration_mbq", "MBq"),
    dcm("123005"): ("volume_ml", "mL"),
    sct("304283002"): ("half_life_s", "s"),
}
ROUTE: Final = sct("410675002")
SITES: Final = frozenset((sct("272737002"), sct("363698007")))
ORGAN_DOSE_INFORMATION: Final = dcm("113517")
# TID 10022 and 10031: what of an organ, and whether it is an equivalent dose (mSv) or an absorbed one (mGy).
ORGAN_DOSES: Final[dict[Code, tuple[str, bool]]] = {
    dcm("113518"): ("organ_dose", False),
    dcm("128513"): ("absorbed", False),
    dcm("128531"): ("maximum_absorbed", False),
    dcm("128532"): ("minimum_absorbed", False),
    dcm("128533"): ("mean_absorbed", False),
    dcm("128534"): ("mode_absorbed", False),
    dcm("128539"): ("median_absorbed", False),
    dcm("128512"): ("equivalent", True),
    dcm("128535"): ("maximum_equivalent", True),
    dcm("128536"): ("minimum_equivalent", True),
    dcm("128537"): ("mean_equivalent", True),
    dcm("128538"): ("mode_equivalent", True),
    dcm("128540"): ("median_equivalent", True),
}
# Organs are named by Finding site or Organ.
ORGANS: Final = frozenset((sct("363698007"), sct("272737002"), sct("91723000")))
ORGAN_METHODS: Final = frozenset(
    (dcm("121406"), sct("370129005"), dcm("128476"), dcm("128477"), dcm("128415"))
)
ESTIMATE_NAME: Final = dcm("128403")
EVENTS_STATED: Final = dcm("113812")
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
113731 113763 113812 113836 113840 113934 113935 113936 113937 113990 113993
113994 113995 122322 123006 123007 126301 126302
"""
UNUSED_NUMBERS: Final = frozenset(map(dcm, _UNUSED.split()))
