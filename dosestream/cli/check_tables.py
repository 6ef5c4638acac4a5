"""What `dosestream check` prints: a message field by field, a corpus summed up, two outcomes side by side."""

import json as json_text
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from dosestream.cli.corpus import Recorded
from dosestream.conformance import message_profile
from dosestream.conformance.check import check as check_standard
from dosestream.hl7.finding import Finding
from dosestream.mapping.difference import Difference, differences, pairs
from dosestream.mapping.draft import UNMAPPED
from dosestream.mapping.explain import Outcome
from dosestream.settings import Settings

Named = tuple[str, Outcome]
# Messages named as an example of a change.
EXAMPLES = 3
# More of a value than this does not help to see where it came from; --json has it all.
WIDTH = 60


def explain(found: Iterable[tuple[Recorded, Outcome]], standard: bool, settings: Settings, json: bool) -> int:
    """Every message with its fields, the rules it breaks and what it becomes; 1 where one is rejected."""
    documents: list[dict[str, Any]] = []
    rejected = heard = False
    for message, one in found:
        heard = True
        rejected = rejected or one.state == "rejected"
        beside = _standard(message.body, one.source, settings) if standard else []
        if json:
            documents.append({"name": message.name, **asdict(one), "standard": [asdict(f) for f in beside]})
        else:
            _explain(message.name, one, beside)
    if json:
        print(json_text.dumps(documents, indent=2, ensure_ascii=False))
    if not heard:
        print("dosestream: there is no message: one begins with MSH at the start of a line", file=sys.stderr)
    return int(rejected or not heard)


def _explain(name: str, one: Outcome, beside: Sequence[Finding]) -> None:
    print(f"{name}: {one.message_type or 'no type'} {one.control_id} from {one.source}: {_in_words(one)}")
    for event in one.events:
        print(f"  {event.event} (group {event.index + 1})")
        rows = [(r.field, r.path, _short(r.raw), _short(r.value)) for r in event.readings]
        _table([("field", "path", "as sent", "value"), *rows], "    ")
    for words, findings in (("breaks", one.findings), ("not as the standard", beside)):
        # Two rules may break on the same segment; a person reads it once.
        for finding in dict.fromkeys(findings):
            print(f"  {words} [{finding.severity}]: {finding.rule}: {finding.text}")


def _in_words(one: Outcome) -> str:
    where = f" at {one.location}" if one.location else ""
    return f"{one.told}{where}: {one.reason}" if one.reason else one.told


def _standard(body: bytes, source: str, settings: Settings) -> list[Finding]:
    profiles = [
        message_profile.parse(one.text)
        # A source's own stands over the one for every source.
        for one in sorted(settings.conformance.message_profile, key=lambda one: one.source)
        if one.text and one.source in ("", source)
    ]
    charset = next((one.charset for one in settings.source if one.name == source), "")
    merged = {name: structure for profile in profiles for name, structure in profile.items()}
    return check_standard(body, merged or None, charset)


def summary(found: Sequence[Named], json: bool) -> int:
    """A corpus in counts, without patient data."""
    outcomes = [one for _, one in found]
    filled: Counter[tuple[str, str]] = Counter()
    events: Counter[str] = Counter()
    for one in outcomes:
        for event in one.events:
            events[event.event] += 1
            filled.update((f"{event.event}.{r.field}", r.path) for r in event.readings)
    # Two rules may break on the same segment.
    rules = _counts(finding.rule for one in outcomes for finding in dict.fromkeys(one.findings))
    document: dict[str, Any] = {
        "messages": len(outcomes),
        "types": _counts(one.message_type or "no type" for one in outcomes),
        "outcomes": _counts(one.told for one in outcomes),
        "rejected": _counts(
            f"{one.code} at {one.location or '-'}" for one in outcomes if one.state == "rejected"
        ),
        "ignored": _counts(one.reason for one in outcomes if one.state == "ignored"),
        "events": dict(sorted(events.items())),
        "unmapped": {rule.removeprefix(UNMAPPED).strip(): n for rule, n in rules.items() if _is_code(rule)},
        "findings": {rule: n for rule, n in rules.items() if not _is_code(rule)},
        "fields": [
            {"field": field, "path": path, "count": count, "of": events[field.partition(".")[0]]}
            for (field, path), count in sorted(filled.items())
        ],
    }
    if json:
        print(json_text.dumps(document, indent=2, ensure_ascii=False))
        return 0
    print(f"{document['messages']} messages")
    for title in ("types", "outcomes", "rejected", "ignored", "events", "unmapped", "findings"):
        if document[title]:
            print(f"{title}:")
            _table([(key, str(count)) for key, count in document[title].items()], "  ")
    if document["fields"]:
        print("fields:")
        rows = [(one["field"], one["path"], f"{one['count']} of {one['of']}") for one in document["fields"]]
        _table([("field", "path", "filled"), *rows], "  ")
    return 0


def compare(
    before: Sequence[Named],
    after: Sequence[Named],
    *,
    same_messages: bool,
    ignore: Sequence[str],
    show: bool,
    json: bool,
) -> int:
    """What differs, counted, with examples; 1 where anything does. Values only where `show`."""
    only_old: list[str] = []
    only_new: list[str] = []
    if same_messages:
        matched = list(zip(before, after, strict=True))
    else:
        matched, only_old, only_new = pairs(before, after)
    found: dict[tuple[str, str, str], list[tuple[str, Difference]]] = {}
    changed: set[str] = set()
    for (name, old), (other, new) in matched:
        told = name if name == other else f"{name} / {other}"
        for one in differences(old, new, ignore):
            words = f"{one.old} -> {one.new}" if one.harmless_to_tell else ""
            found.setdefault((one.what, one.kind, words), []).append((told, one))
            changed.add(told)
    changes = [
        {
            "what": what,
            "kind": kind,
            "count": len(examples),
            **({"change": words} if words else {}),
            "examples": [
                {"message": told, **({"old": one.old, "new": one.new} if show and not words else {})}
                for told, one in islice(dict(reversed(examples)).items(), EXAMPLES)
            ],
        }
        for (what, kind, words), examples in sorted(found.items(), key=_in_order)
    ]
    document = {
        "messages": len(matched),
        "changed": len(changed),
        "changes": changes,
        "only_old": only_old,
        "only_new": only_new,
    }
    if json:
        print(json_text.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print_changes(document)
    return int(bool(changes or only_old or only_new))


def _in_order(item: tuple[tuple[str, str, str], object]) -> tuple[bool, str, str, str]:
    """Outcomes and events before fields."""
    what, kind, words = item[0]
    return "." in what, what, kind, words


def _print_changes(document: dict[str, Any]) -> None:
    print(f"{document['messages']} messages, {document['changed']} change")
    for one in document["changes"]:
        words = f": {one['change']}" if "change" in one else ""
        print(f"{one['count']:6}  {one['what']} {one['kind']}{words}")
        for example in one["examples"]:
            values = f": {_short(example['old'])!r} -> {_short(example['new'])!r}" if "old" in example else ""
            print(f"          {example['message']}{values}")
    for key, words in (("only_old", "only in the old corpus"), ("only_new", "only in the new corpus")):
        if names := document[key]:
            more = f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else ""
            print(f"{len(names):6}  {words}: {', '.join(names[:EXAMPLES])}{more}")


def _is_code(rule: str) -> bool:
    return rule.startswith(f"{UNMAPPED} ")


def _counts(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _short(text: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _table(rows: Sequence[Sequence[str]], indent: str) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
