"""How far a job is, how fast it goes, and how long it will still take.

Work is counted by what it costs, not by bytes: a weight costs so many seconds of a thread, by its format, as
measured.py has it; what the job itself has shown of a format soon counts more than that. The time left follows
what it should be, but slowly: see `_Steady`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.events import Progress
from core.hardware.cpu import usable_cores
from core.jobs.job import QuantizeJob
from core.model import OutputTensor
from core.plan import Plan, PlannedTensor
from core.running.measured import (
    VERIFY_RATE,
    WRITE_RATE,
    Speeds,
    Trial,
    kind_of,
    load_speeds,
    remember,
    units_of,
)
from core.running.stream import is_streamed

PROGRESS_SECONDS = 0.1
MOST_PER_SECOND = 0.2  # of itself, and MOST_SECONDS: what a correction may change of the time left within a second
MOST_SECONDS = 1.0
_CALM_SECONDS = 3.0  # of smoothing
_RECENT_SECONDS, _RECENT_SHARE = 10.0, 0.2  # over which speed is measured: the longer, the second of the time so far
_MOST_DRIFT = 3.0
_FIRST_SHARE, _FIRST_SECONDS = 0.02, 1.0  # before either of them, nobody can say
_TRUSTED_SECONDS = 1.0  # of a kind of work, after which the job's own speed counts as much as what was known before
_DOUBTED_SECONDS = 0.05  # of a thread, which say little about how fast this machine is
_LONG_ENOUGH = 0.2  # seconds of a stage that say something about its speed
_GAP_SECONDS = 10.0  # without a word: the process was stopped, and nothing was slow


Took = float
"""Seconds by the clock that a piece of work took in its thread."""


def timed(work: Callable[..., None], *arguments: Any) -> Took:
    """Does the work, and says how long it took."""
    before = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - before


class Counted:
    """Something that several threads count up to `whole`."""

    def __init__(self, whole: int) -> None:
        self._whole, self._done, self._lock = whole, 0, threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count

    @property
    def share(self) -> float:
        """0 to 1."""
        return min(1.0, self._done / self._whole) if self._whole else 1.0


class Meter:
    """Counts the work of a plan, and of plans `also` made of its model, as it is done: for all of them together.

    `clock` gives seconds, and stands still while the machine sleeps.
    """

    def __init__(
        self,
        plan: Plan,
        started: float,
        job: QuantizeJob,
        *,
        also: Sequence[Plan] = (),
        speeds: Speeds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        known = load_speeds() if speeds is None else speeds
        self.plan, self.started, self.clock = plan, started, clock
        self.total = sum(_source_bytes(p.tensor, p.tensor.rows) for p in plan.tensors)
        self.plans = (plan, *also)
        self.left_in = {p.name: p.tensor.rows * len(self.plans) for p in plan.tensors}
        self.tensors = len(plan.tensors)
        self.done = self.finished = 0
        self.last_event = 0.0
        self._kinds = {(p.name, p.format): kind_of(p, plan, job) for plan in self.plans for p in plan.tensors}
        self._work = _Work(self._left_of_each(), known, threads=job.threads or math.ceil(usable_cores()))
        self._file_bytes = sum(plan.file_bytes for plan in self.plans)
        self._usual = {"encode": self._work.whole / self._work.threads,
                       "write": self._file_bytes / (known.write or WRITE_RATE),
                       "verify": self._file_bytes / (known.verify or VERIFY_RATE)}  # fmt: skip
        self._spent = dict.fromkeys(self._usual, 0.0)
        self._seen, self._share = clock(), 0.0
        self._steady, self._bytes = _Steady(), _Recent()

    def _left_of_each(self) -> Counter[str]:
        left: Counter[str] = Counter()
        for planned in (planned for plan in self.plans for planned in plan.tensors):
            kind = self._kinds[planned.name, planned.format]
            left[kind] += units_of(planned, kind, planned.tensor.rows)
        return left

    def add(self, planned: PlannedTensor, rows: int, took: Took | None = None) -> None:
        """Counts so many more rows as done; without `took` they were done before this run."""
        count = _source_bytes(planned.tensor, rows)
        self.done += count
        self.left_in[planned.name] -= rows
        self.finished += self.left_in[planned.name] == 0
        kind = self._kinds[planned.name, planned.format]
        self._work.add(kind, units_of(planned, kind, rows), took)
        self._bytes.add(count / len(self.plans) if took is not None else 0)

    def is_due(self) -> bool:
        return self.clock() - self.last_event >= PROGRESS_SECONDS

    def event(self, stage: str, tensor: str, *, within: float | None = None) -> Progress:
        """What there is to say now; `within` is how much of a stage after encoding is done, 0 to 1, where known."""
        now = self.last_event = self.clock()
        self._pass(now, stage)
        parts = {name: self._part(name, stage, within) for name in self._usual}
        eta = self._steady.at(now, self._left(stage, parts)) if self._is_telling(stage) else None
        whole = sum(self._usual.values())
        if stage in self._usual and whole:
            self._share = max(self._share, sum(self._usual[name] * part for name, part in parts.items()) / whole)
        return Progress(stage, tensor, self.finished, self.tensors, self.done // len(self.plans), self.total,
                        self._bytes.rate, eta, now - self.started, self._share)  # fmt: skip

    def _pass(self, now: float, stage: str) -> None:
        """Lets the time since the last event go by: as work, unless the job waited or the process was stopped."""
        passed, self._seen = now - self._seen, now
        if stage not in self._spent or passed > _GAP_SECONDS:
            self._steady.hold(now)
            return
        self._spent[stage] += passed
        if stage == "encode":
            self._work.passed(passed)
            self._bytes.passed(passed, _CALM_SECONDS)

    def _part(self, name: str, stage: str, within: float | None) -> float:
        """How much of the stage `name` is done, 0 to 1, by what it usually takes."""
        order = list(self._usual)
        if name == "encode" or stage not in order:
            return self._work.share if name == "encode" else 0.0
        if name != stage:
            return float(order.index(name) < order.index(stage))
        if within is None:
            return min(1.0, self._spent[name] / self._usual[name])
        return within

    def _is_telling(self, stage: str) -> bool:
        """Whether there is enough to go by."""
        if stage != "encode":
            return stage in self._spent
        return self._work.began and (self._work.fresh_share > _FIRST_SHARE or self._spent[stage] > _FIRST_SECONDS)

    def _left(self, stage: str, parts: dict[str, float]) -> float:
        """Seconds left, as far as one can tell now."""
        left = 0.0
        for name, usual in self._usual.items():
            if name == "encode":
                left += self._work.seconds()
            elif name == stage and parts[name] > _FIRST_SHARE:  # its own pace, which it has shown by now
                left += self._spent[name] * (1 / parts[name] - 1)
            else:
                left += usual * (1 - parts[name])
        return left

    def remember(self) -> None:
        """Keeps for later jobs how fast this one was, unless it was the network that set its pace."""
        if is_streamed(self.plan.model):
            return
        rates = {name: self._file_bytes / seconds if seconds > _LONG_ENOUGH else 0.0
                 for name, seconds in self._spent.items() if name != "encode"}  # fmt: skip
        remember(Trial(self._work.done, **rates))


class _Work:
    """What is left of each kind of work, and what it has cost so far: (units, seconds of threads)."""

    def __init__(self, left: Counter[str], speeds: Speeds, *, threads: int) -> None:
        self.left, self.threads = left, threads
        self.done: dict[str, tuple[int, float]] = {}
        self._costs = {kind: 1 / speeds.of(kind) for kind in left}
        self._at_once, self._really, self._expected = _Recent(start=threads), _Recent(), _Recent()
        self._waited = 0.0
        self.whole = self.fresh = self._usual(left)

    def _usual(self, units: Mapping[str, int]) -> float:
        """Seconds of one thread that it should take, by what was known before."""
        return sum(count * self._costs[kind] for kind, count in units.items())

    @property
    def began(self) -> bool:
        return bool(self.done)

    @property
    def share(self) -> float:
        """How much is done of all that the job is, 0 to 1."""
        return 1 - self._usual(self.left) / self.whole if self.whole else 1.0

    @property
    def fresh_share(self) -> float:
        """The same of what was left to this run."""
        return 1 - self._usual(self.left) / self.fresh if self.fresh > 0 else 1.0

    def add(self, kind: str, units: int, took: Took | None) -> None:
        self.left[kind] -= units
        if took is None:
            self.fresh -= units * self._costs[kind]
            return
        expected = units * self._cost(kind) if kind in self.done else 0.0
        count, seconds = self.done.get(kind, (0, 0.0))
        self.done[kind] = (count + units, seconds + took)
        really = took if expected else 0.0  # of a kind that was never met, nothing was expected yet
        for recent, amount in ((self._at_once, took), (self._really, really), (self._expected, expected)):
            recent.passed(self._waited, max(_RECENT_SECONDS, _RECENT_SHARE * recent.time))
            recent.add(amount)
        self._waited = 0.0

    def passed(self, seconds: float) -> None:
        """Counted when something is finished: what is under way has not failed to be done."""
        self._waited += seconds

    def seconds(self) -> float:
        """Seconds that what is left will take, by what was seen."""
        left = sum(units * self._cost(kind) for kind, units in self.left.items())
        return left * self._drift() / max(0.01, self._at_once.rate)

    def _cost(self, kind: str) -> float:
        """Seconds of a thread a unit: as usual, times how much slower all is here, until the kind itself was met."""
        units, seconds = self.done.get(kind, (0, 0.0))
        trusted = _TRUSTED_SECONDS / self._costs[kind]
        return (seconds + self._costs[kind] * self._slower() * trusted) / (units + trusted)

    def _slower(self) -> float:
        """How many times as long as usual everything took so far."""
        seen = sum(seconds for _, seconds in self.done.values())
        usual = self._usual({kind: units for kind, (units, _) in self.done.items()})
        return (seen + _DOUBTED_SECONDS) / (usual + _DOUBTED_SECONDS)

    def _drift(self) -> float:
        """The same of late, against what the job itself had shown: other programs come and go."""
        if not self._expected.rate:
            return 1.0
        return min(_MOST_DRIFT, max(1 / _MOST_DRIFT, self._really.rate / self._expected.rate))


class _Recent:
    """How much there is a second of late; what is longer ago counts less and less. `start` is assumed for a second."""

    def __init__(self, start: float = 0.0) -> None:
        self.time = 0.0
        self._amount, self._seconds = start, 1.0 if start else 0.0

    @property
    def rate(self) -> float:
        return self._amount / max(self._seconds, PROGRESS_SECONDS)

    def add(self, amount: float) -> None:
        self._amount += amount

    def passed(self, seconds: float, over: float) -> None:
        fades = math.exp(-seconds / over)
        self.time += seconds
        self._amount, self._seconds = self._amount * fades, self._seconds * fades + seconds


class _Steady:
    """A time left that counts down like a clock, and is corrected little by little: within a second by no more than
    MOST_PER_SECOND of itself and MOST_SECONDS.
    """

    def __init__(self) -> None:
        self._shown: float | None = None
        self._at = 0.0

    def hold(self, now: float) -> None:
        """The time up to now does not count."""
        self._at = now

    def at(self, now: float, target: float) -> float:
        """What to show when it should be `target`."""
        passed, self._at = now - self._at, now
        if self._shown is None:
            self._shown = target
            return target
        counted = max(0.0, self._shown - passed)
        most = passed * (MOST_PER_SECOND * self._shown + MOST_SECONDS)
        wanted = (target - counted) * (1 - math.exp(-passed / _CALM_SECONDS))
        self._shown = max(0.0, counted + max(-most, min(most, wanted)))
        return self._shown


def _source_bytes(tensor: OutputTensor, rows: int) -> int:
    """Bytes of the source behind that many rows."""
    return sum(source.nbytes for source in tensor.sources) * rows // tensor.rows
