"""The worker process: one job in as a JSON line on stdin, its events out as JSON lines on stdout.

Descriptor 1 is kept for the protocol; whatever else prints goes to stderr, the job's log. When stdin closes, whoever
asked for the work is gone, and the worker stops and sweeps up, so that nothing goes on unseen. SIGTERM does the same.
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
from pathlib import Path
from typing import TextIO

from core.events import Event, Failed, to_json
from core.jobs import QuantizeJob, job_from
from core.quantize import run

GRACE_SECONDS = 2.0
NICENESS = 10


def main() -> int:
    """Runs the job that stdin names; the exit code is 0 when it was done."""
    out = _claim_stdout()
    _volunteer_for_oom()
    _step_back()
    line = sys.stdin.readline()
    try:
        job = job_from(json.loads(line))
    except (ValueError, TypeError) as error:
        return _send(out, Failed(f"The worker did not understand its job: {error}."))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_end_with_stdin, args=(stop,), daemon=True).start()
    return _work(job, out, stop)


def _work(job: QuantizeJob, out: TextIO, stop: threading.Event) -> int:
    code = 1
    try:
        for event in run(job, cancelled=stop.is_set):
            code = _send(out, event)
    except Exception as error:  # a bug: it reaches the log whole, and the window in one sentence
        traceback.print_exc()
        return _send(
            out,
            Failed(
                f"Snug made a mistake: {error!r}.",
                "Please report it with the job's log.",
                details=traceback.format_exc(),
            ),
        )
    return code


def _send(out: TextIO, event: Event) -> int:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more: stdin says so too
        out.write(json.dumps(to_json(event), ensure_ascii=False) + "\n")
        out.flush()
    return event.exit_code if isinstance(event, Failed) else 0


def _claim_stdout() -> TextIO:
    """The real stdout as a text file; descriptor 1 is made to point at stderr."""
    protocol = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(protocol, "w", encoding="utf-8")


def _volunteer_for_oom() -> None:
    """Asks Linux to end this process rather than the window when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")


def _step_back() -> None:
    """Lowers this process's priority, so that the window stays smooth while every core encodes."""
    with contextlib.suppress(AttributeError, OSError):  # Windows has no nice
        os.nice(NICENESS)


def _end_with_stdin(stop: threading.Event) -> None:
    while sys.stdin.readline():
        pass
    stop.set()
    time.sleep(GRACE_SECONDS)
    os._exit(3)
