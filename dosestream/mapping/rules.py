"""What a message is held against before it is mapped: profiles and Z segment contracts, compiled once."""

from dosestream.hl7 import profile, zsegments
from dosestream.hl7.acceptance import Refusal
from dosestream.hl7.conforming import Question
from dosestream.hl7.finding import Finding
from dosestream.hl7.profile import IHE_MINIMUM, Compiled
from dosestream.hl7.reader import Message
from dosestream.settings import Settings
from dosestream.settings.files import contracts

# No more than so many pairs of source and type are remembered.
MOST_REMEMBERED = 4096


class Rules:
    """The rules of one configuration; the checks of a source and message type are compiled when first met."""

    def __init__(self, settings: Settings) -> None:
        self._contracts = contracts(settings)
        minimum = IHE_MINIMUM if settings.conformance.ihe_minimum else ()
        self._profiles = (*minimum, *settings.profile, *zsegments.profiles(self._contracts))
        # Senders choose their names: those that nothing names share one place.
        self._named = {one.source for one in self._profiles}
        self._named |= {sender for one in self._contracts for sender in one.senders}
        self._compiled: dict[tuple[str, str], tuple[Question, Compiled, frozenset[str]]] = {}

    def check(self, message: Message, source: str, kind: str) -> tuple[Refusal | None, tuple[Finding, ...]]:
        """Why the message is refused, None where it is not, and everything found in it.

        `kind` is MSH-9 as `ORM^O01`.
        """
        source = source if source in self._named else ""
        found = self._compiled.get((source, kind))
        question, compiled, contracted = self._compile(source, kind) if found is None else found
        unknown = zsegments.unknown(message, contracted) if _names_z(message) else []
        if question.surely(message):
            return None, tuple(unknown)
        findings = [*compiled.findings(message), *unknown]
        if not compiled.rejecting or not (violations := compiled.violations(message)):
            return None, tuple(findings)
        return profile.refusal(violations), (*violations, *findings)

    def _compile(self, source: str, kind: str) -> tuple[Question, Compiled, frozenset[str]]:
        if len(self._compiled) >= MOST_REMEMBERED:
            self._compiled.clear()
        compiled = profile.compiled(self._profiles, source, kind)
        made = compiled.question, compiled, zsegments.known(self._contracts, source)
        self._compiled[source, kind] = made
        return made


def _names_z(message: Message) -> bool:
    """Whether it has a Z segment: most have none."""
    return any(name.startswith("Z") for name in message.names())


_newest: tuple[Settings, Rules] | None = None


def rules_of(settings: Settings) -> Rules:
    """The rules of a configuration; those of the newest one asked for are kept."""
    global _newest
    known = _newest
    if known is None or known[0] is not settings:
        known = _newest = settings, Rules(settings)
    return known[1]
