from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import start

ROOT = Path(__file__).resolve().parents[2]
FIRST_PAINT = """
import sys, time
from app import window
def begin(self):
    import os
    heavy = ("numpy", "gguf", "psutil", "torch", "numba")
    print(time.time(), [name for name in heavy if name in sys.modules], flush=True)
    os._exit(0)
window.MainWindow._begin = begin
sys.exit(window.show_window())
"""
OPEN_A_MODEL = """
import sys, time
from app import window
from core import sample_folder
app = window.make_app([])
main = window.MainWindow(app)
main.show()
main.open_path(sample_folder())
end = time.monotonic() + 20
while time.monotonic() < end and main.make.state != "content":
    app.processEvents()
    time.sleep(0.01)
main.show_page(window.MAKE)
main.make.detail.target.show_folder(sample_folder().parent.parent / "no-such-folder")
main.make.act()
while time.monotonic() < end and not main.make.banner.message:
    app.processEvents()
    time.sleep(0.01)
print(main.make.state, bool(main.make.banner.message))
print([name for name in ("torch", "numba", "transformers") if name in sys.modules])
main.close()
"""


def python(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **{name: value for name, value in changes.items() if value is not None}}
    for name in (name for name, value in changes.items() if value is None):
        environ.pop(name, None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be without a display")
def test_without_a_display_there_is_a_sentence_and_no_crash() -> None:
    result = python("-m", "app", DISPLAY=None, WAYLAND_DISPLAY=None, QT_QPA_PLATFORM=None)
    assert result.returncode == 1
    assert result.stderr.startswith("No display was found")
    assert "snug --help" in result.stderr
    assert result.stdout == ""


def test_a_display_of_any_kind_is_enough() -> None:
    assert start.display_problem({"WAYLAND_DISPLAY": "wayland-0"}, "linux") == ""
    assert start.display_problem({"DISPLAY": ":0"}, "linux") == ""
    assert start.display_problem({}, "win32") == ""
    assert start.display_problem({}, "linux") != ""


def test_a_missing_library_names_the_packages_to_install() -> None:
    words = start.library_problem(ImportError("libGL.so.1: cannot open shared object file"))
    assert "libGL.so.1" in words
    assert "apt install libgl1 libegl1" in words
    assert "libxcb-cursor0" in words


def test_a_missing_qt_says_how_to_get_it() -> None:
    words = start.library_problem(ModuleNotFoundError("No module named 'PySide6'"))
    assert "pip install PySide6-Essentials" in words


def test_libraries_for_x11_are_looked_for_only_on_x11() -> None:
    assert start.x11_problem({"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, "linux") == ""
    assert start.x11_problem({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, "linux") == ""
    assert start.x11_problem({"DISPLAY": ":0"}, "darwin") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="X11 is Linux's")
def test_a_display_that_is_not_there_is_a_sentence_and_no_crash() -> None:
    result = python("-m", "app", DISPLAY=":973", WAYLAND_DISPLAY=None, QT_QPA_PLATFORM=None)
    assert result.returncode == 1
    assert "The display :973 does not answer." in result.stderr or "A library for windows on X11" in result.stderr


def test_the_first_picture_comes_soon_and_before_the_heavy_imports() -> None:
    start_time = time.time()
    moment, modules = python("-c", FIRST_PAINT).stdout.split(" ", 1)
    assert modules.strip() == "[]"
    assert float(moment) - start_time < 2.0  # 0.3 s on a quiet machine; a busy one is given time


def test_opening_a_model_and_checking_a_job_never_loads_torch_or_numba() -> None:
    result = python("-c", OPEN_A_MODEL)
    assert result.stdout.splitlines() == ["content True", "[]"], result.stderr
