"""The configuration that derivation depends on, as one frozen value with a hash.

Every derived row carries the hash; a row with another hash is derived again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from dosestream.knowledge.thresholds import DEFAULTS as ALERT_THRESHOLDS
from dosestream.knowledge.thresholds import thresholds
from dosestream.reconcile.lazy import lazy
from dosestream.reconcile.status import STATUS_TABLE, TRANSITIONS
from dosestream.settings import Settings

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
NOT_DERIVED = frozenset({"lateness_us", "idle_us"})


@dataclass(frozen=True)
class Rules:
    """What a site may set of the derivation; durations in microseconds."""

    authority: str = "HOSP"
    authority_by_source: Mapping[str, str] = field(default_factory=dict)
    authority_alias: Mapping[str, str] = field(default_factory=dict)
    # By the Institution Name of a report, small letters.
    authority_by_institution: Mapping[str, str] = field(default_factory=dict)
    # Authorities whose identifiers are the same with and without leading zeros, in small letters and capitals.
    ids_without_zeros: frozenset[str] = frozenset()
    ids_without_case: frozenset[str] = frozenset()
    # Whether a message that names a merged-away patient speaks of the survivor; else it ends the merge.
    follow_merges: bool = True
    stop_list: frozenset[str] = frozenset()
    status_table: Mapping[str, str] = field(default_factory=lambda: dict(STATUS_TABLE))
    transitions: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(TRANSITIONS))
    # Orders have a row from this status on, empty for all.
    keep_from_status: str = ""
    duplicate_us: int = 10 * MINUTE_US
    window_us: int = DAY_US
    grace_us: int = DAY_US
    future_tolerance_us: int = DAY_US
    accession_us: int = 365 * DAY_US
    orders_update_patients: bool = True
    group_cap: int = 5000
    # Kind of alert to what a study's total must reach, in the unit of its column.
    alert_thresholds: Mapping[str, float] = field(default_factory=lambda: dict(ALERT_THRESHOLDS))
    # What is usual of a source: it decides nothing, so it is no part of the hash.
    lateness_us: int = HOUR_US
    idle_us: int = 4 * HOUR_US

    @lazy
    def hash(self) -> str:
        """Sixteen hex digits over everything above that derivation depends on."""
        values = {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name in self.__dataclass_fields__.keys() - NOT_DERIVED
            for value in (getattr(self, name),)
        }
        text = orjson.dumps(values, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
        return hashlib.sha256(text).hexdigest()[:16]

    def stands_for_nobody(self, identifier: str) -> bool:
        """Whether an identifier connects nothing: empty, cleared or on the stop list."""
        return (
            not identifier
            or identifier == '""'
            or (bool(self.stop_list) and identifier.strip().upper() in self.stop_list)
        )


def rules_from(settings: Settings) -> Rules:
    """The rules a configuration asks for."""
    matching = settings.matching
    return Rules(
        authority=settings.site.authority,
        authority_by_source={s.name: s.authority for s in settings.source if s.authority},
        authority_alias=dict(settings.authority_alias)
        | {alias: one.name for one in settings.authority for alias in one.aliases},
        authority_by_institution={
            name.strip().casefold(): authority for name, authority in settings.institution_authority.items()
        },
        ids_without_zeros=frozenset(a.name for a in settings.authority if a.leading_zeros == "ignore"),
        ids_without_case=frozenset(a.name for a in settings.authority if a.case == "ignore"),
        follow_merges=matching.merged_away == "follow",
        stop_list=frozenset(word.upper() for word in matching.stop_list),
        status_table={**STATUS_TABLE, **settings.order_status},
        transitions={
            **TRANSITIONS,
            **{before: tuple(after.split()) for before, after in settings.order_transitions.items()},
        },
        keep_from_status=matching.keep_from_status,
        duplicate_us=matching.duplicate_minutes * MINUTE_US,
        window_us=int(matching.window_hours * HOUR_US),
        grace_us=int(matching.grace_hours * HOUR_US),
        future_tolerance_us=int(matching.future_tolerance_hours * HOUR_US),
        accession_us=matching.accession_days * DAY_US,
        orders_update_patients=matching.orders_update_patients,
        group_cap=matching.group_cap,
        alert_thresholds=thresholds(settings.alert),
        lateness_us=int(settings.clock.lateness_minutes * MINUTE_US),
        idle_us=int(settings.clock.idle_minutes * MINUTE_US),
    )
