"""How fast a thread encodes each format: as a benchmark found it, or as this machine's own jobs did, in a small file.

A kind of work is a text: the format, then what makes it slower ("weighted", "best", "reference", "decoded").
Units are weights; of what is only copied, bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.jobs.job import QuantizeJob
from core.model import FLOATS as SOURCE_FLOATS
from core.paths import data_folder
from core.plan import Plan, PlannedTensor
from core.recipes import FLOATS
from core.rows import can_copy

COPY = "copy"
# Millions of weights a second and core, on a core of an EPYC (Zen 4) with AVX-512, from what is in its cache: exact,
# exact with importance, best, best with importance. `python -m tests.bench.kernels` measures the first two anew.
_SPEEDS: Mapping[str, tuple[float, float, float, float]] = {
    "F32": (11800, 11800, 11800, 11800), "F16": (7200, 7200, 7200, 7200), "BF16": (16800, 16800, 16800, 16800),
    "Q4_0": (3960, 387, 74, 62), "Q4_1": (3670, 114, 102, 53), "Q5_0": (3750, 392, 48, 48),
    "Q5_1": (3340, 116, 57, 41), "Q8_0": (4660, 4660, 81, 81), "Q2_K": (220, 103, 60, 52),
    "Q3_K": (756, 359, 225, 130), "Q4_K": (191, 114, 59, 50), "Q5_K": (239, 113, 56, 45),
    "Q6_K": (404, 370, 104, 105), "IQ2_XXS": (12.9, 12.9, 6.2, 6.2), "IQ2_XS": (8.2, 8.2, 4.7, 4.7),
    "IQ3_XXS": (9.3, 9.3, 4.4, 4.3), "IQ1_S": (45, 45, 11, 11), "IQ4_NL": (130, 119, 26, 26),
    "IQ3_S": (15.8, 15.6, 6.4, 6.2), "IQ2_S": (20, 18.6, 7.9, 8.7), "IQ4_XS": (125, 102, 32, 31),
    "IQ1_M": (34, 34, 10.7, 10.7), "TQ1_0": (4510, 4510, 102, 102), "TQ2_0": (5940, 5940, 126, 126),
    "MXFP4": (1160, 1160, 228, 228), "NVFP4": (835, 835, 125, 125), "Q1_0": (6400, 6400, 520, 520),
    "Q2_0": (3950, 3950, 75, 75),
}  # fmt: skip
_SPEED_ELSE = (100, 60, 30, 25)
_REFERENCE = 45.0  # times slower than the lanes; the plainest formats far more, yet those cost little anyway
_MEMORY = 1000e6  # weights a second that a core brings in from the source and out to the file
_COPIED = 4e9  # bytes a second
_DECODED = 250e6  # weights a second that are unpacked first
# What other processors reach of that, by the widest instructions that they have.
_OF_THAT = (("AVX512", 1.0), ("AVX2", 0.6), ("NEON", 0.35), ("", 0.25))
WRITE_RATE, VERIFY_RATE = 1e9, 1.5e9  # bytes of the file a second, synced and checked

_LEAST_UNITS, _LEAST_SECONDS = 1 << 24, 0.02  # what is smaller says more about starting than about speed
_NEW = 0.5  # the share of the newest job in what is remembered
_SANE = (1e3, 1e13)


@dataclass(frozen=True, slots=True)
class Speeds:
    """Units a second and thread by kind of work, as jobs on this machine did, waiting for its disks included.

    `write` and `verify` are bytes of the file a second; 0 where nobody has measured.
    """

    speeds: Mapping[str, float] = field(default_factory=dict)
    write: float = 0.0
    verify: float = 0.0

    def of(self, kind: str, *, instructions: Iterable[str] = ()) -> float:
        """Units a second and thread: measured, else by the benchmark."""
        return self.speeds.get(kind) or usual_speed(kind, instructions)


def kind_of(planned: PlannedTensor, plan: Plan, job: QuantizeJob) -> str:
    """The kind of work that a tensor is."""
    if can_copy(planned.tensor, planned.format):
        return COPY
    tensor = planned.tensor
    weighted = bool(plan.importance and planned.format not in FLOATS and plan.importance.of(tensor) is not None)
    packed = any(source.packed or source.dtype not in SOURCE_FLOATS for source in tensor.sources)
    marks = {"weighted": weighted, "best": job.effort == "best", "reference": job.backend == "reference"}
    return " ".join((planned.format, *(name for name, on in (marks | {"decoded": packed}).items() if on)))


def units_of(planned: PlannedTensor, kind: str, rows: int) -> int:
    """How many units so many rows of it are."""
    return planned.nbytes * rows // planned.tensor.rows if kind == COPY else planned.tensor.columns * rows


def usual_speed(kind: str, instructions: Iterable[str] = ()) -> float:
    """Units a second and core as the benchmark has it, for a processor with `instructions` (none given: AVX-512)."""
    if kind == COPY:
        return _COPIED
    format_name, *marks = kind.split()
    row = _SPEEDS.get(format_name, _SPEED_ELSE)
    rate = row[("weighted" in marks) + 2 * ("best" in marks)] * 1e6 * _share_of(tuple(instructions))
    rate /= _REFERENCE if "reference" in marks else 1
    return 1 / (1 / rate + 1 / _MEMORY + ("decoded" in marks) / _DECODED)


def _share_of(instructions: tuple[str, ...]) -> float:
    known = instructions or ("AVX512F",)
    return next(share for name, share in _OF_THAT if any(one.startswith(name) for one in known) or not name)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one job did: (units, seconds of its threads) by kind of work, and the rates as in Speeds."""

    work: Mapping[str, tuple[int, float]]
    write: float = 0.0
    verify: float = 0.0


def learned(before: Speeds, trial: Trial) -> Speeds:
    """What is known after one more job: the newest counts half. What was too short to tell is left out."""
    speeds = dict(before.speeds)
    for kind, (units, seconds) in trial.work.items():
        if units >= _LEAST_UNITS and seconds >= _LEAST_SECONDS:
            speeds[kind] = _mixed(speeds.get(kind, 0.0), units / seconds)
    if speeds == before.speeds:
        return before
    return Speeds(speeds, _mixed(before.write, trial.write), _mixed(before.verify, trial.verify))


def _mixed(old: float, new: float) -> float:
    """The geometric mean, so that no one figure outweighs the rest; where there is but one, that."""
    return old ** (1 - _NEW) * new**_NEW if old and new else old or new


def speeds_file() -> Path:
    return data_folder() / "speeds.json"


def load_speeds(path: Path | None = None) -> Speeds:
    """What jobs on this machine have measured; nothing where the file, or a value in it, makes no sense."""
    try:
        stored = json.loads((path or speeds_file()).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return Speeds()
    if not isinstance(stored, dict):
        return Speeds()
    speeds = stored.get("speeds")
    known = {str(kind): rate for kind, rate in speeds.items() if _sane(rate)} if isinstance(speeds, dict) else {}
    rates = {name: float(stored[name]) for name in ("write", "verify") if _sane(stored.get(name))}
    return Speeds(known, **rates)


def _sane(value: Any) -> bool:
    return type(value) in (int, float) and _SANE[0] <= value <= _SANE[1]  # so is no NaN


def save_speeds(speeds: Speeds, path: Path | None = None) -> None:
    """Writes them whole or not at all; a folder that cannot be written to costs nothing but the memory of it."""
    path = path or speeds_file()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    values = {"speeds": dict(speeds.speeds), "write": speeds.write, "verify": speeds.verify}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def remember(trial: Trial, path: Path | None = None) -> None:
    """Adds what a job has measured to what is kept."""
    before = load_speeds(path)
    after = learned(before, trial)
    if after is not before:
        save_speeds(after, path)
