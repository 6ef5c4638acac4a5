"""What a site changes in one kind of event of one source and message type: its rules, code maps and Python.

Applied to a draft that the defaults have filled, so that a site without rules pays nothing. Pure.
"""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from dosestream.events.records import Demographics
from dosestream.hl7.acceptance import Refusal
from dosestream.hl7.header import STANDARD
from dosestream.hl7.path import CLEARED
from dosestream.hl7.reader import Group
from dosestream.mapping import plugin, values
from dosestream.mapping.code_maps import CodeTable
from dosestream.mapping.defaults import Reader
from dosestream.mapping.draft import Draft, Unmapped
from dosestream.mapping.fields import COMPANIONS, DEMOGRAPHICS, FIELDS, Kind
from dosestream.mapping.plugin import Function, SiteCode, SiteMessage
from dosestream.mapping.rule import Found, Rule

# Fields whose codes are DICOM's own: what no code map has is read as the default reads it.
VOCABULARY: dict[str, Reader] = {"sex": values.sex, "priority": values.priority}


@dataclass(frozen=True, slots=True)
class CodeMap:
    """One code map for one field; `blank` says whether a code it has not is left out."""

    field: str
    table: CodeTable
    blank: bool


@dataclass(frozen=True, slots=True)
class Overlay:
    """All that a site changes in one kind of event.

    Attributes:
        event: patient, order, appointment or report.
        rules: one per field at most, in the order they are applied.
        code: the site's Python, and `function` what it has for the event.
        of_patient: whether any of it is about the patient's own fields.
    """

    event: str
    source: str
    message_type: str
    rules: tuple[Rule, ...] = ()
    code_maps: tuple[CodeMap, ...] = ()
    code: SiteCode | None = None
    function: Function | None = None
    of_patient: bool = False

    def apply(self, draft: Draft, local: tzinfo) -> Draft | Refusal:
        """The draft as the site wants it, its fields changed in place; or why the site's Python could not say."""
        fields, paths = draft.fields, draft.fields["paths"]
        patient: Demographics | None = fields.get("patient")
        if self.of_patient and patient is not None:
            fields |= {name: getattr(patient, name) for name in DEMOGRAPHICS}
        for rule in self.rules:
            self._read(rule, draft.group, local, fields, paths)
        unmapped = [missed for one in self.code_maps if (missed := _map_code(one, fields, paths)) is not None]
        if self.code is not None and self.function is not None:
            message = SiteMessage(self.source, self.message_type, draft.group)
            changed = plugin.call(self.code, self.event, self.function, fields, message)
            if isinstance(changed, Refusal):
                return changed
            for name, value in changed.items():
                self._put(name, Found(value, f"{self.code.name}:{self.event}"), fields, paths)
        if self.of_patient:
            said = {name: value for name in DEMOGRAPHICS if (value := fields.pop(name, None))}
            # An event without patient stays without one unless something is said of one.
            patient = Demographics(**said) if said or patient is not None else None
            fields["patient"] = patient
            identifiers = patient.identifiers if patient is not None else ()
            return draft._replace(identifiers=identifiers, unmapped=tuple(unmapped))
        return draft._replace(unmapped=tuple(unmapped)) if unmapped else draft

    def _read(
        self, rule: Rule, group: Group, local: tzinfo, fields: dict[str, Any], paths: dict[str, str]
    ) -> None:
        has_default = any(fields.get(name) not in (None, "", ()) for name in rule.fields)
        found = rule.read(group, local, has_default)
        if found is None:
            return
        for name in (*rule.fields, *rule.dropped):
            self._put(name, found.get(name), fields, paths)

    def _put(self, name: str, found: Found | None, fields: dict[str, Any], paths: dict[str, str]) -> None:
        """Write one field, or what empties it; a time that is cleared is no time, and said to be cleared."""
        fields.pop(name, None)
        paths.pop(name, None)
        if name == "event_time":
            fields.pop("event_time_path", None)
        if (flag := _CLEARED_FLAGS.get((self.event, name))) is not None:
            fields.pop(flag, None)
        if found is None or found.value in (None, ""):
            return
        if found.value == CLEARED and name in _TIMES:
            if flag is not None:
                fields[flag] = True
                paths[name] = found.path
            return
        fields[name] = found.value
        if name == "event_time":
            fields["event_time_path"] = found.path
        else:
            paths[name] = found.path


_TIMES = frozenset(name for table in FIELDS.values() for name, kind in table.items() if kind is Kind.TIME)
# Times that have a field of their own for being cleared.
_CLEARED_FLAGS = {("order", "scheduled_at"): "scheduled_cleared"}


def _map_code(one: CodeMap, fields: dict[str, Any], paths: dict[str, str]) -> Unmapped | None:
    """Turn one field's code into the network's; what the map has not is told."""
    code = fields.get(one.field, "")
    if not code or code == CLEARED:
        return None
    scheme, meaning = [*COMPANIONS.get(one.field, ()), "", ""][:2]
    found = one.table.find(code, fields.get(scheme, "") if scheme else "")
    if found is not None:
        fields[one.field] = found.code
        # The site's scheme never stands beside the network's code; its words for the procedure may.
        if scheme:
            fields[scheme] = found.scheme
        if meaning and found.meaning:
            fields[meaning] = found.meaning
        return None
    missed = Unmapped(one.field, fields.get(scheme, "") if scheme else "", code)
    if one.field in VOCABULARY:
        fields[one.field] = "" if one.blank else VOCABULARY[one.field](code, STANDARD)
        return None if fields[one.field] else missed
    if one.blank:
        for name in filter(None, (one.field, scheme, meaning)):
            fields.pop(name, None)
            paths.pop(name, None)
    return missed
