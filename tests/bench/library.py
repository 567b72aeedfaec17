"""The page Library with many models: how long until they are listed, and the longest gap of the window's event loop.

python -m tests.bench.library [--files N]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.core.library.stores import gguf_bytes, put

ROOT = Path(__file__).resolve().parents[2]
WATCH = """
import sys, time
from PySide6.QtCore import QTimer
from app.window import LIBRARY, MainWindow, make_app
app = make_app([])
window = MainWindow(app)
window.show()
end = time.monotonic() + 2
while time.monotonic() < end:
    app.processEvents()
gaps, last = [], [time.monotonic()]
def beat():
    now = time.monotonic()
    gaps.append(now - last[0])
    last[0] = now
timer = QTimer(interval=0)
timer.timeout.connect(beat)
timer.start()
page = window.library
def measured(act, until):
    gaps.clear()
    last[0] = began = time.monotonic()
    act()
    while not until() and time.monotonic() - began < 120:
        app.processEvents()
    took = time.monotonic() - began
    end = time.monotonic() + 1
    while time.monotonic() < end:
        app.processEvents()
    return f"{took:.2f} {max(gaps):.4f}"
print(measured(lambda: window.show_page(LIBRARY), lambda: page.state == "content"), len(page.rows.rows))
print(measured(page.refresh, lambda: not window.tasks.busy("library")))
for text in ("4", "49", ""):
    print(measured(lambda: page.filter.setText(text), lambda: True))
print(measured(lambda: page.table.sortByColumn(3, page.table.horizontalHeader().sortIndicatorOrder()), lambda: True))
window.close()
"""
NAMES = ("first look", "look again", "filter: one letter", "filter: two letters", "filter cleared", "sort by size")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for number in range(options.files):
            put(Path(place) / "models" / f"m{number // 100}" / f"model-{number}.gguf", gguf_bytes(number))
        settings = Path(place) / "snug" / "settings.json"
        put(settings, f'{{"library_folders": ["{Path(place) / "models"}"]}}')
        own = {"QT_QPA_PLATFORM": "offscreen", "XDG_DATA_HOME": place, "XDG_CONFIG_HOME": place, "HOME": place,
               "XDG_CACHE_HOME": str(Path(place) / "cache"), "HF_HOME": str(Path(place) / "hf")}  # fmt: skip
        ran = subprocess.run(
            [sys.executable, "-c", WATCH], cwd=ROOT, env=dict(os.environ) | own, capture_output=True, text=True
        )
    if ran.returncode:
        sys.exit(ran.stderr)
    for name, line in zip(NAMES, ran.stdout.splitlines(), strict=True):
        took, gap, *count = line.split()
        models = f", {count[0]} models" if count else ""
        print(f"{name:20} {float(took):6.2f} s   longest gap {float(gap) * 1000:5.0f} ms{models}")


if __name__ == "__main__":
    main()
