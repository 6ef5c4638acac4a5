"""Marks of lives are written to and read from brokers that are coordinators, and some that are not."""

import asyncio

import pytest
from scripted_broker import NOT_COORDINATOR, OFFSET_COMMIT, OFFSET_FETCH, Cluster, Fault, scripted

from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.roster import Roster

MARKS = {0: 4, 2: 7}


@pytest.mark.parametrize("call", [OFFSET_COMMIT, OFFSET_FETCH])
def test_a_broker_that_is_no_coordinator_counts_as_away_and_ends_nobody(call: int) -> None:
    """Such as one that comes back after its groups moved."""

    def marks(cluster: Cluster) -> dict[int, int]:
        roster = Roster(cluster.settings, "raw", "lives")
        roster.timeout_s = 2
        cluster.others[call].extend([Fault(code=NOT_COORDINATOR)] * 1000)
        with pytest.raises(BrokerAwayError):
            roster.write_base(MARKS)
            roster.base()
        assert cluster.asked[call] > 0
        cluster.others[call].clear()
        roster.timeout_s = 20
        roster.write_base(MARKS)
        found = roster.base()
        roster.close()
        return found

    async def ask() -> dict[int, int]:
        async with scripted() as cluster:
            cluster.metadata(["raw"])
            return await asyncio.to_thread(marks, cluster)

    assert asyncio.run(ask()) == MARKS
