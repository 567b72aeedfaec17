"""Tries that failed and are made again: what a person is told of them, for a line that is dead must not look busy."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

_SILENT_SECONDS = 0.5  # as long as other connections bring something, nobody misses one
_NOTICED_SECONDS = 1.5
_LONG_SECONDS = 10.0


class Retry(NamedTuple):
    """The next try, its number among those that are made, and the seconds until then; why the last one failed."""

    reason: str
    wait: float
    number: int
    tries: int

    @property
    def words(self) -> str:
        when = f"in {self.wait:.0f} s" if self.wait >= 0.5 else "now"
        return f"Trying again {when} (try {self.number} of {self.tries}): {self.reason}."


def unheard(_retry: Retry) -> None:
    """Tells nobody."""


class Retries:
    """Hears of tries from several connections, which often fail together; what there is to say of them, each once."""

    def __init__(self) -> None:
        self.is_silent = False
        self._lock = threading.Lock()
        self._words: list[str] = []
        self._came = time.monotonic()
        self._number, self._said = 0, -_LONG_SECONDS

    def came(self) -> None:
        """Bytes came."""
        self._came, self._number, self.is_silent = time.monotonic(), 0, False

    def heard(self, retry: Retry) -> None:
        now = time.monotonic()
        silent = now - self._came
        if silent + retry.wait < _NOTICED_SECONDS or (silent < _SILENT_SECONDS and retry.wait < _LONG_SECONDS):
            return
        with self._lock:
            if retry.number > self._number or now - self._said >= _LONG_SECONDS:
                self._number, self._said, self.is_silent = retry.number, now, True
                self._words.append(retry.words)

    def words(self) -> list[str]:
        """What has not been said yet."""
        with self._lock:
            words, self._words = self._words, []
        return words
