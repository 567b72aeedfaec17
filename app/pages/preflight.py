"""The look before the leap: is there something at the target already, and can the job work at all?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core import QuantizeJob


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
