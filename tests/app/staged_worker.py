"""The real worker, which waits a moment where it is to be killed: staged_worker.py STAGE SHARE FILE.

It makes the file when its job has come to that share of the stage: of encoding or a download by bytes, else at once.
`start` is before the first event, `name` when the file has its name and nobody has been told.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import core.hub.download
import core.running.meter
import core.running.quantize
import core.running.slabs
from core.events import Done, Event, Progress
from core.jobs.worker import main

WAIT_SECONDS = 0.5


def staged(
    real: Callable[..., Iterator[Event]], stage: str, share: float, file: Path
) -> Callable[..., Iterator[Event]]:
    def is_there(event: Event) -> bool:
        if not isinstance(event, Progress):
            return stage == "name" and isinstance(event, Done)
        return event.stage == stage and (
            stage not in ("encode", "download") or event.bytes_done >= share * event.bytes_total
        )

    def wait() -> None:
        if not file.exists():
            file.touch()
            time.sleep(WAIT_SECONDS)

    def run(*args: Any, **options: Any) -> Iterator[Event]:
        if stage == "start":
            wait()
        for event in real(*args, **options):
            if is_there(event):
                wait()
            yield event

    return run


if __name__ == "__main__":
    core.running.slabs.FIRST_WEIGHTS = core.running.slabs.LEAST_WEIGHTS = 1 << 15  # a small model has many moments
    core.running.slabs.SLAB_SECONDS = 0.0
    core.running.meter.PROGRESS_SECONDS = 1e-6
    stage, share, file = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    core.running.quantize.run = staged(core.running.quantize.run, stage, share, file)  # type: ignore[assignment]
    core.hub.download.pull = staged(core.hub.download.pull, stage, share, file)  # type: ignore[assignment]
    sys.exit(main())
