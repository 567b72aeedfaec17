"""What a running job is told from outside: to stop, and what then becomes of its work; and the limits it keeps to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

_TICK_SECONDS = 0.02


class Stop(StrEnum):
    """How a job is asked to end early."""

    PAUSE = "pause"  # what is done stays, and the job goes on later
    KEEP = "keep"  # cancelled, but what is done stays for whoever wants to go on
    THROW_AWAY = "throw away"  # cancelled, and nothing of it stays


@dataclass(frozen=True, slots=True)
class Limits:
    """0 is no limit: `threads` that encode, `memory` in bytes, `bandwidth` in bytes a second from the network.

    `niceness` as Unix counts it, 0 to 19; `only_on_mains`: wait while the machine runs on its battery.
    """

    threads: int = 0
    memory: int = 0
    bandwidth: int = 0
    niceness: int = 10
    only_on_mains: bool = False


class Control:
    """The orders a job has at this moment. Any thread may give them, and a signal's handler, for there are no locks;
    the job looks many times a second.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()  # replaced as a whole
        self.hold = False  # while True, the job begins nothing new
        self._stop: Stop | None = None

    @property
    def stop(self) -> Stop | None:
        return self._stop

    def ask(self, stop: Stop) -> None:
        """Asks the job to end. Who asked to keep the work may still throw it away; nothing thrown away is kept."""
        if self._stop is not Stop.THROW_AWAY:
            self._stop = stop

    def is_stopped(self) -> bool:
        return self._stop is not None

    def wait(self, seconds: float) -> bool:
        """Sleeps, but not longer than until someone asks for the end; True when someone has."""
        until = time.monotonic() + seconds
        while self._stop is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(_TICK_SECONDS, left))
        return self._stop is not None
