"""A worker that does what the name of its target says, so that every ending can be had on purpose.

`-preparing` compiles kernels for a long time, `-slow` works for a long time, `-stubborn` does too and will not be asked
to stop, `-killed` is killed with signal 9, `-crash` with signal 11, `-exit` leaves with code 3, `-failed` says why; any
other name is done at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def progress(step: int, total: int) -> None:
    say(
        event="progress",
        stage="encode",
        tensor=f"blk.{step % 32}.ffn_down.weight",
        tensors_done=step,
        tensors_total=total,
        bytes_done=step * 40_000_000,
        bytes_total=total * 40_000_000,
        rate=180e6,
        eta=(total - step) * 0.22,
        elapsed=step * 0.22,
    )


def work(target: Path) -> None:
    name = target.stem
    Path(f"{target}.snug-part").write_bytes(b"unfinished")
    print("not json, from a library that talks")
    print("a line for the log", file=sys.stderr, flush=True)
    if "-preparing" in name:
        say(event="note", text="Preparing kernels for this CPU (once).")
        time.sleep(20)
    progress(120, 400)
    if "-stubborn" in name:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "-slow" in name or "-stubborn" in name:
        for step in range(121, 400):
            progress(step, 400)
            time.sleep(0.05)
    for word, number in (("-killed", signal.SIGKILL), ("-crash", signal.SIGSEGV)):
        if word in name:
            os.kill(os.getpid(), number)
    if "-exit" in name:
        sys.exit(3)
    if "-failed" in name:
        say(event="failed", message="The disk filled up while writing.", hint="Free some space.")
        sys.exit(1)
    Path(f"{target}.snug-part").rename(target)
    say(event="done", result={"target": str(target), "file_bytes": 10, "seconds": 0.1})


if __name__ == "__main__":
    work(Path(json.loads(sys.stdin.readline())["target"]))
