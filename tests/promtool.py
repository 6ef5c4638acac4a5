"""Prometheus' own rule tester on series that were scraped, or made up."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

RULES = Path(__file__).parents[1] / "deploy" / "prometheus" / "rules.yaml"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus"
)

# A series as Prometheus writes it, and its value each minute, or each step; None where it is not there.
Series = Mapping[str, Sequence[float | None]]


def promtool(*arguments: str) -> tuple[int, str]:
    """Exit code and all it says."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def fires(
    folder: Path, alert: str, series: Series, quiet_until: int, steps: int, *, step_minutes: int = 1
) -> str:
    """Empty where the alert is quiet for the first steps and fires at some time in all of them, else why not."""
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'

    def asked(expression: str, at: int, value: int) -> dict[str, object]:
        return {
            "expr": f"count({expression}) > bool 0 or vector(0)",
            "eval_time": f"{at * step_minutes}m",
            "exp_samples": [{"labels": "{}", "value": value}],
        }

    test = {
        # JSON is YAML.
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{step_minutes}m",
        "tests": [
            {
                "interval": f"{step_minutes}m",
                "input_series": [
                    {"series": name, "values": " ".join(map(_written, values))}
                    for name, values in series.items()
                ],
                "promql_expr_test": [
                    asked(f"count_over_time({firing}[{quiet_until * step_minutes}m])", quiet_until, 0),
                    asked(f"count_over_time({firing}[{steps * step_minutes}m])", steps, 1),
                ],
            }
        ],
    }
    path = folder / f"{alert}.yaml"
    path.write_text(json.dumps(test))
    code, said = promtool("test", "rules", str(path))
    return "" if code == 0 else said


def _written(value: float | None) -> str:
    return "_" if value is None else repr(float(value)) if abs(value) < 1e15 else str(int(value))
