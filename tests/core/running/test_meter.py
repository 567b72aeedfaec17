"""Progress that people trust: shares by cost, and a time left that never jumps and ends right."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import core
from core.model import OutputTensor, Part, TensorInfo
from core.plan import PlannedTensor, place
from core.running.measured import Speeds, load_speeds, usual_speed
from core.running.meter import MOST_PER_SECOND, MOST_SECONDS, Meter, timed
from tests.models import SAMPLE

ROWS, COLUMNS = 1024, 4096
JOB = core.QuantizeJob("model", "Q4_K_M", "out.gguf", threads=2)


def tensor(name: str, format: str, *, rows: int = ROWS, dtype: str = "BF16") -> PlannedTensor:
    shape = (rows, COLUMNS)
    source = TensorInfo(name, dtype, shape, Path("model.safetensors"), 0, 2 * rows * COLUMNS)
    return PlannedTensor(OutputTensor(name, shape, dtype, (Part(source),)), format, 0, rows * COLUMNS // 2)


def plan_of(*tensors: PlannedTensor) -> Any:
    """What a meter needs of a plan."""
    size = sum(planned.nbytes for planned in tensors)
    model = SimpleNamespace(path=Path("model"), files=())
    return SimpleNamespace(tensors=place(tensors), file_bytes=size, importance=None, model=model)


@dataclass
class Run:
    """A job on a made-up machine: `cost` gives the seconds of a thread that so many rows of a tensor really take."""

    plan: Any
    cost: Callable[[PlannedTensor, float], float]
    threads: int = 2
    write: float = 0.5
    verify: float = 1.0
    speeds: Speeds = field(default_factory=Speeds)
    now: float = 0.0

    def events(self) -> Iterator[tuple[float, core.Progress]]:
        """(time, event), ten a second, as core.running.quantize yields them."""
        meter = Meter(self.plan, 0.0, JOB, speeds=self.speeds, clock=lambda: self.now)
        yield self.now, meter.event("encode", "")
        slabs = [(p, min(64, p.tensor.rows - first)) for p in self.plan.tensors
                 for first in range(0, p.tensor.rows, 64)]  # fmt: skip
        running: list[tuple[float, int, PlannedTensor, int, float]] = []
        for number, (planned, rows) in enumerate(slabs):
            while len(running) >= self.threads:
                yield from self._until(running, meter)
            took = self.cost(planned, self.now) * rows
            heapq.heappush(running, (self.now + took, number, planned, rows, took))
        while running:
            yield from self._until(running, meter)
        for stage, seconds in (("write", self.write), ("verify", self.verify)):
            yield from self._wait(self.now + seconds, meter, stage)
        yield self.now, meter.event("verify", "", within=1.0)

    def _until(self, running: list[Any], meter: Meter) -> Iterator[tuple[float, core.Progress]]:
        end, _, planned, rows, took = heapq.heappop(running)
        yield from self._wait(end, meter, "encode")
        meter.add(planned, rows, took)

    def _wait(self, end: float, meter: Meter, stage: str) -> Iterator[tuple[float, core.Progress]]:
        while self.now + 0.1 < end:
            self.now += 0.1
            yield self.now, meter.event(stage, "")
        self.now = max(self.now, end)


def usual(planned: PlannedTensor, now: float) -> float:
    """Seconds of a thread that a row takes, by the table, on a slow machine."""
    return 30 * COLUMNS / usual_speed(planned.format)


UNEVEN = [
    tensor(f"t{n}", ("Q4_K", "Q8_0", "IQ3_S", "Q6_K", "F16")[n * 7 % 5], rows=256 << (n * 5 % 4)) for n in range(60)
]


def slow_start(planned: PlannedTensor, now: float) -> float:
    return usual(planned, now) * (8 if now < 6 else 1)


def one_costly(planned: PlannedTensor, now: float) -> float:
    """A tensor that costs a hundred times what anybody could know."""
    return usual(planned, now) * (100 if planned.name == "t17" else 1)


def others_came(planned: PlannedTensor, now: float) -> float:
    """Half way through, other programs take most of the machine."""
    return usual(planned, now) * (3 if now > 40 else 1)


SITUATIONS = {"uneven tensors": usual, "a slow start": slow_start, "a tensor 100 times as costly": one_costly,
              "a machine that gets busy": others_came}  # fmt: skip


def record(cost: Callable[[PlannedTensor, float], float], **changes: Any) -> list[tuple[float, core.Progress]]:
    return list(Run(plan_of(*UNEVEN), cost, **changes).events())


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_time_left_never_jumps(situation: str) -> None:
    told = [(now, event.eta) for now, event in record(SITUATIONS[situation]) if event.eta is not None]
    assert len(told) > 100
    for (before, shown), (now, next_shown) in pairwise(told):
        passed = now - before
        assert abs(next_shown - max(0, shown - passed)) <= passed * (MOST_PER_SECOND * shown + MOST_SECONDS) + 1e-9


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_time_left_ends_right(situation: str) -> None:
    events = record(SITUATIONS[situation])
    end = events[-1][0]
    last = [(end - now, event.eta) for now, event in events if end - now < 10 and event.eta is not None]
    assert all(abs(left - shown) < 3 for left, shown in last)
    assert last[-1][1] < 0.6


@pytest.mark.parametrize(("situation", "begin", "off"), [("uneven tensors", 1 / 3, 0.2), ("a slow start", 1 / 2, 0.25)])
def test_the_time_left_is_soon_right(situation: str, begin: float, off: float) -> None:
    events = record(SITUATIONS[situation])
    end = events[-1][0]
    late = [(end - now, event.eta) for now, event in events if end * begin < now < end - 5]
    assert len(late) > 100
    for left, shown in late:
        assert shown == pytest.approx(left, rel=off, abs=2)


def test_the_share_only_grows_and_ends_at_one() -> None:
    shares = [event.share for _, event in record(usual)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1


def test_a_weight_counts_by_what_its_format_costs() -> None:
    plan = plan_of(tensor("slow", "IQ3_S"), tensor("fast", "Q8_0"))
    meter = Meter(plan, 0.0, JOB, speeds=Speeds(), clock=lambda: 0.0)
    meter.add(plan.tensors[1], ROWS, 1.0)
    assert meter.event("encode", "").share < 0.05
    meter.add(plan.tensors[0], ROWS, 1.0)
    assert meter.event("encode", "").share > 0.9


def test_what_this_machine_has_measured_counts_instead_of_the_table() -> None:
    plan = plan_of(tensor("slow", "IQ3_S"), tensor("fast", "Q8_0"))
    meter = Meter(plan, 0.0, JOB, speeds=Speeds({"IQ3_S": 1e9, "Q8_0": 1e6}), clock=lambda: 0.0)
    meter.add(plan.tensors[1], ROWS, 1.0)
    assert meter.event("encode", "").share > 0.9


def test_the_stages_after_encoding_have_their_share() -> None:
    plan = plan_of(*UNEVEN)
    meter = Meter(plan, 0.0, JOB, speeds=Speeds(write=1e6, verify=1e6), clock=lambda: 0.0)
    for planned in plan.tensors:
        meter.add(planned, planned.tensor.rows, 1.0)
    assert meter.event("encode", "").share < 0.1
    half, whole = meter.event("write", "", within=0.5).share, meter.event("write", "", within=1.0).share
    assert 0.2 < half < 0.3 < whole < 0.55
    assert 0.7 < meter.event("verify", "", within=0.5).share < 0.8


class Hands:
    """A clock that is set by hand, and a meter under it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.plan = plan_of(*(tensor(f"t{n}", "Q4_K") for n in range(100)))
        self.meter = Meter(self.plan, 0.0, JOB, speeds=Speeds(), clock=lambda: self.now)

    def work(self, numbers: range) -> core.Progress:
        """Two threads take a second for each tensor."""
        for number in numbers:
            self.now += 0.5
            self.meter.add(self.plan.tensors[number], ROWS, 1.0)
            said = self.meter.event("encode", "")
        return said


@pytest.mark.parametrize(("seconds", "stage"), [(3600.0, "encode"), (5.0, "waiting")])
def test_a_stopped_or_waiting_job_says_the_same_time_left_after_it(seconds: float, stage: str) -> None:
    hands = Hands()
    before = hands.work(range(40)).eta
    hands.now += seconds
    hands.meter.event(stage, "")
    after = hands.work(range(40, 41)).eta
    assert before == pytest.approx(30, rel=0.1)
    assert after == pytest.approx(29.5, rel=0.1)


def test_what_an_earlier_run_did_is_no_speed_of_this_one() -> None:
    hands = Hands()
    for planned in hands.plan.tensors[:60]:
        hands.meter.add(planned, ROWS)
    said = hands.work(range(60, 80))
    assert said.tensors_done == 80
    assert said.eta == pytest.approx(10, rel=0.15)
    assert said.rate == pytest.approx(2 * 2 * ROWS * COLUMNS, rel=0.3)
    assert said.bytes_done == 80 * 2 * ROWS * COLUMNS


def test_a_job_leaves_its_speed_for_the_next_one() -> None:
    hands = Hands()
    hands.work(range(100))
    hands.meter.remember()
    assert load_speeds().speeds == {"Q4_K": pytest.approx(ROWS * COLUMNS)}


def test_work_is_timed() -> None:
    done: list[int] = []
    assert 0 <= timed(done.append, 7) < 1
    assert done == [7]


def test_a_real_job_tells_its_stages_in_order_and_all_of_its_work(tmp_path: Path) -> None:
    job = core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "out.gguf"))
    said = [event for event in core.run(job) if isinstance(event, core.Progress)]
    assert list(dict.fromkeys(event.stage for event in said)) == ["encode", "write", "verify"]
    assert said[-1].bytes_done == said[-1].bytes_total
    assert [event.share for event in said] == sorted(event.share for event in said)
