"""Order status from ORC-1 and ORC-5 (HL7 tables 0119 and 0038), as a table a site may override."""

from collections.abc import Mapping

SCHEDULED, ARRIVED, STARTED = "SCHEDULED", "ARRIVED", "STARTED"
COMPLETED, CANCELED, DISCONTINUED, ON_HOLD = "COMPLETED", "CANCELED", "DISCONTINUED", "ON_HOLD"

# "ORC-1_ORC-5" to status. `*` stands for any ORC-5 that has no row of its own.
STATUS_TABLE: Mapping[str, str] = {
    "NW_": SCHEDULED,
    "NW_SC": SCHEDULED,
    "NW_IP": SCHEDULED,
    "SN_": SCHEDULED,
    "SN_SC": SCHEDULED,
    "SN_IP": SCHEDULED,
    "OK_SC": SCHEDULED,
    "RE_SC": SCHEDULED,
    "XO_SC": SCHEDULED,
    "SC_SC": SCHEDULED,
    "SC_IP": STARTED,
    "XO_IP": STARTED,
    "RE_IP": STARTED,
    "SC_A": COMPLETED,
    "SC_CM": COMPLETED,
    "XO_CM": COMPLETED,
    "OK_CM": COMPLETED,
    "RE_CM": COMPLETED,
    "SC_CA": CANCELED,
    "SC_DC": DISCONTINUED,
    "SC_HD": ON_HOLD,
    "XO_CA": CANCELED,
    "XO_DC": DISCONTINUED,
    "CA_*": CANCELED,
    "OC_*": CANCELED,
    "CR_*": CANCELED,
    "DC_*": DISCONTINUED,
    "OD_*": DISCONTINUED,
    "DR_*": DISCONTINUED,
    "HD_*": ON_HOLD,
    "HR_*": ON_HOLD,
    "RL_*": SCHEDULED,
    "SN_*": SCHEDULED,
}

# Later in an order's life wins where times tie.
LIFECYCLE: Mapping[str, int] = {
    SCHEDULED: 0,
    ON_HOLD: 1,
    ARRIVED: 2,
    STARTED: 3,
    COMPLETED: 4,
    DISCONTINUED: 5,
    CANCELED: 6,
}


def status_of(table: Mapping[str, str], control_code: str, order_status: str) -> str | None:
    """The status an ORC asks for, None where the table has no row: the message then changes no status."""
    order_status = "" if order_status == '""' else order_status
    return table.get(f"{control_code}_{order_status}") or table.get(f"{control_code}_*")


def lifecycle_rank(table: Mapping[str, str], control_code: str, order_status: str) -> int | None:
    """Rank of the status asked for within an order's life, None where there is none."""
    status = status_of(table, control_code, order_status)
    return None if status is None else LIFECYCLE.get(status)
