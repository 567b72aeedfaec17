"""A worker that does what the name of its target says, so that every ending can be had on purpose.

`-preparing` compiles kernels for a long time, `-slow` works for a long time, `-stubborn` does too and will not be asked
to stop, `-deaf` neither hears nor sees, `-killed` is killed with signal 9, `-crash` with signal 11, `-exit` leaves with
code 3, `-failed` says why, `-mute` writes nothing into its folder; any other name is done at once. As the real one, it
holds its folder's lock, writes its history, heeds orders on stdin and in the folder, and stops when stdin closes.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

STEPS = 400


class Fake:
    def __init__(self, task: dict[str, Any]) -> None:
        self.target = Path(task["job"].get("target") or task["job"]["source"])
        self.name = self.target.stem
        self.recipe, self.also = task["job"].get("recipe"), task["job"].get("also") or []
        self.folder = Path(task["folder"])
        self.stop, self.detached = "", False
        self.limits = task["limits"]
        self.owner = (self.folder / "owner").open("r+" if (self.folder / "owner").exists() else "w+")
        fcntl.flock(self.owner, fcntl.LOCK_EX)
        self.own(task["window"])
        self.keep({"event": "begun", "resume": task["resume"]})

    def own(self, window: int) -> None:
        data = json.dumps({"pid": os.getpid(), "window": window}).encode()
        os.pwrite(self.owner.fileno(), data, 0)
        os.ftruncate(self.owner.fileno(), len(data))

    def keep(self, event: dict[str, Any]) -> None:
        if "-mute" not in self.name:
            with (self.folder / "events.jsonl").open("a") as file:
                file.write(json.dumps({"time": time.time(), **event}) + "\n")

    def say(self, **event: Any) -> None:
        if event["event"] != "progress":
            self.keep(event)
        else:
            (self.folder / "now.json").write_text(json.dumps(event))
        try:
            print(json.dumps(event), flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def hear(self) -> None:
        for line in sys.stdin:
            self.take(json.loads(line))
        if not self.detached:
            self.stop = self.stop or "gone"

    def look(self) -> None:
        orders, read = self.folder / "orders.jsonl", 0
        while True:
            time.sleep(0.05)
            lines = orders.read_text().splitlines() if orders.exists() else []
            for line in lines[read:]:
                self.take(json.loads(line))
            read = len(lines)

    def take(self, order: dict[str, Any]) -> None:
        self.stop = order.get("stop", self.stop)
        self.limits = order.get("limits", self.limits)
        if "limits" in order:
            self.say(event="note", text=f"threads {self.limits['threads']}")
        if order.get("detach"):
            self.detached = True
            os.setsid()
            self.own(0)

    def progress(self, step: int) -> None:
        self.say(
            event="progress",
            stage="encode",
            tensor=f"blk.{step % 32}.ffn_down.weight",
            tensors_done=step,
            tensors_total=STEPS,
            bytes_done=step * 40_000_000,
            bytes_total=STEPS * 40_000_000,
            rate=180e6,
            eta=(STEPS - step) * 0.22,
            elapsed=step * 0.22,
        )

    def end_early(self) -> None:
        part = Path(f"{self.target}.snug-part")
        if self.stop == "pause":
            self.say(event="paused", message="Paused. What is done stays.")
        elif self.stop == "keep":
            self.say(event="failed", message="Cancelled. What was done is kept.", cancelled=True, resumable=True)
        elif self.stop == "throw away":
            part.unlink(missing_ok=True)
            self.say(event="failed", message="Cancelled.", cancelled=True)
        sys.exit(1)

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.stop and "-stubborn" not in self.name:
                self.end_early()
            time.sleep(0.01)

    def work(self) -> None:
        if "-deaf" not in self.name:
            threading.Thread(target=self.hear, daemon=True).start()
            threading.Thread(target=self.look, daemon=True).start()
        Path(f"{self.target}.snug-part").write_bytes(b"unfinished")
        print("not json, from a library that talks")
        print("a line for the log", file=sys.stderr, flush=True)
        if "-preparing" in self.name:
            self.say(event="note", text="Preparing kernels for this CPU (once).")
            self.wait(20)
        self.progress(120)
        if any(word in self.name for word in ("-slow", "-stubborn", "-deaf")):
            for step in range(121, STEPS):
                self.progress(step)
                self.wait(0.05)
        self.end()

    def end(self) -> None:
        for word, number in (("-killed", signal.SIGKILL), ("-crash", signal.SIGSEGV)):
            if word in self.name:
                os.kill(os.getpid(), number)
        if "-exit" in self.name:
            sys.exit(3)
        if "-failed" in self.name:
            self.say(event="failed", message="The disk filled up while writing.", hint="Free some space.")
            sys.exit(1)
        Path(f"{self.target}.snug-part").rename(self.target)
        for _, other in self.also:
            Path(other).write_bytes(b"unfinished")
        others = [{"recipe": level, "target": other, "file_bytes": 20} for level, other in self.also]
        more = {"recipe": self.recipe, "also": others} if others else {}
        self.say(event="done", result={"target": str(self.target), "file_bytes": 10, "seconds": 0.1, **more})


if __name__ == "__main__":
    task = json.loads(sys.stdin.readline())
    while "-starting" in str(task["job"].get("target")):
        time.sleep(1)
    Fake(task).work()
