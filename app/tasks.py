"""Quick core calls off the UI thread: the newest call of a kind wins, and nothing here can hold up the window."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Qt, Signal

from app.words import Problem, problem

T = TypeVar("T")


class Tasks(QObject):
    """Runs `work` in a thread of its own; in the UI thread, `done` gets the result or `failed` what went wrong.

    Calls of the same `kind` replace one another: only the newest is heard. The threads are daemons, so a folder on
    a dead network drive cannot keep the program from ending.
    """

    _ended = Signal(str, int, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._newest: dict[str, int] = {}
        self._waiting: dict[int, tuple[Callable[[Any], None], Callable[[Problem], None]]] = {}
        self._tickets = 0
        self._closed = False
        self._ended.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def run(
        self, kind: str, work: Callable[[], T], *, done: Callable[[T], None], failed: Callable[[Problem], None]
    ) -> None:
        self._tickets += 1
        ticket = self._tickets
        self._newest[kind] = ticket
        self._waiting[ticket] = (done, failed)
        Thread(target=self._work, args=(kind, ticket, work), name=f"snug-{kind}", daemon=True).start()

    def busy(self, kind: str) -> bool:
        """Whether the newest call of this kind has not been heard yet."""
        return self._newest.get(kind, 0) in self._waiting

    def drop(self, kind: str) -> None:
        """Forgets the calls of this kind: their results will not be heard."""
        self._newest.pop(kind, None)

    def close(self) -> None:
        """No result is heard after this."""
        self._closed = True
        self._waiting.clear()

    def _work(self, kind: str, ticket: int, work: Callable[[], Any]) -> None:
        result, trouble = None, None
        try:
            result = work()
        except Exception as error:
            trouble = problem(error)
        if self._closed:
            return
        try:
            self._ended.emit(kind, ticket, result, trouble)
        except RuntimeError:  # the window went away meanwhile
            return

    def _deliver(self, kind: str, ticket: int, result: Any, trouble: Problem | None) -> None:
        done, failed = self._waiting.pop(ticket, (None, None))
        if self._closed or done is None or failed is None or self._newest.get(kind) != ticket:
            return
        if trouble is None:
            done(result)
            return
        if trouble.details:
            print(trouble.details, file=sys.stderr)
        failed(trouble)
