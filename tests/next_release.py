"""A release after this one, as docs/upgrade.md lets one be made: a copy of the code whose database has a step
more, whose view a column more, and whose order and patient events a field more."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEP = "9999_next_release.sql"


def next_release(folder: Path) -> Path:
    """Write it to the folder; returns what PYTHONPATH has to name."""
    for name in ("dosestream", "services", "schemas"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    database = folder / "dosestream" / "db"
    (database / "migrations" / STEP).write_text(
        "ALTER TABLE patient ADD COLUMN next_note text;\n"
        "ALTER TABLE imaging_order ADD COLUMN next_note text NOT NULL DEFAULT 'none';\n"
        "CREATE TABLE next_table (number integer PRIMARY KEY);\n"
    )
    views = database / "views.sql"
    text = views.read_text()
    changed = text.replace(
        "       patient_sex\nFROM {tables}.patient;", "       patient_sex, next_note\nFROM {tables}.patient;"
    )
    assert changed != text
    views.write_text(changed)
    for name in ("order", "patient"):
        schema = folder / "schemas" / f"{name}.avsc"
        document = json.loads(schema.read_text())
        document["fields"].append(
            {"name": "next_note", "type": "string", "doc": "Of the next release.", "default": ""}
        )
        schema.write_text(json.dumps(document))
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    generate = [sys.executable, "-m", "dosestream.events.generate"]
    subprocess.run(generate, env=environment, cwd=folder, check=True)
    return folder
