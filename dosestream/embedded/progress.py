"""Progress on long work, for a terminal; a line at the start where there is none."""

from pathlib import Path

from dosestream.embedded import class_archive, jars

# How many jars the pom comes to; only the bar depends on it.
EXPECTED_JARS = 93


def prepare_broker() -> None:
    """Fetch the broker's jars and keep its classes, both once; a person sees how far it is.

    Raises:
        StackError: the jars cannot be fetched.
    """
    fetch_jars()
    if class_archive.missing():
        from rich.console import Console

        with Console(stderr=True).status("Preparing Apache Kafka, so that it starts faster (once)"):
            class_archive.make()


def fetch_jars() -> Path:
    """The folder of the broker's jars, fetched with a progress bar where they are missing.

    Raises:
        StackError: they cannot be fetched.
    """
    if (folder := jars.present()) is not None:
        return folder
    # Before the bar: what is missing is said alone.
    jars.maven()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Fetching Apache Kafka (54 MB, once)", total=EXPECTED_JARS)
        return jars.fetch(lambda count: bar.update(task, completed=count))
