"""How soon the window is there, and how long it is ever deaf while a job runs on every core.

    python -m tests.bench.window [--folder DIR] [--runs 5] [--fit]

The first figure counts from the start of the process to the first paint. The second is the longest time between two
turns of the event loop, asked for every 2 ms, while the real worker quantizes a 1B-shaped model. The last ones are the
same on the page Fit: while all well-known models are judged and ranked, while the wanted context changes, while a model
of 70 billion weights is chosen, and on the page Make while its table is worked out. `--fit` leaves the others out.
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
import gc, sys, time
from pathlib import Path
from PySide6.QtCore import QTimer
from app import window
from core import QuantizeJob
app = window.make_app([])
main = window.MainWindow(app)
main.show()
gc.freeze()
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

FIT_GAPS = """
import gc, time
from PySide6.QtCore import QEventLoop, QTimer
import core
from app import window
LARGE = "meta-llama/Llama-3.3-70B-Instruct"
app = window.make_app([])
main = window.MainWindow(app)
main.show()
gc.freeze()
gaps, before = [], [0.0]
def turn():
    now = time.perf_counter()
    gaps.append(now - before[0])
    before[0] = now
def longest(act, done):
    loop, timer, look = QEventLoop(), QTimer(), QTimer()
    timer.timeout.connect(turn)
    look.timeout.connect(lambda: loop.quit() if done() else None)
    gaps.clear()
    before[0] = time.perf_counter()
    timer.start(2)
    act()
    QTimer.singleShot(300, lambda: look.start(20))
    QTimer.singleShot(60_000, loop.quit)
    loop.exec()
    timer.stop()
    look.stop()
    return max(gaps)
def judged():
    fit = main.fit
    waits = fit._wait.isActive() or fit._soon.isActive() or any(map(main.judge.busy, ("judge", "answer")))
    return fit.detail.full is not None and not waits
def made():
    return main.make.state == "content" and not main.tasks.busy("options") and not main.judge.busy("options")
longest(lambda: None, lambda: main.machine.state == "content")
def idle(seconds):
    until = time.monotonic() + seconds
    return longest(lambda: None, lambda: time.monotonic() > until)
found = [idle(1.5), longest(lambda: main.show_page(window.FIT), judged)]
found.append(max(longest(lambda: main.fit.context.choose(c), judged) for c in ("8192", "32768", "65536", "4096")))
found.append(longest(lambda: main.fit.table.choose(LARGE), judged))
main.show_page(window.MAKE)
large = core.known_model(LARGE)
found.append(longest(lambda: main._model_opened(large), made))
found.append(max(longest(lambda: main.make.context.setValue(c), made) for c in (8192, 16384)))
print(*found)
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
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    if not options.fit:
        paint_and_job(options.folder, options.runs)
    runs = [[float(gap) for gap in python(FIT_GAPS)[1].split()] for _ in range(options.runs)]
    what = (
        "nothing to do",
        "all models judged",
        "another context",
        "70 B chosen",
        "70 B opened on Make",
        "another context on Make",
    )
    for name, each in zip(what, zip(*runs, strict=True), strict=True):
        usual = sorted(each)[len(each) // 2]
        print(f"longest gap, {name}: {min(each) * 1000:.0f} ms at best, {usual * 1000:.0f} ms usually")


def paint_and_job(where: Path | None, count: int) -> None:
    paints = []
    for _ in range(count):
        started, printed = python(FIRST_PAINT)
        paints.append(float(printed) - started)
    print(f"first paint: {min(paints):.2f} s at best, {sorted(paints)[len(paints) // 2]:.2f} s usually")
    with tempfile.TemporaryDirectory() as place:
        folder = where or Path(place) / "llama-1b-shaped"
        write_model(folder)
        for _ in range(count):
            target = Path(place) / "out.gguf"
            _, printed = python(LONGEST_GAP, str(folder), str(target))
            target.unlink(missing_ok=True)
            gap, turns, state = printed.split()
            print(f"longest gap of the event loop: {float(gap) * 1000:.0f} ms in {turns} turns, job {state}")


if __name__ == "__main__":
    main()
