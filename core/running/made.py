"""What a job has made: the check of a new file, and what is told of it in the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from core.cards.recipe_card import SAMPLE_ROWS
from core.errors import Cancelled, JobFailed, SnugError
from core.jobs.job import QuantizeJob
from core.model import ReadBytes
from core.paths import expanded
from core.plan import Plan
from core.running.failures import reading_failed
from core.running.split import PlannedPart, SplitFile
from core.verify import VerifyReport, verify_model


def check_apart(targets: Sequence[Sequence[PlannedPart]]) -> None:
    """Raises SnugError when two targets of one job would have a file in common."""
    seen: set[str] = set()
    for parts in targets:
        names = {os.path.normcase(os.path.realpath(part.path)) for part in parts}
        if twice := names & seen:
            raise SnugError(f"Two targets would be the same file: {min(twice)}.", "Give each a name of its own.")
        seen |= names


def several_failed(bad: Sequence[tuple[QuantizeJob, SnugError]], good: Sequence[QuantizeJob]) -> SnugError:
    """What went wrong with some targets of a job, and which ones are there."""
    error, names = bad[0][1], ", ".join(expanded(job.target).name for job in good)
    message = " ".join(f"{expanded(job.target).name}: {each.message}" for job, each in bad)
    return type(error)(message, f"{error.hint} Complete: {names}." if names else error.hint)


def as_one(results: Sequence[dict[str, Any]], job: QuantizeJob) -> dict[str, Any]:
    """What is told of several files at once: the first, with the others under `also`; {} of none."""
    first, *others = results or ({},)
    return first | ({"also": others} if job.also and first else {})


def verified(
    part: SplitFile,
    plan: Plan,
    cancelled: Callable[[], bool],
    read: ReadBytes | None,
    *,
    hashed: bool,
    looked: Callable[[int], None],
) -> VerifyReport:
    """The report of a check that found nothing wrong; `read` where the source is elsewhere. Raises SnugError for what
    is wrong, and Cancelled.
    """
    try:
        model = part.as_model(plan.model)
        report = verify_model(
            model,
            source=plan.model,
            read_source=read,
            sample_rows=SAMPLE_ROWS,
            hashed=hashed,
            cancelled=cancelled,
            looked=looked,
        )
    except SnugError as error:  # the file is ours: it is no bad input
        if error.resumable:
            raise
        if isinstance(error.__cause__, OSError):  # it is the disk that is bad, not what lies on it
            raise reading_failed(error.__cause__, error.__cause__.filename or part.parts[0].path) from error
        raise JobFailed(error.message, error.hint if read else "Check the disk, then start again.") from error
    if cancelled():
        raise Cancelled
    if report.problems:
        raise JobFailed(
            f"The new file did not pass its check: {report.problems[0]}.",
            "It was not kept. Try another level; if it stays, the source may be damaged.",
        )
    return report


def result_of(
    job: QuantizeJob, parts: Sequence[PlannedPart], plan: Plan, report: VerifyReport, seconds: float
) -> dict[str, Any]:
    """What Done says of a file."""
    paths = [planned.path.resolve() for planned in parts]
    return {
        "target": str(paths[0]),
        "parts": [path.name for path in paths],
        "recipe": plan.recipe.name,
        "effort": job.effort,
        "imatrix": job.imatrix,
        "notes": [*plan.model.notes, *plan.notes],
        "file_bytes": report.file_bytes,
        "source_bytes": plan.model.source_bytes,
        "parameters": plan.model.parameters,
        "bits_per_weight": plan.bits_per_weight,
        "seconds": seconds,
        "weights_per_second": plan.model.parameters / seconds,
        "formats": report.formats,
        "tensors": report.tensors,
        "errors": [
            {"name": e.name, "format": e.format, "rmse": e.rmse, "max_error": e.max_error} for e in report.errors
        ],
        "sha256": dict(report.sha256),
    }
