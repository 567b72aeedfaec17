"""What the window asks the Hub, in a process of its own: no request, however slow, and no answer, however large, holds
up the window."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject

from app.desk_process import DeskProcess, desk_command
from app.words import Problem

Heard = Callable[[Any], None]
_GONE = Problem("The part of Snug that asks the Hub stopped.", "Try again.")


@dataclass(frozen=True, slots=True)
class _Waiting:
    done: Heard
    failed: Callable[[Problem], None]
    heard: Heard


class HubTasks(QObject):
    """Starts the process with the first request. Answers come by calls in the UI thread, in any order."""

    def __init__(self, parent: QObject | None = None, *, command: Sequence[str] = ()) -> None:
        super().__init__(parent)
        self._desk = DeskProcess(list(command) or desk_command("hub"), self)
        self._desk.heard.connect(self._heard)
        self._desk.gone.connect(self._gone)
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0

    def ask(
        self,
        what: str,
        values: dict[str, Any] | None = None,
        *,
        done: Heard,
        failed: Callable[[Problem], None],
        heard: Heard = lambda _: None,
    ) -> int:
        """Asks; the number is for `drop`. `heard` gets events on the way."""
        self._last += 1
        self._waiting[self._last] = _Waiting(done, failed, heard)
        self._write({"id": self._last, "ask": what, "with": values or {}})
        return self._last

    def drop(self, number: int) -> None:
        """Cancels it; nothing more is heard of it."""
        if self._waiting.pop(number, None) is not None:
            self._write({"id": number, "say": "cancel"})

    def close(self) -> None:
        """Ends the process; nothing is heard any more."""
        self._waiting.clear()
        self._desk.close()

    def _write(self, message: dict[str, Any]) -> None:
        self._desk.write(json.dumps(message).encode() + b"\n")

    def _heard(self, line: bytes) -> None:
        self._hear(json.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        waiting = self._waiting.get(said["id"])
        if waiting is None:
            return
        if "event" in said:
            waiting.heard(said["event"])
            return
        self._waiting.pop(said["id"], None)
        if "problem" in said:
            waiting.failed(Problem(said["problem"]["message"], said["problem"]["hint"]))
        else:
            waiting.done(said["answer"])

    def _gone(self) -> None:
        """The process went away by itself: whoever waits hears it, and the next request starts another."""
        waiting, self._waiting = list(self._waiting.values()), {}
        for one in waiting:
            one.failed(_GONE)
