"""The quantities that reference levels and thresholds are of: their unit, and where a study or an event has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity.

    Attributes:
        unit: of its column.
        column: of dose.study, or of dose.irradiation_event where `of_event`.
        of_event: whether each irradiation event has one, else the study.
    """

    unit: str
    column: str
    of_event: bool = False


QUANTITIES: Final[Mapping[str, Quantity]] = {
    "ct_dlp": Quantity("mGy.cm", "ct_dlp_total_mgycm"),
    "dap": Quantity("Gy.m2", "dap_total_gym2"),
    "dose_rp": Quantity("Gy", "dose_rp_total_gy"),
    "fluoro_time": Quantity("s", "fluoro_time_s"),
    "agd_left": Quantity("mGy", "agd_left_mgy"),
    "agd_right": Quantity("mGy", "agd_right_mgy"),
    "administered_activity": Quantity("MBq", "administered_activity_mbq"),
    "effective_dose": Quantity("mSv", "effective_dose_msv"),
    "event_ctdivol": Quantity("mGy", "ctdivol_mgy", of_event=True),
    "event_dlp": Quantity("mGy.cm", "dlp_mgycm", of_event=True),
    "event_ssde": Quantity("mGy", "ssde_mgy", of_event=True),
    "event_ssde_computed": Quantity("mGy", "ssde_computed_mgy", of_event=True),
    "event_dap": Quantity("Gy.m2", "dap_gym2", of_event=True),
    "event_dose_rp": Quantity("Gy", "dose_rp_gy", of_event=True),
    "event_agd": Quantity("mGy", "agd_mgy", of_event=True),
    "event_entrance_dose": Quantity("mGy", "entrance_dose_mgy", of_event=True),
}
