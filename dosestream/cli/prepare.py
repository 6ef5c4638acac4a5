"""`dosestream prepare`: topics, schemas and tables of this release, before its services start."""

import time
from typing import Annotated

import typer

from dosestream.cli.service import ConfigOption
from dosestream.embedded.errors import StackError

AGAIN_S = 1.0


def prepare(
    config: ConfigOption = None,
    topics: Annotated[
        bool, typer.Option("--topics/--no-topics", help="Make the topics that are missing.")
    ] = True,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for Kafka and PostgreSQL to answer.")
    ] = 60.0,
) -> None:
    """Make the topics that are missing, publish the schemas, migrate the database; then end.

    What is there already stays as it is, so it may run at any time, beside services of the release before, and
    several times at once.
    """
    from dosestream import settings
    from dosestream.db.migrate import DatabaseAwayError, migrate
    from dosestream.kafka.admin import BrokerAwayError, create_topics, publish_schemas

    loaded = settings.load(config)
    deadline = time.monotonic() + wait
    try:
        left = max(1.0, deadline - time.monotonic())
        made = create_topics(loaded.kafka, site=True, timeout_s=left) if topics else []
        publish_schemas(loaded.kafka, timeout_s=max(10.0, deadline - time.monotonic()))
    except BrokerAwayError as error:
        raise StackError(f"{error}: see that it runs, then start again.") from error
    while True:
        try:
            applied = migrate(loaded.postgres.url)
            break
        except DatabaseAwayError as error:
            if time.monotonic() > deadline:
                raise StackError(f"{error}: see that it runs, then start again.") from error
            time.sleep(AGAIN_S)
    print(f"topics made: {', '.join(made) or 'none'}; steps of the database: {', '.join(applied) or 'none'}")
