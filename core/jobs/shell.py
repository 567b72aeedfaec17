"""A job as the line that does the same in a terminal."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import fields

from core.jobs.job import Job, PullJob, QuantizeJob, ReproduceJob

# Field of the job -> option. What is in no table is an argument of its own.
_QUANTIZE = {
    "recipe": "--type",
    "target": "--out",
    "pure": "--pure",
    "imatrix": "--imatrix",
    "effort": "--effort",
    "backend": "--backend",
    "threads": "--threads",
    "overwrite": "--overwrite",
    "allow_requantize": "--allow-requantize",
    "split_max_size": "--split-max-size",
    "keep_download": "--keep-download",
    "card": "--no-card",
    "hash_source": "--hash-source",
}
_PULL = {"choice": "--file", "connections": "--connections"}
_REPRODUCE = {"source": "--source", "imatrix": "--imatrix", "threads": "--threads"}
_VERBS: dict[type[Job], tuple[str, dict[str, str]]] = {
    QuantizeJob: ("quantize", _QUANTIZE),
    PullJob: ("pull", _PULL),
    ReproduceJob: ("reproduce", _REPRODUCE),
}
# Neither cmd.exe nor PowerShell nor a program's own reading of its line makes anything else of these.
_PLAIN_ON_WINDOWS = re.compile(r"[A-Za-z0-9_.:/\\+-]+")


def command_line(job: Job, *, windows: bool = os.name == "nt") -> str:
    """The line for a POSIX shell; with `windows` for PowerShell and, but for names with $ or `, for cmd.exe."""
    words = arguments(job)
    return " ".join(map(_quoted_on_windows, words)) if windows else shlex.join(words)


def arguments(job: Job) -> list[str]:
    """The words of the line, unquoted: what is as it would be anyway is left out."""
    verb, options = _VERBS[type(job)]
    words = ["snug", verb, _no_option(job.file if isinstance(job, ReproduceJob) else job.source)]
    for field in fields(job):
        value = getattr(job, field.name)
        if field.name not in options or value == field.default:
            continue
        words += [options[field.name]] if isinstance(value, bool) else [options[field.name], str(value)]
    for recipe, target in job.also if isinstance(job, QuantizeJob) else ():
        words += ["--type", recipe, "--out", target]
    return words


def _no_option(name: str) -> str:
    """A name that begins with a hyphen is no option."""
    return os.path.join(".", name) if name.startswith("-") else name


def _quoted_on_windows(word: str) -> str:
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    if "$" in word or "`" in word:  # PowerShell replaces them within double quotes
        return "'" + word.replace("'", "''") + "'"
    ending = len(word) - len(word.rstrip("\\"))  # before the closing quote each backslash counts for half
    return f'"{word}{chr(92) * ending}"'
