"""Jobs in forks of one process that has imported everything, so that many of them can be killed in a short time.

As a program it reads orders on stdin, a line of JSON each, and runs each in a fork; what is killed is a whole process.
An order may say that the process kills itself at its n-th step: a step is a call that changes something on the disk,
or a slab that is encoded, and the kill comes before or after it.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("pwrite", "fdatasync", "ftruncate", "posix_fallocate", "link", "rename", "replace", "unlink", "fsync")


class Nursery:
    """Starts jobs, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, **order: Any) -> int:
        """The id of the process that does it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def wait(self) -> list[str]:
        """What it said before its end: of each event its kind and its words, and in the end the number of steps."""
        said = []
        while (line := self._line()) != "over":
            said.append(line)
        return said

    def run(self, **order: Any) -> list[str]:
        self.start(**order)
        return self.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery ended"
        return line.strip()


def open_nursery(cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"XDG_DATA_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.core.nursery"]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def main() -> None:
    import core
    import core.running.quantize  # what the forks need is here before them

    with tempfile.TemporaryDirectory() as folder:
        list(core.run(core.QuantizeJob(str(core.sample_folder()), "Q4_K_M", f"{folder}/out.gguf")))
    for line in sys.stdin:
        if child := os.fork():
            print(child, flush=True)
            os.waitpid(child, 0)
            print("over", flush=True)
            continue
        order = json.loads(line)
        _prepare(order)
        steps = _armed(order.get("kill_at", -1), after=bool(order.get("after")), encoding=order.get("encoding", 0.0))
        job = core.QuantizeJob(**order["job"])
        try:
            _run(job, resume=order.get("resume", False), memory=order.get("memory", 0))
            print("steps", next(steps), flush=True)
        finally:
            os._exit(0)


def _run(job: Any, *, resume: bool, memory: int) -> None:
    """`memory`: bytes that there are beyond what it has taken when some is written; 0: as many as it wants."""
    import core

    for event in core.run(job, resume=resume):
        if memory and isinstance(event, core.Progress) and event.bytes_done:
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
            memory = 0
            signal.alarm(5)  # where a thread cannot even say that it has begun, Python waits for it for ever
        if not isinstance(event, core.Progress):
            said = getattr(event, "text", getattr(event, "message", ""))
            print(type(event).__name__, " ".join(said.split()), flush=True)


def _prepare(order: dict[str, Any]) -> None:
    """Small slabs and frequent syncs, so that a small model has many moments; and the Hub that is meant.

    `in_flight`: weights of a slab that is fetched, as on a line of that speed; `encoding`: seconds that it takes.
    """
    import core.hub.headers
    import core.running.encode
    import core.running.saver
    import core.running.slabs
    import core.running.stream

    core.running.saver.SYNC_SECONDS = 0.03
    core.running.slabs.FIRST_WEIGHTS = core.running.slabs.LEAST_WEIGHTS = order.get("slab", 1 << 15)
    core.running.slabs.SLAB_SECONDS = 0.0
    if weights := order.get("in_flight"):
        core.running.encode.slab_weights = lambda flights, rate=0.0: weights
    if url := order.get("url"):
        hub = core.Hub(url, Path(order["cache"]))
        core.hub.headers.connect = lambda: hub  # type: ignore[assignment]


def _armed(kill_at: int, *, after: bool, encoding: float) -> itertools.count[int]:
    import kernels

    steps = itertools.count()

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            is_last = next(steps) == kill_at
            if is_last and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = work(*args, **options)
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    encode = kernels.encode

    def encoded(*args: Any, **options: Any) -> Any:
        time.sleep(encoding)
        return encode(*args, **options)

    kernels.encode = counted(encoded)
    return steps


if __name__ == "__main__":
    main()
