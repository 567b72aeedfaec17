"""What the tests of the window share: the window itself, with a worker that does as it is told or with the real one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from pytestqt.qtbot import QtBot

from app.job_queue import Closing
from app.window import MainWindow, make_app
from core import QuantizeJob, sample_folder

FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))

MakeWindow = Callable[..., MainWindow]


@pytest.fixture
def fake_worker() -> tuple[str, ...]:
    """The command of a worker that does what the name of its target says."""
    return FAKE_WORKER


@pytest.fixture
def no_memory_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has ended nobody for lack of memory, whatever it does meanwhile to processes of other tests."""
    monkeypatch.setattr("app.worker_process.memory_kills", lambda: 0)


@pytest.fixture
def job_for(tmp_path: Path) -> Callable[[str], QuantizeJob]:
    """A job whose target has this name, in a folder of the test's own."""
    return lambda name: QuantizeJob(source=str(sample_folder()), recipe="Q4_K_M", target=str(tmp_path / f"{name}.gguf"))


def stop(window: MainWindow) -> None:
    window.tasks.close()
    window.hub.close()
    window.judge.close()
    window.queue.close(Closing.CANCEL)


@pytest.fixture
def make_window(qtbot: QtBot) -> Iterator[MakeWindow]:
    """Shows a window; every one is closed without a question and gone at the end: a new style reaches all there are."""

    def make(*, worker_command: tuple[str, ...] = FAKE_WORKER) -> MainWindow:
        window = MainWindow(make_app([]), worker_command=worker_command)
        qtbot.addWidget(window, before_close_func=stop)
        with qtbot.waitActive(window):
            window.show()
            window.activateWindow()
        return window

    yield make
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def window(make_window: MakeWindow) -> MainWindow:
    return make_window()
