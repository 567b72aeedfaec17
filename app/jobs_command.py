"""`snug jobs` and `snug report`: what the window's jobs have become, and one of them for a bug tracker."""

from __future__ import annotations

import json
import shutil
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import core
from app import report, words
from app.job_record import JobRecord, read_records

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
_ACTIONS = ("list", "show", "rm")
_LAST = "last"


def jobs(
    action: Annotated[str, typer.Argument(metavar="[list|show|rm]", help="What to do; without a word: list.")] = "list",
    id: Annotated[str, typer.Argument(metavar="[ID]", help="A job, or how its name begins; last: the newest.")] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="So many jobs at most, the newest ones.")] = 20,
    as_json: Json = False,
) -> None:
    """List the jobs of the window; show one, or remove one from the list (what it made stays)."""
    if action not in _ACTIONS:
        raise core.SnugError(f"There is no {action!r} of jobs.", f"Words: {', '.join(_ACTIONS)}.")
    if action == "list":
        _list(read_records(core.jobs_folder())[-limit:][::-1], as_json=as_json)
        return
    record = _found(id)
    if action == "rm":
        _remove(record)
    if as_json:
        print(json.dumps(values(record, whole=True), indent=2))
    elif action == "show":
        _show(record)


def report_job(
    id: Annotated[str, typer.Argument(metavar="ID", help="A job, or how its name begins; last: the newest.")] = _LAST,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="The .zip file, or a folder for it.")] = ".",
    as_json: Json = False,
) -> None:
    """Put a job into a zip for a bug tracker: events, log, machine; no tokens, no names and no folders of yours."""
    made = core.write_report(_found(id).folder, out)
    if as_json:
        print(json.dumps({"report": str(made.resolve())}))
        return
    report.out().print(Text(str(made)), soft_wrap=True)


report_job.__name__ = "report"
COMMANDS = (jobs, report_job)


def _found(id: str) -> JobRecord:
    """The one job that is called so. Raises SnugError when there is none, or several."""
    records = read_records(core.jobs_folder())
    if not id:
        raise core.SnugError("Which job?", "Give its name, or how that begins; snug jobs lists them.")
    if not records:
        raise core.SnugError("The window has made no jobs yet.", "Make a file in the window first.")
    found = records[-1:] if id == _LAST else [record for record in records if record.id.startswith(id)]
    exact = [record for record in found if record.id == id]
    if len(exact or found) != 1:
        many = f"{len(found)} jobs begin with {id}." if found else f"There is no job {id}."
        raise core.SnugError(many, "snug jobs lists them.")
    return (exact or found)[0]


def _remove(record: JobRecord) -> None:
    if not record.is_over:
        raise core.SnugError(f"{record.id} is {record.state}.", "Cancel it in the window first.")
    try:
        shutil.rmtree(record.folder.path)
    except OSError as error:
        raise core.SnugError(
            f"{record.folder.path} cannot be removed: {error.strerror or error}.", "Check its permissions."
        ) from error


def values(record: JobRecord, *, whole: bool = False) -> dict[str, Any]:
    """A job for machines; `whole`: with its settings, its notes and what it made."""
    found: dict[str, Any] = {
        "id": record.id,
        "state": record.state.value,
        "model": record.model,
        "source": record.job.source,
        "target": str(record.target),
        **({"targets": [str(target) for target in record.targets]} if len(record.targets) > 1 else {}),
        "started": record.started,
        "ended": record.ended,
        "seconds": record.seconds,
        "bytes": _size(record),
        "failure": record.failure.message if record.failure else "",
    }
    if not whole:
        return found
    more = {"notes": list(record.notes), "result": record.result, "folder": str(record.folder.path)}
    return found | {"command": core.command_line(record.job)} | more


def _size(record: JobRecord) -> int:
    results = (record.result, *record.result.get("also", ()))
    sizes = [result.get("file_bytes", result.get("bytes", 0)) for result in results]
    return sum(size for size in sizes if isinstance(size, int))


def _list(records: list[JobRecord], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"jobs": [values(record) for record in records]}, indent=2))
        return
    if not records:
        report.out().print("The window has made no jobs yet.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Job", "State", "Target", "When", "Took", "Size"):
        table.add_column(title, justify="right" if title in ("Took", "Size") else "left")
    for record in records:
        size, seconds = _size(record), record.seconds
        when = words.moment(record.ended or record.started)
        took = words.span(seconds) if seconds else ""
        table.add_row(record.id, record.state, Text(record.name), when, took, words.size(size) if size else "")
    report.out().print(table)


def _show(record: JobRecord) -> None:
    table = report.facts()
    table.add_row("Job", record.id)
    table.add_row("State", record.state)
    table.add_row("Model", Text(f"{record.model} ({record.job.source})"))
    for target in record.targets or (record.target,):
        table.add_row("Target", Text(str(target)))
    if record.started:
        table.add_row("Started", words.moment(record.started))
    if record.seconds:
        table.add_row("Took", words.span(record.seconds))
    if size := _size(record):
        table.add_row("Size", f"{words.exact(size)} ({words.size(size)})")
    if record.failure:
        table.add_row("Ended", Text(" ".join(filter(None, (record.failure.message, record.failure.hint)))))
    for note in record.notes:
        table.add_row("Note", Text(note))
    table.add_row("Command", Text(core.command_line(record.job)))
    table.add_row("Log", Text(str(record.folder.log)))
    report.out().print(table)
