"""What the journal and the syncs cost a job: the same job with them and without, in turns, in one process.

    python -m tests.bench.safety [--recipe Q4_K_M] [--folder DIR] [--runs 5]

Without: no line, no checksum, and one sync in the end, as if nothing but the whole file counted. The folder is that of
tests.bench.end_to_end.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import core
import core.running.saver
import core.running.unfinished
from core.plan import PlannedTensor
from core.running.unfinished import Unfinished
from tests.bench.end_to_end import write_model


@contextmanager
def without() -> Iterator[None]:
    """No safety but the sync in the end."""

    def put(work: Unfinished, planned: PlannedTensor, first: int, count: int, data: memoryview) -> None:
        work.file.write(work._written(planned, first, count, 0).offset, data)
        work.journal.count += 1

    with (
        mock.patch.object(Unfinished, "put", put),
        mock.patch.object(core.running.saver, "SYNC_SECONDS", 1e6),
    ):
        yield


@contextmanager
def with_all() -> Iterator[None]:
    yield


def measure(folder: Path, recipe: str) -> tuple[float, float]:
    """(seconds by the clock, seconds of processors) of one job."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        clock, cpu = time.perf_counter(), time.process_time()
        *_, last = core.run(core.QuantizeJob(str(folder), recipe, str(Path(place) / "out.gguf")))
        assert isinstance(last, core.Done), last
        return time.perf_counter() - clock, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="Q4_K_M")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = asked.folder or Path(place) / "llama-1b-shaped"
        write_model(folder)
        measure(folder, asked.recipe)
        found: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
        for _ in range(asked.runs):
            for name, way in (("without", without), ("with", with_all)):
                with way():
                    found[name].append(measure(folder, asked.recipe))
        for name, figures in found.items():
            clock, cpu = (min(column) for column in zip(*figures, strict=True))
            print(f"{name:8} {clock:.2f} s by the clock, {cpu:.2f} s of processors (best of {asked.runs})")


if __name__ == "__main__":
    main()
