"""How soon the window is there, and how long it is ever deaf while a job runs on every core.

    python -m tests.bench.window [--folder DIR] [--runs 5]

The first figure counts from the start of the process to the first paint. The second is the longest time between two
turns of the event loop, asked for every 2 ms, while the real worker quantizes a 1B-shaped model.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.end_to_end import ROOT, write_model

FIRST_PAINT = """
import os, sys, time
from app import window
window.MainWindow._begin = lambda self: (print(time.time(), flush=True), os._exit(0))
sys.exit(window.show_window())
"""
LONGEST_GAP = """
import sys, time
from pathlib import Path
from PySide6.QtCore import QTimer
from app import window
from core import QuantizeJob
app = window.make_app([])
main = window.MainWindow(app)
main.show()
main.show_page(window.JOBS)
end = time.monotonic() + 3
while time.monotonic() < end:
    app.processEvents()
    time.sleep(0.01)
gaps, before = [], [time.perf_counter()]
def turn():
    now = time.perf_counter()
    gaps.append(now - before[0])
    before[0] = now
timer = QTimer()
timer.timeout.connect(turn)
record = main.queue.add(QuantizeJob(sys.argv[1], "Q4_K_M", sys.argv[2]))
main.queue.finished.connect(lambda id: QTimer.singleShot(500, app.quit))
before[0] = time.perf_counter()
timer.start(2)
app.exec()
print(max(gaps), len(gaps), main.queue.records()[0].state)
main.close()
"""


def python(code: str, *arguments: str) -> tuple[float, str]:
    """(moment of the start, what it printed) of a Python process with folders of its own."""
    with tempfile.TemporaryDirectory() as data:
        environment = {"QT_QPA_PLATFORM": "offscreen"} | dict(os.environ) | {"XDG_DATA_HOME": data}
        started = time.time()
        ran = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return started, ran.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    paints = []
    for _ in range(options.runs):
        started, printed = python(FIRST_PAINT)
        paints.append(float(printed) - started)
    print(f"first paint: {min(paints):.2f} s at best, {sorted(paints)[len(paints) // 2]:.2f} s usually")
    with tempfile.TemporaryDirectory() as place:
        folder = options.folder or Path(place) / "llama-1b-shaped"
        write_model(folder)
        for _ in range(options.runs):
            target = Path(place) / "out.gguf"
            _, printed = python(LONGEST_GAP, str(folder), str(target))
            target.unlink(missing_ok=True)
            gap, turns, state = printed.split()
            print(f"longest gap of the event loop: {float(gap) * 1000:.0f} ms in {turns} turns, job {state}")


if __name__ == "__main__":
    main()
