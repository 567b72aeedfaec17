"""Running a Plan: one streaming pass from the source's rows to the finished file, as a generator of events.

Slabs of rows are read, reshaped, encoded and written at their final place by a pool of threads (core/encode.py);
memory is bounded by the slabs in flight. The target has its final name only when it is complete and verified; until
then, what is done is noted beside it, so that any end can be gone on from (core/unfinished.py). The rows of a model
that is only on the Hub are fetched from there, some slabs ahead of those that are encoded (core/stream.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from math import ceil
from typing import Any

import kernels
from core.card_file import card_path, card_values, write_card
from core.card_source import hash_whole
from core.checkpoint import open_model
from core.control import Control, Stop
from core.encode import SLAB_WEIGHTS, Encoder
from core.errors import Cancelled, JobFailed, SnugError
from core.events import Done, Event, Failed, Note, Paused
from core.failures import failure_of
from core.hardware.cpu import usable_cores
from core.imatrix import check_importance, read_importance
from core.jobs import QuantizeJob
from core.journal import leftovers, throw_away
from core.meter import PROGRESS_SECONDS, Counted, Meter
from core.paths import expanded
from core.plan import Plan, make_plan
from core.preflight import preflight_of
from core.recipe_card import SAMPLE_ROWS, error_bytes, filled, with_errors
from core.recipes import find_recipe
from core.resume import compared, head_of, restore_names
from core.rows import can_copy, encode_type
from core.slabs import importance_of
from core.split import PlannedPart, SplitFile, check_split_target, plan_split, read_size
from core.stream import HubStream, is_streamed, open_stream, stream_notes
from core.unfinished import Place, Unfinished
from core.verify import VerifyReport, verify_model

_SAVED_SECONDS = 0.02
MOST_COMPILERS = 4  # processes that compile kernels at once; each takes about 150 MB


def check_job(job: QuantizeJob) -> Plan:
    """Everything that can be known before the start; raises SnugError when the job cannot work. Writes nothing."""
    plan = plan_job(job)
    if not (found := preflight_of(job, plan=plan)).ok:
        raise found.refusal()
    _check_place(job, plan)
    return plan


def _check_place(job: QuantizeJob, plan: Plan) -> None:
    check_split_target(parts_of(job, plan), sources=[plan.model.path, *plan.model.files], overwrite=job.overwrite)


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
        available = kernels.backends(planned.format, importance=importance_of(plan, planned) is not None)
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

    `control` gives it orders and limits while it runs, and whoever has one can stop it: so it waits while the disk is
    full. `cancelled` is the short way to one that throws away. With `resume`, it goes on with what an interrupted run
    of the same job left; where nothing was left, it starts afresh and says so.
    """
    running = _Running(job, control or Control(), cancelled, resume=resume, waits=control is not None)
    try:
        yield from running.events()
    except _Ended as ended:
        yield running.stopped() if running.cancelled() else ended.event
    except Cancelled:
        yield running.stopped()
    except Exception as error:
        if (failed := failure_of(error)) is None:
            raise
        yield replace(failed, resumable=running.is_kept)


class _Running:
    """A job on its way."""

    def __init__(
        self, job: QuantizeJob, control: Control, cancelled: Callable[[], bool], *, resume: bool, waits: bool
    ) -> None:
        self.job, self.control, self.resume, self.waits = job, control, resume, waits
        self._cancelled = cancelled
        self.work: Unfinished | None = None

    @property
    def is_kept(self) -> bool:
        """Whether what was done stays, to go on with: in this run or in one before."""
        if self.work is None:
            return self.resume and leftovers(self.job.target) is not None
        return self.work.is_kept

    def cancelled(self) -> bool:
        if self._cancelled():
            self.control.ask(Stop.THROW_AWAY)
        return self.control.is_stopped()

    def stopped(self) -> Event:
        """The last word of a job that was told to end."""
        if self.control.stop is Stop.THROW_AWAY and self.work is None and self.resume:
            throw_away(self.job.target)
        if self.control.stop is Stop.PAUSE:
            return Paused("Paused: what is done stays." if self.is_kept else "Paused before anything was done.")
        if self.is_kept:
            hint = "Resume goes on with it (on the command line: --resume)."
            return Failed("Cancelled. What is done stays.", hint, cancelled=True, resumable=True)
        return Failed("Cancelled. Nothing was written.", cancelled=True)

    def events(self) -> Iterator[Event]:
        started = time.monotonic()
        plan = plan_job(self.job) if self.resume else check_job(self.job)
        if self.job.keep_download and is_streamed(plan.model):
            self.job = yield from _downloaded(self.job, self.cancelled)
            plan = plan_job(self.job) if self.resume else check_job(self.job)
        job = self.job
        yield from (Note(text) for text in (*plan.model.notes, *plan.notes))
        if job.card and job.hash_source and not is_streamed(plan.model):
            plan = filled(plan, job, (yield from hash_whole(plan.model, self.cancelled)))
        place = Place(expanded(job.target), plan, parts_of(job, plan), job.overwrite)
        head = head_of(job, place)
        yield from (Note(text) for text in compared(place, head, resume=self.resume))
        if self.resume:
            restore_names(place, head)
            _check_place(job, plan)
        found = preflight_of(job, plan=plan)
        yield from (Note(text) for text in (found.words, *found.warnings))
        yield from _prepare(job, plan, self.cancelled)
        meter = Meter(plan, started, job)
        with contextlib.ExitStack() as stack:
            stream = open_stream(plan.model, self.cancelled, lambda: self.control.limits.bandwidth)
            if stream:
                stack.enter_context(stream)
            yield meter.event("encode", "")  # from here on there is something to sweep up
            self.work = stack.enter_context(Unfinished(place, head, self.control, waits=self.waits))
            report = yield from self._made(self.work, meter, stream)
            if job.card:
                plan = _sealed(plan, self.work.file, report)
            self.work.finish()
            problem = write_card(job, card_values(job, plan, parts_of(job, plan), report)) if job.card else ""
            meter.remember()
            yield from [Note(problem)] if problem else []
            result = _result(job, place.parts, plan, report, time.monotonic() - started)
            result["card"] = str(card_path(job.target).resolve()) if job.card and not problem else ""
            try:
                yield Done(result | ({"fetched": stream.fetched} if stream else {}))
            finally:  # whoever heard of the end has noted it by now: after a kill before that, a resume ends well too
                self.work.forget()

    def _made(self, work: Unfinished, meter: Meter, stream: HubStream | None) -> Generator[Event, None, VerifyReport]:
        """Encodes, puts on the disk and checks."""
        work.begin(resume=self.resume)
        for written in work.done:
            meter.add(work.planned[written.tensor], written.count)
        yield from Encoder(self.job, work, meter, self.control, cancelled=self.cancelled, stream=stream).run()
        yield meter.event("write", "")
        while not work.is_saved():
            if self.cancelled():
                raise Cancelled
            self.control.wait(_SAVED_SECONDS)
            if meter.is_due():
                yield meter.event("write", "")
        return (yield from self._checked(work, meter, stream))

    def _checked(
        self, work: Unfinished, meter: Meter, stream: HubStream | None
    ) -> Generator[Event, None, VerifyReport]:
        """Checks in a thread of its own, and says how far that is."""
        left, looked = threading.Event(), Counted(work.place.plan.tensor_bytes)

        def check() -> VerifyReport:
            plan, stopped = work.place.plan, lambda: left.is_set() or self.cancelled()
            return _verified(work.file, plan, stopped, stream, hashed=self.job.card, looked=looked.add)

        yield meter.event("verify", "", within=0.0)
        with ThreadPoolExecutor(1, "check") as pool:
            checking = pool.submit(check)
            try:
                while not wait([checking], PROGRESS_SECONDS).done:
                    yield meter.event("verify", "", within=looked.share)
            finally:
                left.set()
        return checking.result()


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
            (p.format, encode_type(p.tensor).name, importance_of(plan, p) is not None, job.effort)
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


def _sealed(plan: Plan, part: SplitFile, report: VerifyReport) -> Plan:
    """Writes the errors that were measured into the card of the new file."""
    plan = with_errors(plan, {error.name: error.rmse for error in report.errors})
    part.files[0].write(*error_bytes(plan))
    part.files[0].sync()
    return plan


def _verified(
    part: SplitFile,
    plan: Plan,
    cancelled: Callable[[], bool],
    stream: HubStream | None,
    *,
    hashed: bool,
    looked: Callable[[int], None],
) -> VerifyReport:
    read = stream.read if stream else None
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
        raise JobFailed(error.message, error.hint if stream else "Check the disk, then start again.") from error
    if cancelled():
        raise Cancelled
    if report.problems:
        raise JobFailed(
            f"The new file did not pass its check: {report.problems[0]}.",
            "Nothing was kept. Try another level; if it stays, the source may be damaged.",
        )
    return report


def _result(
    job: QuantizeJob, parts: Sequence[PlannedPart], plan: Plan, report: VerifyReport, seconds: float
) -> dict[str, Any]:
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


__all__ = ["check_job", "parts_of", "plan_job", "run"]
