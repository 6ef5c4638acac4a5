"""`dosestream link | unlink | reassign | exclude | include | merge | unmerge`: what a person decides, as a fact.

A decision outranks messages until it is withdrawn, and is told again by every replay.
"""

import getpass
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dosestream.cli.address import patient_id
from dosestream.cli.stackfile import ReadyFileOption

if TYPE_CHECKING:
    from dosestream.events.records import Decision, Identifier

Study = Annotated[str, typer.Option("--study", metavar="UID", help="Study Instance UID.")]
Accession = Annotated[str, typer.Option("--accession", metavar="NUMBER", help="Accession of the order.")]
Placer = Annotated[str, typer.Option("--placer", metavar="NUMBER", help="Placer number of the order.")]
Filler = Annotated[str, typer.Option("--filler", metavar="NUMBER", help="Filler number of the order.")]
Prior = Annotated[
    str, typer.Option("--prior", metavar="AUTHORITY:ID", help="The patient merged away or taken out.")
]
Survivor = Annotated[
    str, typer.Option("--patient", metavar="AUTHORITY:ID", help="The patient who survives or survived.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever looks later.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; the user who types by default.")]
Withdraw = Annotated[bool, typer.Option("--withdraw", help="Take such a decision back.")]


def _about_order(kind: str) -> Callable[..., None]:
    """A decision about a study and an order."""

    def run(
        study: Study,
        accession: Accession = "",
        placer: Placer = "",
        filler: Filler = "",
        reason: Reason = "",
        by: By = "",
        withdraw: Withdraw = False,
        ready_file: ReadyFileOption = None,
    ) -> None:
        if not (accession or placer or filler):
            raise typer.BadParameter("which order is meant? Give --accession, --placer or --filler.")
        _check_uid(study)
        from dosestream.events.records import Decision

        decision = Decision(
            **_made(kind, by, reason, withdraw),  # type: ignore[arg-type]
            study_instance_uid=study,
            accession_number=accession,
            placer_order_number=placer,
            filler_order_number=filler,
        )
        _publish(decision, ready_file, _see_study(study))

    return run


def _about_study(kind: str) -> Callable[..., None]:
    """A decision about a study alone."""

    def run(
        study: Study,
        reason: Reason = "",
        by: By = "",
        withdraw: Withdraw = False,
        ready_file: ReadyFileOption = None,
    ) -> None:
        _check_uid(study)
        from dosestream.events.records import Decision

        decision = Decision(**_made(kind, by, reason, withdraw), study_instance_uid=study)  # type: ignore[arg-type]
        _publish(decision, ready_file, _see_study(study))

    return run


def _about_patients(kind: str) -> Callable[..., None]:
    """A decision about two patients."""

    def run(
        prior: Prior,
        patient: Survivor,
        reason: Reason = "",
        by: By = "",
        withdraw: Withdraw = False,
        ready_file: ReadyFileOption = None,
    ) -> None:
        away, into = patient_id(prior), patient_id(patient)
        if away == into:
            raise typer.BadParameter(f"--prior and --patient are both {prior}: a merge takes two.")
        from dosestream.events.records import Decision

        decision = Decision(
            **_made(kind, by, reason, withdraw),  # type: ignore[arg-type]
            patient=_identifier(*into),
            prior=_identifier(*away),
        )
        _publish(decision, ready_file, _see_patients(away[1], into[1]))

    return run


# Subcommand to what it does, and what it is about.
COMMANDS: dict[str, tuple[str, Callable[[str], Callable[..., None]]]] = {
    "link": ("Say that a study answers an order, whatever the evidence says.", _about_order),
    "unlink": ("Say that a study does not answer an order.", _about_order),
    "reassign": (
        "Say that a study answers this order and none that was linked by hand before.",
        _about_order,
    ),
    "exclude": ("Say that a study does not count (phantom, quality check, test).", _about_study),
    "include": ("Say that an excluded study counts after all.", _about_study),
    "merge": ("Say that two patients are one: --prior becomes --patient.", _about_patients),
    "unmerge": (
        "Say that two patients are not one, whatever messages merged; each has its own values again.",
        _about_patients,
    ),
}


def command(name: str) -> Callable[..., None]:
    """The command that publishes that kind of decision."""
    return COMMANDS[name][1](name)


def _check_uid(text: str) -> None:
    if not text.replace(".", "").isdecimal() or len(text) > 64:
        raise typer.BadParameter(f"{text!r} is no Study Instance UID (digits and dots, 64 at most).")


def _identifier(authority: str, value: str) -> "Identifier":
    from dosestream.events.records import Identifier

    return Identifier(authority=authority, value=value)


def _made(kind: str, by: str, reason: str, withdraw: bool) -> dict[str, object]:
    """The fields of every decision; the id is left empty until the rest is known."""
    import time

    try:
        by = by or getpass.getuser()
    except (OSError, KeyError):
        raise typer.BadParameter("who decides? Give --by.") from None
    at = time.time_ns() // 1000
    return {
        "event_id": "",
        "received_at": at,
        "kind": kind,
        "withdrawn": withdraw,
        "by": by,
        "reason": reason,
    }


def _publish(decision: "Decision", ready_file: Path | None, see: str) -> None:
    """Put the decision on its topic, and say so.

    Raises:
        StackError: there is no stack, or the broker is away.
    """
    import orjson

    from dosestream.cli import stackfile
    from dosestream.embedded.errors import StackError
    from dosestream.events.cloudevents import headers
    from dosestream.events.identity import content_hash, record_key
    from dosestream.kafka.codec import codec_for
    from dosestream.kafka.publisher import Publisher, PublishError
    from dosestream.kafka.topics import Topic

    settings = stackfile.settings_of(stackfile.find(ready_file), None)
    decision = replace(decision, event_id=content_hash(orjson.dumps(decision.to_datum()))[:32])
    known = (decision.patient,) if decision.patient is not None else ()
    secret = settings.site.patient_key_secret.encode()
    key = record_key(secret, settings.site.authority, known, decision.study_instance_uid)
    meta = headers(event_id=decision.event_id, source="person", kind="decision", at=decision.received_at)
    publisher = Publisher(settings.kafka)
    try:
        value = codec_for(settings.kafka).encode(decision)
        where = publisher.publish_and_wait(str(Topic.DECISION), key, value, meta)
    except PublishError as error:
        raise StackError(f"The decision is not known to be stored ({error}): try again.") from error
    finally:
        publisher.close()
    word = f"{decision.kind}{' withdrawn' if decision.withdrawn else ''}"
    print(f"{word}: decision {decision.event_id} by {decision.by}")
    print(f"published: {Topic.DECISION} partition {where.partition} offset {where.offset}")
    print(f"its effect, as soon as the reconciler has read it: {see}")


def _see_study(uid: str) -> str:
    columns = "link_state, link_method, accession_number, patient_id, excluded, evidence"
    return f"SELECT {columns} FROM dose.study WHERE study_instance_uid = {_quoted(uid)};"


def _see_patients(*values: str) -> str:
    wanted = ", ".join(map(_quoted, values))
    return f"SELECT * FROM dose.patient WHERE patient_id IN ({wanted});"


def _quoted(text: str) -> str:
    """As an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
