"""What the page Fit asks of the process that judges models: the newest request of a kind wins, as with Tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Any

from PySide6.QtCore import QObject

from app.desk_process import DeskProcess, desk_command
from app.fit_lines import packed, unpacked
from app.words import Problem

Heard = Callable[[Any], None]
_GONE = Problem("The part of Snug that judges models stopped.", "Change what you ask, and it starts again.")


@dataclass(frozen=True, slots=True)
class _Waiting:
    number: int
    done: Heard
    failed: Callable[[Problem], None]
    row: Heard


class FitTasks(QObject):
    """Starts the process with the first request. Answers come by calls in the UI thread."""

    def __init__(self, parent: QObject | None = None, *, command: Sequence[str] = ()) -> None:
        super().__init__(parent)
        self._desk = DeskProcess(list(command) or desk_command("judge"), self)
        self._desk.heard.connect(self._heard)
        self._desk.gone.connect(self._gone)
        self._desk.started.connect(_begin_preparing)
        self._waiting: dict[str, _Waiting] = {}
        self._last = 0

    def ask(
        self,
        what: str,
        values: dict[str, Any],
        *,
        done: Heard,
        failed: Callable[[Problem], None],
        row: Heard = lambda _: None,
    ) -> None:
        """Asks; what was asked of the same kind before is heard no more."""
        self._last += 1
        self._waiting[what] = _Waiting(self._last, done, failed, row)
        self._desk.write(packed(self._last, what, values))

    def busy(self, what: str) -> bool:
        return what in self._waiting

    def close(self) -> None:
        """Ends the process; nothing is heard any more."""
        self._waiting.clear()
        self._desk.close()

    def _heard(self, line: bytes) -> None:
        self._hear(*unpacked(line))

    def _hear(self, number: int, kind: str, value: Any) -> None:
        what = next((what for what, waiting in self._waiting.items() if waiting.number == number), "")
        if not what:
            return
        waiting = self._waiting[what]
        if kind == "row":
            waiting.row(value)
            return
        del self._waiting[what]
        if kind == "done":
            waiting.done(value)
        else:
            waiting.failed(value)

    def _gone(self) -> None:
        """The process went away by itself: whoever waits hears it, and the next request starts another."""
        waiting, self._waiting = list(self._waiting.values()), {}
        for one in waiting:
            one.failed(_GONE)


def _begin_preparing() -> None:
    Thread(target=_prepare, name="snug-fit-prepare", daemon=True).start()


def _prepare() -> None:
    """Imports what the answers are made of, so that the first one does not hold up the window."""
    import core

    for name in ("Answer", "Calibration", "Hardware", "Want"):
        getattr(core, name)
