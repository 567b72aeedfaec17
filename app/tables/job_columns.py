"""The columns of the tables on the page Jobs: one row a job, and one row a tensor of a finished file."""

from __future__ import annotations

from typing import Any

from app import words
from app.job_record import JobRecord
from app.tables.row_model import Column
from app.widgets.progress_panel import fraction
from core import JobState

_UNDER_WAY = (JobState.RUNNING, JobState.PAUSED)


def chip_of(record: JobRecord) -> str:
    """The name of the chip that shows a job's state."""
    if record.ending:
        return "pausing" if record.ending == "pause" else "cancelling"
    return str(record.state)


def progress_text(record: JobRecord) -> str:
    if record.state not in _UNDER_WAY or record.progress is None:
        return ""
    return f"{words.size(record.progress.bytes_done)} of {words.size(record.progress.bytes_total)}"


JOB_COLUMNS: tuple[Column[JobRecord], ...] = (
    Column("State", lambda job: chip_of(job).capitalize(), 108, chip=chip_of),
    Column(
        "File",
        lambda job: job.name,
        200,
        tooltip=lambda job: "\n".join(map(str, job.targets or (job.target,))),
        strong=lambda job: True,
        stretch=True,
    ),
    Column("Model", lambda job: job.model, 104, tooltip=lambda job: job.job.source),
    Column("Quantization", lambda job: job.recipe, 136, tooltip=lambda job: job.recipe),
    Column(
        "Progress",
        progress_text,
        96,
        sort=lambda job: fraction(job.progress),
        fraction=lambda job: fraction(job.progress) if job.state in _UNDER_WAY and job.progress else None,
        tooltip=progress_text,
    ),
    Column("Started", lambda job: words.moment(job.started), 72, sort=lambda job: job.started or 0.0, right=True),
    Column(
        "Took",
        lambda job: "" if job.seconds is None else words.span(job.seconds),
        72,
        sort=lambda job: job.seconds or 0.0,
        right=True,
    ),
)

TensorRow = dict[str, Any]
LEVEL = 1  # the column that tells several files of a job apart


def tensor_rows(record: JobRecord) -> list[TensorRow]:
    """A row for each tensor of each file that was made."""
    return [
        {**error, "level": str(result.get("recipe", ""))}
        for result in record.made
        for error in result.get("errors") or ()
    ]


TENSOR_COLUMNS: tuple[Column[TensorRow], ...] = (
    Column("Tensor", lambda row: str(row["name"]), 220, stretch=True),
    Column("File", lambda row: row["level"], 84),
    Column("Format", lambda row: str(row["format"]), 84),
    Column("Relative error", lambda row: f"{row['rmse']:.3%}", 110, sort=lambda row: float(row["rmse"]), right=True),
    Column(
        "Largest error",
        lambda row: f"{row['max_error']:.3g}",
        110,
        sort=lambda row: float(row["max_error"]),
        right=True,
    ),
)
