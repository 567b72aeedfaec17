"""`snug find --fits`: of the models found, those that run on the machine, each with its best level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import core

AT_ONCE = 6
LOOKED_AT_MOST = 10
RUNS = ("fits", "tight", "splits")


@dataclass(frozen=True, slots=True)
class Judged:
    """A row with its verdict; without one, `trouble` says why."""

    row: core.Repo
    glance: core.Glance | None
    trouble: str = ""

    @property
    def runs(self) -> bool:
        return self.glance is not None and self.glance.supported and self.glance.verdict in RUNS


def look_at(row: core.Repo, hardware: core.Hardware, wish: core.Wish) -> Judged:
    """The verdict on one row, from its headers."""
    try:
        source = core.hub_source(f"{row.id}@{row.commit}" if row.commit else row.id)
        return Judged(row, core.glance_at(source, hardware, wish=wish))
    except core.SnugError as error:
        return Judged(row, None, error.message)


def that_run(
    rows: Iterator[core.Repo], look: Callable[[core.Repo], Judged], *, limit: int
) -> tuple[list[Judged], list[Judged]]:
    """(the first `limit` that run, those that could not be looked at); looks at ten times as many at most."""
    run: list[Judged] = []
    unknown: list[Judged] = []
    rows = islice(rows, LOOKED_AT_MOST * limit)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="glance") as pool:
        while len(run) < limit and (some := list(islice(rows, 2 * AT_ONCE))):
            for judged in pool.map(look, some):
                (run if judged.runs else unknown if judged.trouble else []).append(judged)
    return run[:limit], unknown
