"""How long looking at the machine takes, and whether the window feels it: python -m tests.bench.machine"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")

from core.hardware import detect
from core.hardware.measure import disk_speed, memory_bandwidth
from core.paths import cache_folder


def timed(work: Callable[[], object], *, times: int = 20) -> str:
    """Milliseconds, wall and of the processor: the best and the middle of `times`."""
    walls, processors = [], []
    for _ in range(times):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(1000 * (time.perf_counter() - wall))
        processors.append(1000 * (time.process_time() - processor))
    return (
        f"{min(walls):.1f} ms best, {statistics.median(walls):.1f} ms middle; "
        f"{statistics.median(processors):.1f} ms of the processor"
    )


def gaps(seconds: float) -> str:
    """The longest time between two rounds of the event loop, with the page Machine looking and without."""
    from PySide6.QtCore import QTimer

    from app.window import MainWindow, make_app

    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="snug-bench-")
    app = make_app(["bench"])
    window = MainWindow(app)
    window.show()
    end = time.monotonic() + 2
    while window.machine.state != "content" and time.monotonic() < end:
        app.processEvents()

    def longest(work: Callable[[], object] | None, every: int) -> float:
        ticks: list[float] = []
        timer, worker = QTimer(interval=2), QTimer(interval=every)
        timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
        if work:
            worker.timeout.connect(work)
            worker.start()
        timer.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            app.processEvents()
            time.sleep(0.0005)
        timer.stop()
        worker.stop()
        return 1000 * max(later - sooner for sooner, later in pairwise(ticks))

    window.machine._timer.stop()
    window.machine._later.stop()
    idle = longest(None, 1000)
    looking = longest(window.machine.refresh, 200)
    measuring = longest(window.machine._measure, 500)
    window.close()
    return f"idle {idle:.1f} ms; looking five times a second {looking:.1f} ms; measuring once {measuring:.1f} ms"


def main() -> None:
    # First, for the first measurement of a process also loads numpy.
    print("longest gap of the event loop:", gaps(3.0))
    detect()
    print("detection:", timed(detect))
    memory = detect().memory.available
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_bandwidth(threads, available=memory)
    print("memory bandwidth:", timed(lambda: memory_bandwidth(threads, available=memory), times=8))
    found = [memory_bandwidth(threads, available=memory) / 1e9 for _ in range(8)]
    print(f"  {statistics.median(found):.1f} GB/s, from {min(found):.1f} to {max(found):.1f}")
    print("disk:", timed(lambda: disk_speed(Path(cache_folder())), times=3))


if __name__ == "__main__":
    main()
