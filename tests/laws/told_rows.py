"""The rows of a few dozen histories, one line of JSON a history: run by itself, for who compares processes."""

import sys

import broken
import law
import orjson
from histories import PLANS, Event, Plan, histories
from hypothesis import HealthCheck, Phase, given, settings
from memory import MemoryReconciler


def tell(make: law.Maker, how_many: int) -> None:
    """Print what `how_many` histories, always the same, come to in this process."""

    @given(histories(24), PLANS)
    @settings(
        max_examples=how_many,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def tried(history: tuple[Event, ...], plan: Plan) -> None:
        rows = law.played(make, history, plan)
        told = {"history": repr((history, plan)), "rows": sorted(row.decode() for row in rows.elements())}
        print(orjson.dumps(told).decode())

    tried()


if __name__ == "__main__":
    tell(getattr(broken, sys.argv[1], MemoryReconciler), int(sys.argv[2]))
