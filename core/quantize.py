"""Running a Plan: one streaming pass from the source's rows to the finished file, as a generator of events.

Slabs of rows are read, reshaped, encoded and written at their final place by a pool of threads; memory is bounded by
the slabs in flight. The target has its final name only when it is complete and verified. The rows of a model that is
only on the Hub are fetched from there, some slabs ahead of those that are encoded (core/stream.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels
from core.card_file import card_values, write_card
from core.card_source import hash_whole
from core.checkpoint import open_model
from core.control import Control, Stop
from core.errors import Cancelled, JobFailed, SnugError
from core.events import Done, Event, Failed, Note, Paused
from core.failures import failure_of, is_out_of_vram, vram_note
from core.hardware.cpu import usable_cores
from core.imatrix import check_importance, read_importance
from core.jobs import QuantizeJob
from core.meter import PROGRESS_SECONDS, Meter, Took, timed
from core.model import OutputTensor
from core.plan import Plan, PlannedTensor, make_plan
from core.recipe_card import SAMPLE_ROWS, error_bytes, filled, with_errors
from core.recipes import FLOATS, find_recipe
from core.rows import RowReader, can_copy, encode_type, refuse_non_finite, step_of
from core.split import PlannedPart, SplitFile, check_split_target, plan_split, read_size
from core.stream import AHEAD, MOST_THREADS, HubStream, is_streamed, open_stream, stream_notes
from core.stream import SLAB_WEIGHTS as STREAMED_WEIGHTS
from core.verify import VerifyReport, verify_model

SLAB_WEIGHTS = {"auto": 1 << 22, "cpu": 1 << 22, "reference": 1 << 18}
MOST_COMPILERS = 4  # processes that compile kernels at once; each takes about 150 MB


def check_job(job: QuantizeJob) -> Plan:
    """Everything that can be known before the start; raises SnugError when the job cannot work. Writes nothing."""
    plan = plan_job(job)
    check_split_target(parts_of(job, plan), sources=[plan.model.path, *plan.model.files], overwrite=job.overwrite)
    return plan


def plan_job(job: QuantizeJob) -> Plan:
    """The job's plan, with notes on what a person should know. Raises SnugError when it makes no sense; where the file
    is to be is not looked at.
    """
    recipe = find_recipe(job.recipe)
    model = open_model(job.source)
    if job.backend not in SLAB_WEIGHTS:
        raise SnugError(f"There is no backend {job.backend!r}.", f"Backends: {', '.join(SLAB_WEIGHTS)}.")
    if job.threads < 0:
        raise SnugError(f"{job.threads} threads make no sense.", "Give a number from 1 on, or 0 for all cores.")
    if job.effort not in kernels.EFFORTS:
        raise SnugError(f"There is no effort {job.effort!r}.", f"Efforts: {', '.join(kernels.EFFORTS)}.")
    importance = read_importance(job.imatrix) if job.imatrix else None
    plan = make_plan(model, recipe, pure=job.pure, importance=importance, card=job.card)
    _check_requantize(job, plan)
    plan = replace(plan, notes=(*plan.notes, *check_importance(plan), *stream_notes(model)))
    _check_backend(job, plan)
    return filled(plan, job) if job.card else plan


def parts_of(job: QuantizeJob, plan: Plan) -> tuple[PlannedPart, ...]:
    """The files to be written: one, unless the job says how large a part may be."""
    return plan_split(plan, read_size(job.split_max_size) if job.split_max_size else None, job.target)


def _check_requantize(job: QuantizeJob, plan: Plan) -> None:
    """What stays in the format it has loses nothing, and needs no leave."""
    again, name = set(plan.requantized), plan.model.path.name
    quantized = sorted({planned.tensor.dtype for planned in plan.tensors if planned.name in again})
    if quantized and not job.allow_requantize:
        raise SnugError(
            f"{name} is quantized already ({', '.join(quantized)}); "
            "quantizing it again adds the new loss to the old one.",
            "Use the original model, or allow it: --allow-requantize.",
        )
    unreadable = [kind for kind in quantized if not kernels.decodable(kind)]
    if unreadable:
        raise SnugError(
            f"{name} holds {', '.join(unreadable)}, which Snug cannot decode yet.", "Use the original model."
        )


def _check_backend(job: QuantizeJob, plan: Plan) -> None:
    for planned in plan.tensors:
        if can_copy(planned.tensor, planned.format) or job.backend == "auto":
            continue
        available = kernels.backends(planned.format, importance=_importance(plan, planned) is not None)
        if job.backend not in available:
            raise SnugError(
                f"The backend {job.backend} has no {planned.format}, which {planned.name} needs.",
                f"It is there for: {', '.join(available)}. Use --backend auto.",
            )


def run(
    job: QuantizeJob,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    control: Control | None = None,
    resume: bool = False,
) -> Generator[Event, None, None]:
    """Events of the job, the last one Done, Failed or Paused. Never raises for what a user can cause or mend.

    `control` gives it orders and limits while it runs; `cancelled` is the short way to one that throws away.
    """
    orders = control or Control()
    try:
        yield from _run(job, lambda: orders.is_stopped() or cancelled())
    except _Ended as ended:
        yield ended.event
    except Cancelled:
        yield _stopped(orders)
    except Exception as error:
        if (failed := failure_of(error)) is None:
            raise
        yield failed


def _stopped(orders: Control) -> Event:
    """The last word of a job that was told to end."""
    if orders.stop is Stop.PAUSE:
        return Paused("Paused.")
    return Failed("Cancelled. Nothing was written.", cancelled=True)


def _run(job: QuantizeJob, cancelled: Callable[[], bool]) -> Iterator[Event]:
    started = time.monotonic()
    plan = check_job(job)
    if job.keep_download and is_streamed(plan.model):
        job = yield from _downloaded(job, cancelled)
        plan = check_job(job)
    yield from (Note(text) for text in (*plan.model.notes, *plan.notes))
    if job.card and job.hash_source and not is_streamed(plan.model):
        plan = filled(plan, job, (yield from hash_whole(plan.model, cancelled)))
    yield from _prepare(job, plan, cancelled)
    meter = Meter(plan, started, job)
    with contextlib.ExitStack() as stack:
        stream = open_stream(plan.model, cancelled)
        if stream:
            stack.enter_context(stream)
        yield meter.event("encode", "")  # from here on there is something to sweep up
        part = stack.enter_context(SplitFile(plan, parts_of(job, plan), overwrite=job.overwrite))
        yield from _encode_all(job, plan, part, meter, cancelled, stream)
        yield meter.event("write", "")
        part.sync()
        yield meter.event("verify", "")
        report = _verified(part, plan, cancelled, stream, hashed=job.card)
        if job.card:
            plan = _sealed(plan, part, report)
        part.finish()
    meter.remember()
    result = _result(job, part, plan, report, time.monotonic() - started)
    if job.card and (problem := write_card(job, card_values(job, plan, parts_of(job, plan), report))):
        yield Note(problem)
    yield Done(result | ({"fetched": stream.fetched} if stream else {}))


def _downloaded(job: QuantizeJob, cancelled: Callable[[], bool]) -> Generator[Event, None, QuantizeJob]:
    """The same job for the commit that is in the cache now. Raises what the download failed of."""
    from core.hub.download import PullJob, pull  # only here: a file on this disk needs no network
    from core.hub.names import hub_source

    for event in pull(PullJob(job.source), cancelled=cancelled):
        if isinstance(event, Done):
            pinned = replace(hub_source(job.source), revision=event.result["commit"])
            return replace(job, source=str(pinned))
        if isinstance(event, Failed):
            raise _Ended(event)
        yield event
    raise AssertionError


class _Ended(Exception):
    """A part of the job said how it ended."""

    def __init__(self, event: Failed) -> None:
        super().__init__(event.message)
        self.event = event


def _prepare(job: QuantizeJob, plan: Plan, cancelled: Callable[[], bool]) -> Iterator[Event]:
    """Loads the kernels, saying so when they must be compiled first."""
    if job.backend == "reference":
        return
    work = sorted(
        {
            (p.format, encode_type(p.tensor).name, _importance(plan, p) is not None, job.effort)
            for p in plan.tensors
            if not can_copy(p.tensor, p.format)
        }
    )
    missing = [
        (name, dtype, weighted, effort)
        for name, dtype, weighted, effort in work
        if not kernels.is_prepared([name], dtype, importance=weighted, effort=effort)
    ]
    if missing:
        yield Note("Preparing kernels for this CPU (once).")
    processes = min(job.threads or ceil(usable_cores()), MOST_COMPILERS) - 1
    with kernels.compiled_aside(missing, processes=processes) as share:
        _load(share, cancelled)
    _load(work, cancelled)


def _load(work: list[tuple[str, str, bool, str]], cancelled: Callable[[], bool]) -> None:
    for name, dtype, weighted, effort in work:
        if cancelled():
            raise Cancelled
        kernels.prepare([name], dtype, importance=weighted, effort=effort)


def _importance(plan: Plan, planned: PlannedTensor) -> NDArray[np.float32] | None:
    """float32 [experts, columns], or None where nothing is known."""
    return plan.importance.of(planned.tensor) if plan.importance and planned.format not in FLOATS else None


@dataclass(frozen=True, slots=True)
class _Slab:
    """Rows of one tensor, all with the same importance: float32 [columns], or None."""

    planned: PlannedTensor
    first: int
    count: int
    importance: NDArray[np.float32] | None = None


def _slabs(plan: Plan, weights: int) -> Iterator[_Slab]:
    for planned in plan.tensors:
        tensor = planned.tensor
        step = step_of(tensor)
        size = max(1, weights // tensor.columns // step) * step
        importance = _importance(plan, planned)
        for rows, vector in _experts(tensor, importance):
            for first in rows[::size]:
                yield _Slab(planned, first, min(size, rows.stop - first), vector)


def _experts(
    tensor: OutputTensor, importance: NDArray[np.float32] | None
) -> Iterator[tuple[range, NDArray[np.float32] | None]]:
    """The rows that share an importance, and that importance: all of a matrix, each expert of a stack."""
    if importance is None:
        yield range(tensor.rows), None
        return
    each = tensor.rows // len(importance)
    yield from ((range(each * e, each * (e + 1)), vector) for e, vector in enumerate(importance))


def _encode_all(
    job: QuantizeJob,
    plan: Plan,
    part: SplitFile,
    meter: Meter,
    cancelled: Callable[[], bool],
    stream: HubStream | None,
) -> Iterator[Event]:
    threads, weights, ahead = job.threads or ceil(usable_cores()), SLAB_WEIGHTS[job.backend], 0
    if stream:
        threads, weights, ahead = min(threads, MOST_THREADS), min(weights, STREAMED_WEIGHTS), AHEAD
    waiting = deque(_slabs(plan, weights))
    running: dict[Future[Took], _Slab] = {}
    gate = threading.Semaphore(threads)  # the other threads of the pool wait for the network
    read = stream.read if stream else None
    no_room: dict[str, bool] = {}  # names of tensors for which a GPU has none, and whether that was said
    with RowReader(read) as reader, ThreadPoolExecutor(threads + ahead, "encode") as pool, _drained(running, stream):
        while waiting or running:
            while waiting and len(running) < threads + ahead + 1:
                slab = waiting.popleft()
                running[pool.submit(timed, _encode, job, slab, reader, gate, no_room, part, plan.header_bytes)] = slab
            done, _ = wait(running, timeout=PROGRESS_SECONDS, return_when=FIRST_COMPLETED)
            if cancelled():
                raise Cancelled
            for future in done:
                slab = running.pop(future)
                meter.add(slab.planned, slab.count, future.result())
            for name in [name for name, said in no_room.copy().items() if not said]:
                no_room[name] = True
                yield Note(vram_note(name))
            if meter.is_due():
                yield meter.event("encode", next(iter(running.values())).planned.name if running else "")


@contextlib.contextmanager
def _drained(running: dict[Future[Took], _Slab], stream: HubStream | None) -> Iterator[None]:
    """On an error, nothing that has not started will start, or be fetched: the pool then closes at once."""
    try:
        yield
    except BaseException:
        for future in running:
            future.cancel()
        if stream:
            stream.close()
        raise


def _encode(
    job: QuantizeJob,
    slab: _Slab,
    reader: RowReader,
    gate: threading.Semaphore,
    no_room: dict[str, bool],
    part: SplitFile,
    data_start: int,
) -> None:
    planned, tensor = slab.planned, slab.planned.tensor
    row_bytes = kernels.FORMATS[planned.format].row_bytes(tensor.columns)
    offset = data_start + planned.offset + slab.first * row_bytes
    if can_copy(tensor, planned.format):
        part.write(offset, reader.raw(tensor, slab.first, slab.count).data)
        return
    rows = reader.rows(tensor, slab.first, slab.count)
    try:
        with gate:
            data = _encoded(job, slab, rows, no_room)
    except kernels.NonFinite as error:
        raise refuse_non_finite(tensor, row=slab.first + error.row, column=error.column) from error
    part.write(offset, data.data)


def _encoded(job: QuantizeJob, slab: _Slab, rows: NDArray[Any], no_room: dict[str, bool]) -> NDArray[np.uint8]:
    """The packed rows; by the processor where a GPU has no room for them, which then counts for the whole tensor."""
    name, format, weighted = slab.planned.name, slab.planned.format, slab.importance is not None
    here = kernels.backends(format, importance=weighted)[0]
    backend = here if name in no_room else job.backend
    try:
        return kernels.encode(rows, format, importance=slab.importance, backend=backend, effort=job.effort)
    except Exception as error:
        if backend == here or not is_out_of_vram(error):
            raise
        no_room.setdefault(name, False)
    return kernels.encode(rows, format, importance=slab.importance, backend=here, effort=job.effort)


def _sealed(plan: Plan, part: SplitFile, report: VerifyReport) -> Plan:
    """Writes the errors that were measured into the card of the new file."""
    plan = with_errors(plan, {error.name: error.rmse for error in report.errors})
    part.files[0].write(*error_bytes(plan))
    part.files[0].sync()
    return plan


def _verified(
    part: SplitFile, plan: Plan, cancelled: Callable[[], bool], stream: HubStream | None, *, hashed: bool
) -> VerifyReport:
    read = stream.read if stream else None
    try:
        model = part.as_model(plan.model)
        report = verify_model(
            model, source=plan.model, read_source=read, sample_rows=SAMPLE_ROWS, hashed=hashed, cancelled=cancelled
        )
    except SnugError as error:  # the file is ours: it is no bad input
        raise JobFailed(error.message, error.hint if stream else "Check the disk, then start again.") from error
    if cancelled():
        raise Cancelled
    if report.problems:
        raise JobFailed(
            f"The new file did not pass its check: {report.problems[0]}.",
            "Nothing was kept. Try another level; if it stays, the source may be damaged.",
        )
    return report


def _result(job: QuantizeJob, part: SplitFile, plan: Plan, report: VerifyReport, seconds: float) -> dict[str, Any]:
    paths = [planned.path.resolve() for planned in part.parts]
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


__all__ = ["check_job", "parts_of", "plan_job", "run"]
