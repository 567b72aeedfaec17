"""The look before the leap: is there something at the target already, and can the job work at all?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app import words
from core import QuantizeJob

if TYPE_CHECKING:
    from core import ImportanceMatrix, ModelInfo


@dataclass(frozen=True, slots=True)
class Answer:
    """`exists` means that the user must be asked first; otherwise the job has passed every check."""

    job: QuantizeJob
    exists: bool = False


def look_first(job: QuantizeJob) -> Answer:
    """Runs off the UI thread. Raises SnugError when the job cannot work."""
    import core

    if Path(job.target).is_file() and not job.overwrite:
        return Answer(job, exists=True)
    core.check_job(job)
    return Answer(job)


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
