"""The look before the leap: is there something at a target already, and can the job work at all?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app import words
from core import QuantizeJob

if TYPE_CHECKING:
    from core import ImportanceMatrix, ModelInfo, Plan, Preflight


@dataclass(frozen=True, slots=True)
class Answer:
    """`there`: files about which the user must be asked first; `refused`: the job cannot work, and what would instead;
    otherwise it has passed every check.
    """

    job: QuantizeJob
    there: tuple[str, ...] = ()
    refused: Preflight | None = None


def look_first(job: QuantizeJob) -> Answer:
    """Runs off the UI thread. Raises SnugError when the job cannot work, for whatever no other way is known."""
    import core

    there = tuple(path.name for each in job.each if (path := Path(each.target)).is_file())
    if there and not job.overwrite:
        return Answer(job, there=there)
    try:
        core.check_job(job)
    except core.SnugError:
        found = core.preflight_of(job)
        if found.ok or not found.alternatives:
            raise
        return Answer(job, refused=found)
    return Answer(job)


def costs_of(job: QuantizeJob, plans: Sequence[Plan]) -> Preflight:
    """What the job would take; a plan for each target. Runs off the UI thread."""
    import core

    return core.preflight_all(job, plans)


_WAYS = {
    "recipe": "Take {value}",
    "folder": "Write to {value}",
    "threads": "Use fewer threads ({value})",
    "split": "Write parts of {value}",
    "stream": "Keep no download",
}


def way_in_words(kind: str, value: str) -> str:
    """What the button of another way says."""
    return _WAYS.get(kind, "{value}").format(value=words.path(value) if kind == "folder" else value)


def matrix_for(model: ModelInfo, file: str) -> ImportanceMatrix:
    """The importance matrix in a file. Runs off the UI thread. Raises SnugError when it is none, or another model's."""
    import core

    matrix = core.read_importance(file)
    core.check_importance(core.make_plan(model, core.find_recipe("Q4_K_M"), importance=matrix))
    return matrix


def about_matrix(matrix: ImportanceMatrix) -> str:
    """What is known of a matrix, in a sentence."""
    source = f", measured on {', '.join(matrix.datasets)}" if matrix.datasets else ""
    length = f" ({words.count(matrix.chunks, 'chunk')})" if matrix.chunks else ""
    return f"{words.count(len(matrix.means), 'tensor')}{source}{length}."
