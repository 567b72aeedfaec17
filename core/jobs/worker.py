"""The worker process: one job in as a JSON line on stdin, its events out as JSON lines on stdout.

Descriptor 1 is kept for the protocol; whatever else prints goes to stderr, the job's log. The worker owns the job's
folder while it runs, and writes its history there itself, so that nothing is lost whoever else goes away. When stdin
closes, whoever asked for the work is gone: unless it has said that the work shall go on, the worker stops, and what is
done stays for the next one. SIGTERM does the same. Until its first Progress a job has written nothing of its files, and
what an earlier run has left is as it was or can be found again: until then a worker may be ended without being asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from core.events import Begun, Done, Event, Failed, Note, Paused, Progress, to_json
from core.jobs.job import PullJob, ReproduceJob
from core.jobs.job_folder import JobFolder, Owner, name_owner
from core.jobs.orders import Assignment, obey, read_assignment
from core.jobs.power import on_mains, seconds_asleep, set_niceness
from core.running.control import Control, Stop
from core.running.lock import Lock

GRACE_SECONDS = 5.0
LOOK_SECONDS = 0.25
POWER_SECONDS = 1.0
CLAIM_SECONDS = 1.0
SHOW_SECONDS = 0.5
KEEP_SECONDS = 10.0
LEAST_SLEEP = 5.0
WINDOW_GONE = Note("The window went away. What is done stays, and the next start of Snug goes on from there.")
BUSY = Failed("Another process works on this job already.", "Wait for it, or look for another window of Snug.")
_ENDINGS = Done | Failed | Paused


def main() -> int:
    """Runs the job that stdin names; the exit code is 0 when it was done."""
    out = _claim_stdout()
    _volunteer_for_oom()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the window's terminal: the window goes, and stdin says so
    try:
        task = read_assignment(sys.stdin.readline())
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return Worker(None, out).tell(Failed(f"The worker did not understand its job: {error!r}."))
    return Worker(task.folder, out).work(task)


class Worker:
    """Tells what happens, to the folder and to stdout, and hears what is asked, by stdin and by the folder."""

    def __init__(self, folder: JobFolder | None, out: TextIO) -> None:
        self.control = Control()
        self._folder, self._out = folder, out
        self._lock: Lock | None = None
        self._telling = threading.Lock()
        self._shown = self._kept = 0.0
        self._detached = self._is_alone = False

    def work(self, task: Assignment) -> int:
        self.control.limits = task.limits
        if self._folder is not None and (refusal := self._claimed(self._folder, task)) is not None:
            return self._send(refusal)
        set_niceness(task.limits.niceness)
        self._look_at_power()
        # Not in the handler itself, which may interrupt a thread that holds the lock it would need.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self._left_alone).start())
        for watch in (self._hear, self._look):
            threading.Thread(target=watch, daemon=True).start()
        try:
            return self._run(task)
        finally:
            if self._lock is not None:
                self._lock.release()

    def _claimed(self, folder: JobFolder, task: Assignment) -> Event | None:
        """Takes the folder; else the event that says why this job is not to be run."""
        until = time.monotonic() + CLAIM_SECONDS  # who only looks whether it is held holds it for a moment
        try:
            while (lock := folder.claim(Owner(os.getpid(), task.window))) is None:
                if time.monotonic() > until:
                    return BUSY
                time.sleep(LOOK_SECONDS / 10)
        except OSError as error:
            return Failed(
                f"The job's folder {folder.path} cannot be used: {error.strerror or error}.", "Check the disk."
            )
        self._lock = lock
        ended = next((event for _, event in reversed(folder.events()) if isinstance(event, _ENDINGS)), None)
        if ended is not None and not task.resume:
            return ended  # somebody was faster, and cancelled it
        with contextlib.suppress(OSError):
            folder.settle()
        with contextlib.suppress(OSError):
            folder.append(Begun(task.resume), sync=True)
        return None

    def _run(self, task: Assignment) -> int:
        code = 1
        try:
            for event in _events(task, self.control):
                code = self.tell(event)
        except Exception as error:  # a bug: it reaches the log whole, and the window in one sentence
            traceback.print_exc()
            message, hint = f"Snug made a mistake: {error!r}.", "Please report it with the job's log."
            return self.tell(Failed(message, hint, details=traceback.format_exc()))
        return code

    # What is told

    def tell(self, event: Event) -> int:
        """Puts the event into the folder and on stdout; gives the exit code that it stands for."""
        with self._telling:
            if isinstance(event, Paused) and self._is_alone:
                event = WINDOW_GONE  # no ending: nobody wished for one
            with contextlib.suppress(OSError):  # a full disk must not end the job
                self._note(event)
            return self._send(event)

    def _note(self, event: Event) -> None:
        if self._folder is None:
            return
        if not isinstance(event, Progress):
            self._folder.append(event, sync=isinstance(event, _ENDINGS))
            return
        now = time.monotonic()
        if now - self._shown >= SHOW_SECONDS:
            self._shown = now
            self._folder.show_progress(event)
        if now - self._kept >= KEEP_SECONDS or not self._kept:
            self._kept = now
            self._folder.append(event)

    def _send(self, event: Event) -> int:
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more: stdin says so too
            self._out.write(json.dumps(to_json(event), ensure_ascii=False) + "\n")
            self._out.flush()
        return event.exit_code if isinstance(event, Failed) else 0

    # What is heard

    def _hear(self) -> None:
        """Orders on stdin until it closes."""
        for line in sys.stdin:
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(order := json.loads(line), dict):
                    self._take(order)
        if not self._detached:
            self._left_alone()
            time.sleep(GRACE_SECONDS)
            os._exit(3)

    def _take(self, order: dict[str, object]) -> None:
        before = self.control.limits.niceness
        obey(order, self.control)
        if self.control.limits.niceness != before and not set_niceness(self.control.limits.niceness):
            self.tell(Note("The system does not let a running job take a higher priority; the next one will have it."))
        if order.get("detach"):
            self._detach()

    def _detach(self) -> None:
        self._detached = True
        with contextlib.suppress(OSError, AttributeError):
            os.setsid()  # the end of the terminal is not ours
        if self._lock is not None:
            with contextlib.suppress(OSError):
                name_owner(self._lock, Owner(os.getpid(), 0))

    def _left_alone(self) -> None:
        self._is_alone = self._is_alone or self.control.stop is None
        self.control.ask(self.control.stop or Stop.PAUSE)

    def _look(self) -> None:
        """What is asked through the folder, and what becomes of the machine, four times a second."""
        offset = self._folder.orders_end() if self._folder is not None else 0
        asleep, looked = seconds_asleep(), time.monotonic()
        while True:
            time.sleep(LOOK_SECONDS)
            if self._folder is not None:
                orders, offset = self._folder.orders_after(offset)
                for order in orders:
                    self._take(order)
            if time.monotonic() - looked >= POWER_SECONDS:
                looked = time.monotonic()
                self._look_at_power()
            if (slept := seconds_asleep()) - asleep > LEAST_SLEEP:
                self.tell(Note(f"The machine slept for {_minutes(slept - asleep)}; the work went on after it."))
            asleep = max(asleep, slept)

    def _look_at_power(self) -> None:
        hold = self.control.limits.only_on_mains and not on_mains()
        if hold and not self.control.hold:
            self.tell(Note("The machine runs on its battery: the work waits for mains power."))
        self.control.hold = hold


def _events(task: Assignment, control: Control) -> Iterator[Event]:
    if isinstance(task.job, PullJob):
        return _pull(task.job, control)
    if isinstance(task.job, ReproduceJob):
        from core.cards.reproduce import reproduce

        return reproduce(task.job, control, resume=task.resume)
    from core.running.quantize import run

    return run(task.job, control=control, resume=task.resume)


def _pull(job: PullJob, control: Control) -> Iterator[Event]:
    """A download always goes on where it was; what it leaves is thrown away only when that was asked for."""
    from core.hub.download import drop_download, pull

    events = pull(
        job,
        cancelled=control.is_stopped,
        paused=lambda: control.hold,
        bandwidth=lambda: control.limits.bandwidth,
    )
    for event in events:
        if isinstance(event, Failed) and event.cancelled and control.stop == Stop.PAUSE:
            yield Paused("Paused. What has been downloaded is kept.")
        elif isinstance(event, Failed) and event.cancelled and control.stop == Stop.THROW_AWAY:
            drop_download(job)
            yield Failed("Cancelled. What was downloaded of it is gone.", cancelled=True)
        else:
            yield event


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _claim_stdout() -> TextIO:
    """The real stdout as a text file; descriptor 1 is made to point at stderr."""
    protocol = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(protocol, "w", encoding="utf-8")


def _volunteer_for_oom() -> None:
    """Asks Linux to end this process rather than the window when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")
