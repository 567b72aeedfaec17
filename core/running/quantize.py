"""Running a Plan: one streaming pass from the source's rows to the finished file, as a generator of events.

Slabs of rows are read, reshaped, encoded and written at their final place by a pool of threads (encode.py);
memory is bounded by the slabs in flight. The target has its final name only when it is complete and verified; until
then, what is done is noted beside it, so that any end can be gone on from (unfinished.py). The rows of a model
that is only on the Hub are fetched from there, some slabs ahead of those that are encoded (stream.py).
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
from core.cards.card_file import card_path, card_values, write_card
from core.cards.card_source import hash_whole
from core.cards.recipe_card import error_bytes, filled, with_errors
from core.checkpoint import open_model
from core.errors import Cancelled, Halted, SnugError
from core.events import Done, Event, Failed, Note, Paused
from core.hardware.cpu import usable_cores
from core.imatrix import check_importance, read_importance
from core.jobs.job import QuantizeJob, joined
from core.paths import expanded
from core.plan import Plan, make_plan
from core.recipes import find_recipe
from core.rows import can_copy, encode_type
from core.running.control import Control, Stop
from core.running.encode import SLAB_WEIGHTS, Encoder
from core.running.failures import failure_of
from core.running.journal import Head, leftovers, throw_away
from core.running.made import as_one, check_apart, result_of, several_failed, verified
from core.running.meter import PROGRESS_SECONDS, Counted, Meter
from core.running.preflight_all import preflight_all
from core.running.resume import compared, end_of, forget, head_of, made_of, restore_names
from core.running.slabs import importance_of
from core.running.split import PlannedPart, SplitFile, check_split_target, plan_split, read_size
from core.running.stream import HubStream, is_streamed, open_stream, read_once, stream_notes
from core.running.unfinished import Place, Unfinished
from core.verify import VerifyReport

_SAVED_SECONDS = 0.02
MOST_COMPILERS = 4  # processes that compile kernels at once; each takes about 150 MB


def check_job(job: QuantizeJob) -> Plan:
    """Everything that can be known before the start; raises SnugError when the job cannot work. Writes nothing."""
    return _checked_plans(job)[0]


def _checked_plans(job: QuantizeJob) -> tuple[Plan, ...]:
    plans = plan_jobs(job)
    if not (found := preflight_all(job, plans)).ok:
        raise found.refusal()
    _check_places(job, plans)
    return plans


def _check_places(job: QuantizeJob, plans: Sequence[Plan]) -> None:
    for each, plan in zip(job.each, plans, strict=True):
        check_split_target(parts_of(each, plan), sources=[plan.model.path, *plan.model.files], overwrite=job.overwrite)


def plan_jobs(job: QuantizeJob) -> tuple[Plan, ...]:
    """The plan of each target, all of one model. Raises SnugError as `plan_job` does, and where two are one file."""
    first, *further = job.each
    plan = plan_job(first)
    plans = (plan, *(plan_job(each, like=plan) for each in further))
    check_apart([parts_of(each, plan) for each, plan in zip(job.each, plans, strict=True)])
    return plans


def plan_job(job: QuantizeJob, *, like: Plan | None = None) -> Plan:
    """The job's plan, with notes on what a person should know. Raises SnugError when it makes no sense; where the file
    is to be is not looked at. `like`: a plan of the same model and importance, which are not read again then.
    """
    recipe = find_recipe(job.recipe)
    model = like.model if like else open_model(job.source)
    if job.backend not in SLAB_WEIGHTS:
        raise SnugError(f"There is no backend {job.backend!r}.", f"Backends: {', '.join(SLAB_WEIGHTS)}.")
    if job.threads < 0:
        raise SnugError(f"{job.threads} threads make no sense.", "Give a number from 1 on, or 0 for all cores.")
    if job.effort not in kernels.EFFORTS:
        raise SnugError(f"There is no effort {job.effort!r}.", f"Efforts: {', '.join(kernels.EFFORTS)}.")
    importance = like.importance if like else read_importance(job.imatrix) if job.imatrix else None
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
        yield replace(failed, resumable=running.is_kept, result=running.result())


class _Running:
    """A job on its way."""

    def __init__(
        self, job: QuantizeJob, control: Control, cancelled: Callable[[], bool], *, resume: bool, waits: bool
    ) -> None:
        self.job, self.control, self.resume, self.waits = job, control, resume, waits
        self._cancelled = cancelled
        self.works: list[Unfinished] = []
        self.results: dict[str, dict[str, Any]] = {}  # by target, of those that have their names
        self._whole, self._made_before = job, list[Place]()

    @property
    def is_kept(self) -> bool:
        """Whether what was done stays, to go on with: in this run or in one before."""
        if not self.works:
            return self.resume and any(_may_be_left(each) for each in self.job.each)
        return any(work.is_kept for work in self.works)

    def cancelled(self) -> bool:
        if self._cancelled():
            self.control.ask(Stop.THROW_AWAY)
        return self.control.is_stopped()

    def stopped(self) -> Event:
        """The last word of a job that was told to end."""
        if self.control.stop is Stop.THROW_AWAY and self.resume:
            for each in self._whole.each:  # also what has not been taken up again
                with contextlib.suppress(SnugError):  # another job has it by now
                    throw_away(each.target)
        if self.control.stop is Stop.PAUSE:
            return Paused("Paused: what is done stays." if self.is_kept else "Paused before anything was done.")
        if self.is_kept:
            hint = "Resume goes on with it (on the command line: --resume)."
            return Failed("Cancelled. What is done stays.", hint, cancelled=True, resumable=True)
        return Failed("Cancelled. Nothing was written.", cancelled=True)

    def events(self) -> Iterator[Event]:
        started = time.monotonic()
        plans = self._planned()
        if self.job.keep_download and is_streamed(plans[0].model):
            self.job = yield from _downloaded(self.job, self.cancelled)
            plans = self._planned()
        job, model = self.job, plans[0].model
        yield from (Note(text) for text in dict.fromkeys((*model.notes, *(note for p in plans for note in p.notes))))
        if job.card and job.hash_source and not is_streamed(model):
            hashes = yield from hash_whole(model, self.cancelled)
            plans = tuple(filled(plan, each, hashes) for each, plan in zip(job.each, plans, strict=True))
        places = [
            Place(expanded(each.target), plan, parts_of(each, plan), job.overwrite)
            for each, plan in zip(job.each, plans, strict=True)
        ]
        heads = [head_of(each, place) for each, place in zip(job.each, places, strict=True)]
        if self.resume and job.also:
            if result := end_of(places, heads):
                yield Done(result)
                for place in places:
                    forget(place)
                return
            job, plans, places, heads = self._to_be_made(plans, places, heads)
        for place, head in zip(places, heads, strict=True):
            name = f"{place.target.name}: " if job.also else ""
            yield from (Note(name + text) for text in compared(place, head, resume=self.resume))
        if self.resume:
            for place, head in zip(places, heads, strict=True):
                restore_names(place, head)
            _check_places(job, plans)
        found = preflight_all(job, plans)
        yield from (Note(text) for text in (found.words, *found.warnings))
        yield from _prepare(job, plans, self.cancelled)
        meter = Meter(plans[0], started, job, also=plans[1:])
        with contextlib.ExitStack() as stack:
            stream = open_stream(model, self.cancelled, lambda: self.control.limits.bandwidth)
            yield meter.event("encode", "")  # from here on there is something to sweep up
            for place, head in zip(places, heads, strict=True):
                self.works.append(stack.enter_context(Unfinished(place, head, self.control, waits=self.waits)))
            with stream or contextlib.nullcontext():
                reports = yield from self._made(meter, stream)
            yield from self._finished(reports, started)
            meter.remember()
            fetched = {"fetched": stream.fetched} if stream else {}
            done = Done(self.result() | fetched)
            try:
                yield done
            finally:  # whoever heard of the end has noted it by now: after a kill before that, a resume ends well too
                if self._whole.also:
                    self.works[-1].note_end(done.result)  # the last to be removed: after a kill in between as well
                for place in self._made_before:
                    forget(place)
                for work in self.works:
                    work.forget()

    def result(self) -> dict[str, Any]:
        """What is told of the targets that have their names."""
        made = [self.results[each.target] for each in self._whole.each if each.target in self.results]
        return as_one(made, self._whole)

    def _to_be_made(
        self, plans: Sequence[Plan], places: Sequence[Place], heads: Sequence[Head]
    ) -> tuple[QuantizeJob, tuple[Plan, ...], list[Place], list[Head]]:
        """All but the targets that an earlier run made, while others failed: these are done, and not touched again."""
        left = []
        for each, plan, place, head in zip(self.job.each, plans, places, heads, strict=True):
            if made := made_of(place, head):
                self.results[each.target] = made
                self._made_before.append(place)
            else:
                left.append((each, plan, place, head))
        self.job = joined([each for each, *_ in left])
        return self.job, tuple(plan for _, plan, _, _ in left), [row[2] for row in left], [row[3] for row in left]

    def _planned(self) -> tuple[Plan, ...]:
        return plan_jobs(self.job) if self.resume else _checked_plans(self.job)

    def _made(self, meter: Meter, stream: HubStream | None) -> Generator[Event, None, list[VerifyReport | SnugError]]:
        """Encodes, puts on the disk and checks: for each target, what its check found, or why it is no good."""
        self._begin()
        if stream:
            stream.keep_for(self.works[0].place.target, "rows")
        for work in self.works:
            for written in work.done:
                meter.add(work.planned[written.tensor], written.count)
        encoder = Encoder(self.job, self.works, meter, self.control, cancelled=self.cancelled, stream=stream)
        yield from encoder.run()
        yield meter.event("write", "")
        while [work for work in self.works if not work.is_saved()]:  # each is asked: that hurries it
            if self.cancelled():
                raise Cancelled
            self.control.wait(_SAVED_SECONDS)
            yield from encoder.notes()
            if meter.is_due():
                yield meter.event("write", "")
        return (yield from self._checked(meter, stream))

    def _begin(self) -> None:
        """Takes the files. Where one is not to be had, what was left of the others stays."""
        for number, work in enumerate(self.works):
            try:
                work.begin(resume=self.resume)
            except SnugError as error:
                if number == 0 or error.resumable:
                    raise
                raise Halted(error.message, error.hint) from error

    def _checked(
        self, meter: Meter, stream: HubStream | None
    ) -> Generator[Event, None, list[VerifyReport | SnugError]]:
        """Checks in a thread of its own, and says how far that is."""
        if stream:
            stream.keep_for(self.works[0].place.target, "check")
        read = None if stream is None else read_once(stream) if len(self.works) > 1 else stream.read
        left, looked = threading.Event(), Counted(sum(work.place.plan.tensor_bytes for work in self.works))

        def check(work: Unfinished) -> VerifyReport | SnugError:
            plan, stopped = work.place.plan, lambda: left.is_set() or self.cancelled()
            try:
                return verified(work.file, plan, stopped, read, hashed=self.job.card, looked=looked.add)
            except SnugError as error:
                if error.resumable or len(self.works) == 1:
                    raise
                return error  # the others may be good

        yield meter.event("verify", "", within=0.0)
        with ThreadPoolExecutor(1, "check") as pool:
            checking = [pool.submit(check, work) for work in self.works]
            try:
                while wait(checking, PROGRESS_SECONDS).not_done:
                    yield from (Note(text) for text in (stream.retries.words() if stream else ()))
                    yield meter.event("verify", "", within=looked.share)
            finally:
                left.set()
        return [future.result() for future in checking]

    def _finished(self, reports: Sequence[VerifyReport | SnugError], started: float) -> Iterator[Event]:
        """Gives each good file its name. Raises what was wrong with the others, when the good are safe."""
        good, bad = [], []
        for work, job, report in zip(self.works, self.job.each, reports, strict=True):
            try:
                if isinstance(report, SnugError):
                    raise report
                self.results[job.target] = yield from _named(work, job, report, started)
                good.append((work, job))
            except SnugError as error:
                if len(self.works) == 1:
                    raise
                bad.append((job, error))
        if bad:
            failed = several_failed(bad, [job for _, job in good])
            for work, job in good:
                work.note_made(self.results[job.target]) if failed.resumable else work.forget()
            raise failed


def _may_be_left(job: QuantizeJob) -> bool:
    """Whether there is something to go on with; where its disk is away, nobody knows."""
    return leftovers(job.target) is not None or not expanded(job.target).parent.is_dir()


def _named(
    work: Unfinished, job: QuantizeJob, report: VerifyReport, started: float
) -> Generator[Event, None, dict[str, Any]]:
    """Gives the file of one target its name, and its card; the result."""
    plan, parts = work.place.plan, work.place.parts
    if job.card:
        plan = _sealed(plan, work.file, report)
    work.finish()
    problem = write_card(job, card_values(job, plan, parts_of(job, plan), report)) if job.card else ""
    yield from [Note(problem)] if problem else []
    result = result_of(job, parts, plan, report, time.monotonic() - started)
    return result | {"card": str(card_path(job.target).resolve()) if job.card and not problem else ""}


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


def _prepare(job: QuantizeJob, plans: Sequence[Plan], cancelled: Callable[[], bool]) -> Iterator[Event]:
    """Loads the kernels, saying so when they must be compiled first."""
    if job.backend == "reference":
        return
    work = sorted(
        {
            (p.format, encode_type(p.tensor).name, importance_of(plan, p) is not None, job.effort)
            for plan in plans
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


__all__ = ["check_job", "parts_of", "plan_job", "plan_jobs", "run"]
