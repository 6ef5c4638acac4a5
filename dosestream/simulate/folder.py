"""The folder a simulation is written to: what an earlier one left is removed, anything else is left alone."""

import json
from pathlib import Path
from typing import Final

# Files that list others, by their key `file`, and what stands beside them.
LISTINGS: Final = ("timeline.jsonl", "answers.jsonl")
BESIDE: Final = ("truth.jsonl", "studies.jsonl")


class ForeignFolderError(Exception):
    """The folder holds messages that no earlier simulation wrote."""


def clear(out: Path) -> None:
    """Remove the files of an earlier simulation.

    Raises:
        ForeignFolderError: `out/hl7` or `out/dicom` holds files that no listing of a simulation names.
    """
    earlier = [
        line
        for listing in LISTINGS
        if (out / listing).exists()
        for line in (out / listing).read_text(encoding="utf-8").splitlines()
    ]
    ours = {out / json.loads(line)["file"] for line in earlier}
    there = {path for folder in ("hl7", "dicom") for path in (out / folder).glob("*")}
    if there - ours:
        raise ForeignFolderError(f"{out} holds files of another origin: give an empty folder by --out.")
    for path in there:
        path.unlink()
    if earlier:
        for name in (*LISTINGS, *BESIDE):
            (out / name).unlink(missing_ok=True)
