"""`dosestream topics`: the topics of the cluster held against what they should be, and who may use them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dosestream.cli.service import ConfigOption
from dosestream.embedded.errors import StackError

if TYPE_CHECKING:
    from dosestream.kafka.acl import Acl
    from dosestream.kafka.plan import Change
    from dosestream.settings import Settings

app = typer.Typer(
    help="The topics of the cluster: what should change, and who may use them.", no_args_is_help=True
)

# Exit codes, beside 2 for a mistake or a server that is away.
SAME, DIFFERS, WOULD_LOSE = 0, 1, 3

EmbeddedOption = Annotated[
    bool, typer.Option("--embedded", help="As `up` makes them, with few partitions, not as a site has them.")
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="TOPIC", help="This topic may lose records by the change; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for a script.")]
PrincipalOption = Annotated[
    str, typer.Option("--principal", metavar="User:NAME", help="Whose they are; else User: and the name.")
]


@app.command("plan")
def plan(
    config: ConfigOption = None,
    embedded: EmbeddedOption = False,
    allow: AllowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs, and change nothing: exit 0 where nothing does, 1 where something does, 3 where a change
    would lose records and its topic is not allowed to."""
    changes = _Topics(_load(config), embedded).changes()
    _show(changes, as_json=as_json)
    sys.exit(_code(changes, allow or []))


@app.command("apply")
def apply(config: ConfigOption = None, embedded: EmbeddedOption = False, allow: AllowOption = None) -> None:
    """Make the topics as they should be: exit 0 then, 1 where something is left to do by hand, 3 where a change
    would lose records and its topic is not allowed to; then nothing is changed at all."""
    topics = _Topics(_load(config), embedded)
    changes = topics.changes()
    _show(changes)
    if _code(changes, allow or []) == WOULD_LOSE:
        print("Nothing was changed: --allow TOPIC lets a topic lose records.", file=sys.stderr)
        sys.exit(WOULD_LOSE)
    sys.exit(DIFFERS if topics.make(changes) else SAME)


@app.command("acl")
def acl(
    config: ConfigOption = None,
    service: Annotated[
        list[str] | None, typer.Option("--service", help="Only this one's; repeatable. [all]")
    ] = None,
    subscriber: Annotated[
        str, typer.Option("--subscriber", metavar="NAME", help="Another system, which reads --topics.")
    ] = "",
    topics: Annotated[
        list[str] | None, typer.Option("--topics", metavar="TOPIC", help="What it reads; repeatable.")
    ] = None,
    principal: PrincipalOption = "",
    apply: Annotated[bool, typer.Option("--apply", help="Add what is missing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="With --apply: remove what they have beyond it.")
    ] = False,
    to_print: Annotated[
        bool, typer.Option("--print", help="Print lines for Kafka's own kafka-acls, and ask no broker.")
    ] = False,
) -> None:
    """Show who may do what, and what of it the cluster lacks: exit 0 where nothing, 1 where something."""
    from dosestream.kafka.acl import command

    wanted = _wanted_acls(service or [], subscriber, topics or [], principal)
    if to_print:
        print("\n".join(map(command, wanted)))
        return
    missing, beyond = _settle_acls(_load(config), wanted, apply=apply, prune=prune)
    for sign, acls in (("missing" if not apply else "added", missing), ("beyond", beyond)):
        for one in acls:
            print(f"{'removed' if sign == 'beyond' and apply and prune else sign:8} {_said(one)}")
    if not missing and not beyond:
        print(f"{len(wanted)} ACLs as they should be")
    sys.exit(DIFFERS if not apply and missing else SAME)


@app.command("password")
def password(
    user: Annotated[str, typer.Argument(help="A user of the brokers, such as a service or a subscriber.")],
    file: Annotated[Path, typer.Option("--file", help="Holds the password, one line.")],
    config: ConfigOption = None,
) -> None:
    """Make a SCRAM-SHA-512 user, or give it another password; connections that are open stay."""
    from dosestream.kafka.access import Access
    from dosestream.kafka.security import read_password

    secret = read_password(file, "--file")
    _ask(lambda: Access(_load(config).kafka).set_password(user, secret))
    print(f"{user} has the password of {file}")


@app.command("quota")
def quota(
    user: Annotated[str, typer.Argument(help="A user of the brokers.")],
    consume_mib: Annotated[
        float,
        typer.Option("--consume-mib", min=0, help="MiB a second that it may read; 0: leave it as it is."),
    ] = 0.0,
    produce_mib: Annotated[
        float,
        typer.Option("--produce-mib", min=0, help="MiB a second that it may write; 0: leave it as it is."),
    ] = 0.0,
    request_percent: Annotated[
        float,
        typer.Option("--request-percent", min=0, help="Of one broker thread's time; 0: leave it as it is."),
    ] = 0.0,
    config: ConfigOption = None,
) -> None:
    """Print the line for Kafka's own kafka-configs that limits a user on each broker; our client cannot set it."""
    from dosestream.kafka.quota import command

    asked = {
        "consumer_byte_rate": consume_mib * 1024 * 1024,
        "producer_byte_rate": produce_mib * 1024 * 1024,
        "request_percentage": request_percent,
    }
    if not any(asked.values()):
        raise typer.BadParameter("name a limit: --consume-mib, --produce-mib or --request-percent")
    print(command(_load(config).kafka.bootstrap, user, asked))


class _Topics:
    """What should be, and the cluster."""

    def __init__(self, settings: "Settings", embedded: bool) -> None:
        from dosestream.kafka.cluster import Cluster
        from dosestream.kafka.wanted import wanted_topics

        found = wanted_topics(settings.kafka, site=not embedded, retention=settings.retention)
        self._wanted = {one.name: one for one in found}
        self._cluster = Cluster(settings.kafka)

    def changes(self) -> "list[Change]":
        from dosestream.kafka.plan import plan

        held = _ask(lambda: self._cluster.held(self._wanted))
        return plan(self._wanted.values(), held)

    def make(self, changes: "list[Change]") -> "list[Change]":
        """Make them; returns those that are left to a person."""
        from dosestream.kafka.plan import Risk

        _ask(lambda: self._cluster.make(changes, self._wanted))
        return [one for one in changes if one.risk is Risk.BY_HAND]


def _load(config: Path | None) -> "Settings":
    from dosestream import settings

    return settings.load(config)


def _ask(work: Any) -> Any:
    """Do it; what the cluster says is said in a sentence."""
    from dosestream.kafka.admin import BrokerAwayError
    from dosestream.kafka.administration import RefusedError

    try:
        return work()
    except (BrokerAwayError, RefusedError) as error:
        raise StackError(f"{error}.") from error


def _code(changes: "list[Change]", allowed: list[str]) -> int:
    from dosestream.kafka.plan import refused

    if refused(changes, allowed):
        return WOULD_LOSE
    return DIFFERS if changes else SAME


def _show(changes: "list[Change]", *, as_json: bool = False) -> None:
    from dosestream.kafka.plan import Risk

    if as_json:
        fields = ("topic", "setting", "held", "wanted", "risk", "why")
        print(json.dumps([{name: getattr(one, name) for name in fields} for one in changes], indent=2))
        return
    for one in changes:
        what = (
            one.wanted if one.setting == "topic" else f"{one.setting} {one.held or 'unset'} -> {one.wanted}"
        )
        risk = "" if one.risk is Risk.NONE else f" [{one.risk}]"
        print(f"{'+' if one.setting == 'topic' else '~'} {one.topic}: {what}{risk}")
    # What several have in common is explained once.
    for why in dict.fromkeys(f"{one.setting}: {one.why}" for one in changes if one.why):
        print(f"  {why}")
    if not changes:
        print("The topics are as they should be.")


def _wanted_acls(services: list[str], reader: str, topics: list[str], principal: str) -> "list[Acl]":
    from dosestream.kafka import acl
    from dosestream.kafka.topics import Topic

    if reader:
        if services or not topics:
            raise typer.BadParameter("--subscriber takes --topics, and no --service")
        if unknown := sorted(set(topics) - {str(topic) for topic in Topic}):
            raise typer.BadParameter(f"{', '.join(unknown)}: no topics of ours")
        return acl.subscriber(reader, topics, principal)
    if unknown := sorted(set(services) - set(acl.SERVICES)):
        raise typer.BadParameter(f"{', '.join(unknown)}: the services are {', '.join(acl.SERVICES)}")
    if principal and len(services) != 1:
        raise typer.BadParameter("--principal takes one --service, or --subscriber")
    return [one for name in services or acl.SERVICES for one in acl.service(name, principal)]


def _settle_acls(
    settings: "Settings", wanted: "list[Acl]", *, apply: bool, prune: bool
) -> "tuple[list[Acl], list[Acl]]":
    """What is missing, and what is held beyond what should be; both are mended where that is asked for."""
    from dosestream.kafka.access import Access
    from dosestream.kafka.acl import difference

    access = Access(settings.kafka)
    missing, beyond = difference(wanted, _ask(lambda: access.held(one.principal for one in wanted)))
    if apply:
        _ask(lambda: access.add(missing))
        if prune:
            _ask(lambda: access.remove(beyond))
    return missing, beyond


def _said(acl: "Acl") -> str:
    grant = acl.grant
    return f"{acl.principal} {grant.operation} {grant.resource} {grant.name}{'*' if grant.prefixed else ''}"
