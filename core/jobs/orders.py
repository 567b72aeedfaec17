"""What is said to a worker: its job in one line, and later what else is wished of it, each a line of JSON.

The first line is {"job": {...}, "folder": "...", "resume": false, "limits": {...}, "window": 0}; without a folder
nothing is kept of the run. Later lines are {"stop": "pause" | "keep" | "throw away"}, {"limits": {...}} and
{"detach": true}: work on when stdin closes. Orders that make no sense are passed over.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from core.events import checked
from core.jobs.job import Job, job_from, job_values
from core.jobs.job_folder import JobFolder
from core.running.control import Control, Limits, Stop

DETACH = {"detach": True}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job for one worker. `resume`: to go on with what an earlier one left; `window`: the process that asks, or 0."""

    job: Job
    folder: JobFolder | None = None
    resume: bool = False
    limits: Limits = field(default_factory=Limits)
    window: int = 0


def assignment_line(task: Assignment) -> bytes:
    """The line on stdin that tells a worker its job."""
    values = {
        "job": job_values(task.job),
        "folder": str(task.folder.path) if task.folder else "",
        "resume": task.resume,
        "limits": asdict(task.limits),
        "window": task.window,
    }
    return order_line(values)


def read_assignment(line: str) -> Assignment:
    """The assignment on a line. ValueError, TypeError or KeyError when it is none."""
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    folder = str(values.get("folder", ""))
    return Assignment(
        job_from(values["job"]),
        JobFolder(Path(folder)) if folder else None,
        bool(values.get("resume")),
        read_limits(values.get("limits")) or Limits(),
        int(values.get("window", 0)),
    )


def stop_order(stop: Stop) -> dict[str, Any]:
    return {"stop": str(stop)}


def limits_order(limits: Limits) -> dict[str, Any]:
    return {"limits": asdict(limits)}


def order_line(order: dict[str, Any]) -> bytes:
    return json.dumps(order).encode() + b"\n"


def obey(order: dict[str, Any], control: Control) -> None:
    """Passes on to the job what it must know of an order."""
    with suppress(ValueError, TypeError):
        control.ask(Stop(str(order.get("stop"))))
    control.limits = read_limits(order.get("limits")) or control.limits


def read_limits(values: Any) -> Limits | None:
    """The limits of such a dictionary; None when it holds none."""
    if not isinstance(values, dict):
        return None
    known = {one.name for one in fields(Limits)}
    try:
        return checked(Limits, {name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError):
        return None
