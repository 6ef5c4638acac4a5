"""`dosestream fetch`: dose reports from the archive to our listener."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from dosestream.cli.address import ae_host_port
from dosestream.cli.service import ConfigOption
from dosestream.cli.stackfile import ReadyFileOption
from dosestream.embedded.errors import StackError


def fetch(
    study: Annotated[
        list[str] | None, typer.Option("--study", metavar="UID", help="A study; may be given several times.")
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Every study that `dosestream missing` lists.")
    ] = False,
    pacs: Annotated[
        str | None,
        typer.Option("--pacs", metavar="AE@HOST:PORT", help="The archive; else pacs.host, port, ae_title."),
    ] = None,
    destination: Annotated[
        str | None,
        typer.Option(
            "--destination", metavar="AE", help="Our listener as the archive knows it; else pacs.destination."
        ),
    ] = None,
    config: ConfigOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Have the archive send the structured reports of studies to the DICOM listener (C-FIND, C-MOVE). A line
    each; exit 1 where one was not found or not sent."""
    from dosestream import settings
    from dosestream.cli import stackfile
    from dosestream.cli.missing import read
    from dosestream.client.fetch import Archive, FetchError, Wanted

    if not study and not missing:
        raise typer.BadParameter("say what to fetch: --study UID, or --missing")
    loaded = settings.load(config)
    archive = loaded.pacs
    if pacs is not None:
        title, host, port = ae_host_port(pacs)
        archive = replace(archive, ae_title=title, host=host, port=port)
    if not archive.host or not archive.ae_title:
        raise StackError("No archive is configured: set host, port and ae_title in [pacs], or give --pacs.")
    wanted = [Wanted(study_instance_uid=uid) for uid in study or ()]
    if missing:
        rows = read(stackfile.find(ready_file)["postgres"])
        wanted += [Wanted(row.study_instance_uid or "", row.accession_number or "") for row in rows]
    wanted = [one for one in dict.fromkeys(wanted) if one.study_instance_uid or one.accession_number]
    if not wanted:
        print("nothing is missing")
        return
    to = destination or archive.destination or loaded.dicom.ae_title
    bad = 0
    try:
        with Archive(archive, to) as opened:
            for one in wanted:
                done = opened.fetch(one)
                bad += not done.good
                told = f"{done.series} series, {done.moved} sent to {to}"
                told += f", {done.failed} FAILED" if done.failed else ""
                print(f"{one}  {told}{f': {done.problem}' if done.problem else ''}", flush=True)
    except FetchError as error:
        raise StackError(f"{error}.") from error
    sys.exit(1 if bad else 0)
