"""The site's mapping, compiled once per configuration, source and message type. Pure."""

from collections.abc import Mapping, Sequence

from dosestream.hl7 import zsegments
from dosestream.mapping import plugin, values
from dosestream.mapping.defaults import default_places, readers
from dosestream.mapping.fields import COMPANIONS, DEMOGRAPHICS, FIELDS
from dosestream.mapping.place import DEFAULT
from dosestream.mapping.plugin import Function
from dosestream.mapping.rule import compile_rule
from dosestream.mapping.site import VOCABULARY, CodeMap, Overlay
from dosestream.settings import CodeMapSettings, RuleSettings, Settings
from dosestream.settings.files import contracts

Overlays = Mapping[str, Overlay]
NOTHING: Overlays = {}


class Plan:
    """What the configuration changes in events; compiled when a source's message type is first met.

    Senders choose their names, so all sources that the configuration does not name share one place.
    """

    def __init__(self, settings: Settings) -> None:
        mapping = settings.mapping
        self._rules = (*_shipped(settings), *mapping.rule)
        self._code_maps = mapping.code_map
        self._code = mapping.code
        self._functions: Mapping[str, Function] = plugin.load(self._code) if self._code is not None else {}
        self._named = {rule.source for rule in self._rules} | {one.source for one in self._code_maps}
        self._by_source = bool(self._functions)
        self._compiled: dict[tuple[str, str], Overlays] = {}
        self.empty = not (self._rules or self._code_maps or self._functions)

    def overlays(self, source: str, message_type: str) -> Overlays:
        """Event to what is changed in it, for messages of that source and MSH-9 (`ORM^O01`)."""
        if self.empty:
            return NOTHING
        # The site's Python is told the source, whoever it is.
        key = (source if self._by_source or source in self._named else "", message_type)
        found = self._compiled.get(key)
        if found is None:
            if len(self._compiled) >= MOST_REMEMBERED:
                self._compiled.clear()
            found = self._compiled[key] = self._compile(source, message_type)
        return found

    def _compile(self, source: str, message_type: str) -> Overlays:
        out: dict[str, Overlay] = {}
        for event, table in FIELDS.items():
            rules: dict[str, RuleSettings] = {}
            maps: dict[str, CodeMapSettings] = {}
            for rule in self._rules:
                names = rule.field.split()
                if _fits(rule, source, message_type, event) and all(name in table for name in names):
                    for name in names:
                        rules[name] = rule
            for one in self._code_maps:
                if _fits(one, source, message_type, event) and one.field in table and one.table is not None:
                    maps[one.field] = one
            plain = [
                RuleSettings(field=name, paths=default_places(event, name))
                for name in sorted(maps.keys() & VOCABULARY.keys() - rules.keys())
            ]
            rules |= {rule.field: rule for rule in plain}
            default = {**readers(event), **dict.fromkeys(maps.keys() & VOCABULARY.keys(), values.first)}
            overlay = Overlay(
                event,
                source,
                message_type,
                tuple(compile_rule(rule, default) for rule in _ordered(rules, (*self._rules, *plain))),
                tuple(
                    CodeMap(one.field, one.table, one.unmapped == "blank")
                    for one in maps.values()
                    if one.table is not None
                ),
                self._code if event in self._functions else None,
                self._functions.get(event),
                of_patient=event in self._functions or bool((rules.keys() | maps.keys()) & DEMOGRAPHICS),
            )
            if overlay.rules or overlay.code_maps or overlay.function is not None:
                out[event] = overlay
        return out


# Combinations of source and message type, with a margin; beyond, the oldest are compiled anew.
MOST_REMEMBERED = 4096


def _shipped(settings: Settings) -> Sequence[RuleSettings]:
    """What older keys and the contracts of Z segments say, as rules before the site's own."""
    rules = []
    if fallback := settings.mapping.accession_fallback:
        rules += [
            RuleSettings(field="accession_number", paths=(DEFAULT, *fallback), event=event)
            for event in ("order", "report")
        ]
    for source, field, path in zsegments.event_fields(contracts(settings)):
        if path not in default_places("order", field):
            rules.append(RuleSettings(source=source, event="order", field=field, paths=(DEFAULT, path)))
    return rules


def _fits(one: RuleSettings | CodeMapSettings, source: str, message_type: str, event: str) -> bool:
    return (
        one.source in ("", source)
        and one.event in ("", event)
        and (not one.types or message_type in one.types or message_type.partition("^")[0] in one.types)
    )


def _ordered(rules: Mapping[str, RuleSettings], written: Sequence[RuleSettings]) -> list[RuleSettings]:
    """Each rule once, as written; those of fields that empty their companions before the companions' own."""
    found = [rule for rule in written if any(rule is one for one in rules.values())]
    return sorted(found, key=lambda rule: not set(rule.field.split()) & COMPANIONS.keys())


_newest: tuple[Settings, Plan] | None = None


def plan_of(settings: Settings) -> Plan:
    """The plan of a configuration; that of the newest one asked for is kept."""
    global _newest
    known = _newest
    if known is None or known[0] is not settings:
        known = _newest = settings, Plan(settings)
    return known[1]
