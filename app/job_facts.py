"""What is to be known of a job in words: what it shall make, what came of it, and of each file what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app import words
from app.job_record import JobRecord
from app.reproduction import difference_of, reasons_of, verdict_of
from core import JobState, PullJob, QuantizeJob, ReproduceJob

Fact = tuple[str, str]
_MOST_NAMED = 5  # tensors that differ
_COMPARED = {"tensors", "equal", "file_equal", "differing", "keys", "reasons"}


def facts_of(record: JobRecord) -> list[Fact]:
    """What came of a job; of one that is not over, which files it shall make, if there are several."""
    if record.failure is not None:
        facts = [("What happened", record.failure.message), ("What to do", record.failure.hint), *_files(record)]
    elif not isinstance(record.job, QuantizeJob):
        told = _download if isinstance(record.job, PullJob) else _compared
        facts = told(record) if record.result else []
    elif record.state != JobState.DONE:
        facts = _targets(record)
    elif record.job.also:
        facts = [*_files(record), *_job(record, record.job)]
    else:
        facts = [*_file(record.result, str(record.target)), *_job(record, record.job)]
    return [fact for fact in facts if fact[1]]


def headline(record: JobRecord) -> str:
    """How a job that is over ended, in a sentence."""
    if record.failure is not None:
        return record.failure.message
    compared = _compared(record) if isinstance(record.job, ReproduceJob) else []
    return compared[0][1] if compared else "It is whole and checked."


def _file(result: dict[str, Any], target: str) -> list[Fact]:
    """All there is to know of the one file of a job."""
    formats = ", ".join(f"{count} {name}" for name, count in (result.get("formats") or {}).items())
    return [
        ("File", words.path(result.get("target", target))),
        ("Size", f"{words.size(result.get('file_bytes', 0))}, {words.exact(int(result.get('file_bytes', 0)))}"),
        ("Bits a weight", f"{float(result.get('bits_per_weight', 0)):.2f}"),
        ("Worst tensor", _worst(result)),
        ("Tensors", formats),
    ]


def _files(record: JobRecord) -> list[Fact]:
    """A line for each of several files that are made, then what they take together and where they are."""
    if not record.made or not record.targets[1:]:
        return []
    folders = dict.fromkeys(words.path(target.parent) for target in record.targets)
    size = sum(int(result.get("file_bytes", 0)) for result in record.made)
    return [
        *((str(result.get("recipe") or "File"), _line(result)) for result in record.made),
        ("Together", f"{words.size(size)}, {words.exact(size)}"),
        ("Folder", "\n".join(folders)),
    ]


def _line(result: dict[str, Any]) -> str:
    worst = _worst(result)
    parts = [
        Path(str(result.get("target", ""))).name,
        words.size(int(result.get("file_bytes", 0))),
        f"{float(result.get('bits_per_weight', 0)):.2f} bits a weight",
        f"worst tensor {worst}" if worst else "",
    ]
    return ", ".join(filter(None, parts))


def _worst(result: dict[str, Any]) -> str:
    worst = max(result.get("errors") or [], key=lambda error: float(error["rmse"]), default=None)
    return f"{worst['name']}, off by {worst['rmse']:.2%}" if worst else ""


def _targets(record: JobRecord) -> list[Fact]:
    """Which files shall be made, where the name of the job names only one of several."""
    if not isinstance(record.job, QuantizeJob) or not record.job.also:
        return []
    return [(each.recipe, words.path(each.target)) for each in record.job.each]


def _job(record: JobRecord, job: QuantizeJob) -> list[Fact]:
    """What all files of a job that is done have in common."""
    return [
        ("Checked", "Whole and finite; sampled against the source"),
        ("Search", "Longer, for less error" if job.effort == "best" else ""),
        ("Importance", words.path(job.imatrix) if job.imatrix else ""),
        ("Took", words.span(record.seconds or 0.0)),
    ]


def _compared(record: JobRecord) -> list[Fact]:
    result = record.result
    if not result.keys() >= _COMPARED:
        return []
    differing = [difference_of(entry) for entry in result["differing"]]
    more = f"and {len(differing) - _MOST_NAMED} more" if len(differing) > _MOST_NAMED else ""
    return [
        ("Result", verdict_of(result)),
        ("File", words.path(record.target)),
        ("Made of", words.path(result.get("source", ""))),
        ("Differs", "\n".join(filter(None, [*differing[:_MOST_NAMED], more]))),
        ("Keys", ", ".join(result["keys"])),
        ("Why", "\n".join(reasons_of(result))),
        ("SHA-256", result.get("sha256", "")),
        ("Took", words.span(record.seconds or 0.0)),
    ]


def _download(record: JobRecord) -> list[Fact]:
    result = record.result
    return [
        ("Model", record.model),
        ("Folder", words.path(str(result.get("folder", "")))),
        ("Size", words.size(float(result.get("bytes", 0)))),
        ("Fetched", words.size(float(result.get("fetched", 0)))),
        ("Checked", "Every file has the hash that the Hub names"),
        ("Took", words.span(record.seconds or 0.0)),
    ]
