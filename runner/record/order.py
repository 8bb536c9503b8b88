"""The order in which runs ended, even if the clock was set back in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from runner.record.record import RunRecord
from runner.record.uptime import Uptime


class Ending(NamedTuple):
    """When a run ended: those facts of its record that decide its place among others."""

    ended: datetime
    started: datetime
    run_id: str
    uptime: Uptime | None

    @classmethod
    def of(cls, record: RunRecord) -> Ending:
        """Return when a run ended."""
        return cls(record.ended, record.started, record.run_id, record.uptime)


def in_order(endings: Sequence[Ending]) -> list[int]:
    """Return the positions of runs in the order in which they ended.

    If two runs were made without a restart of the machine in between, the time since its start
    decides, which no change of the clock affects. The later one then counts as having ended no
    earlier than the other by the clock too, so that the order holds among other runs.
    """
    since_start = sorted(
        (ending.uptime.seconds, place)
        for place, ending in enumerate(endings)
        if ending.uptime is not None
    )
    latest: dict[str, datetime] = {}
    keys = [(ending.ended, 0.0, *ending[1:3]) for ending in endings]
    for seconds, place in since_start:
        ending = endings[place]
        assert ending.uptime is not None
        boot = ending.uptime.boot
        latest[boot] = max(ending.ended, latest.get(boot, ending.ended))
        keys[place] = (latest[boot], seconds, *ending[1:3])
    return sorted(range(len(endings)), key=keys.__getitem__)
