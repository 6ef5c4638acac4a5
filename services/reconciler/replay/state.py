"""What a build remembers in its folder: the stages that are finished, and what they found."""

import hashlib
import os
import pickle
import shutil
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dosestream.reconcile.rules import Rules
from services.reconciler.replay.plan import BuildPlan, StageCost

NAME = "build.state"


def fingerprint(plan: BuildPlan, rules: Rules) -> str:
    """What tells whether a build that is begun is the same as one that was interrupted."""
    told = asdict(plan) | {"work": "", "workers": 0, "reading": getattr(plan.reading, "__qualname__", "")}
    for name in ("stops", "ledger"):
        told[name] = sorted((getattr(plan, name) or {}).items())
    return hashlib.sha256(
        repr((version("dosestream"), rules.hash, sorted(told.items()))).encode()
    ).hexdigest()


@dataclass
class State:
    """Finished stages with what each found, and what it cost."""

    folder: Path
    fingerprint: str
    found: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, StageCost] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, mark: str) -> "State":
        """The state of the same build that was interrupted; else a new one, in an empty folder."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            known: State = pickle.loads((folder / NAME).read_bytes())
            if known.fingerprint == mark:
                known.folder = folder
                return known
        except (OSError, EOFError, pickle.UnpicklingError, AttributeError):
            pass
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        return cls(folder, mark)

    def finish(self, stage: str, found: Any, cost: StageCost) -> None:
        """Remember that a stage is finished."""
        self.found[stage], self.costs[stage] = found, cost
        path = self.folder / f"{NAME}.new"
        with path.open("wb") as file:
            file.write(pickle.dumps(self))
            file.flush()
            os.fsync(file.fileno())
        path.replace(self.folder / NAME)
