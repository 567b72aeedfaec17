"""A job that ends early, by an order or a mishap, goes on to the bytes of one that nobody disturbed."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import core
import core.running.journal
import core.running.meter
import core.running.output
import core.running.saver
import core.running.slabs
import core.running.split
import core.running.unfinished
from core.running.control import Control, Limits, Stop
from core.running.journal import journal_path, leftovers
from core.running.open_file import OpenFile
from core.running.output import part_path
from tests.models import make_llama


@pytest.fixture(autouse=True, scope="module")
def small_slabs() -> Iterator[None]:
    """So that a small model has many, and what is waited for is tried often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.running.slabs, "FIRST_WEIGHTS", 1 << 15)
        patch.setattr(core.running.slabs, "LEAST_WEIGHTS", 1 << 15)
        patch.setattr(core.running.slabs, "SLAB_SECONDS", 0.0)
        patch.setattr(core.running.unfinished, "RETRY_SECONDS", 0.02)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def expected(model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("whole") / "out.gguf"
    *_, last = core.run(job(model, out))
    assert isinstance(last, core.Done), last
    return out.read_bytes()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.gguf"


def job(model: Path, out: Path, **more: Any) -> core.QuantizeJob:
    return core.QuantizeJob(str(model), "Q4_K_M", str(out), threads=2, card=False, **more)


def stopped(model: Path, out: Path, stop: Stop, *, share: float = 0.4, **more: Any) -> core.Event:
    """The last word of a job that is told to end when so much of it is done."""
    control = Control()
    for event in core.run(job(model, out, **more), control=control):
        if isinstance(event, core.Progress) and event.bytes_done > share * event.bytes_total:
            control.ask(stop)
    return event


def resumed(model: Path, out: Path, **more: Any) -> tuple[core.Event, str]:
    """The last word of a job that goes on, and its notes."""
    *events, last = core.run(job(model, out, **more), resume=True)
    return last, " ".join(event.text for event in events if isinstance(event, core.Note))


def check_goes_on(model: Path, out: Path, expected: bytes) -> None:
    last, notes = resumed(model, out)
    assert isinstance(last, core.Done), last
    assert "Going on" in notes
    assert out.read_bytes() == expected
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.fixture(autouse=True)
def each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.running.meter, "PROGRESS_SECONDS", 1e-6)


@pytest.mark.parametrize("stop", [Stop.PAUSE, Stop.KEEP])
def test_what_is_done_stays_when_it_is_wished(stop: Stop, model: Path, out: Path, expected: bytes) -> None:
    last = stopped(model, out, stop)
    assert isinstance(last, core.Paused) if stop is Stop.PAUSE else (isinstance(last, core.Failed) and last.resumable)
    left = leftovers(out)
    assert left is not None
    assert 0 < left.bytes_done < left.bytes_total
    assert not out.exists()
    check_goes_on(model, out, expected)


def test_nothing_stays_when_that_is_wished(model: Path, out: Path) -> None:
    last = stopped(model, out, Stop.THROW_AWAY)
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert not last.resumable
    assert list(out.parent.iterdir()) == []


def test_a_resumed_job_that_is_thrown_away_leaves_nothing(model: Path, out: Path) -> None:
    stopped(model, out, Stop.PAUSE)
    control = Control()
    control.ask(Stop.THROW_AWAY)
    *_, last = core.run(job(model, out), control=control, resume=True)
    assert isinstance(last, core.Failed)
    assert list(out.parent.iterdir()) == []


def test_a_resume_that_cannot_begin_leaves_what_there_is(model: Path, out: Path, tmp_path: Path) -> None:
    folder, target = tmp_path / "copy", tmp_path / "o.gguf"
    shutil.copytree(model, folder)
    stopped(folder, target, Stop.PAUSE)
    folder.rename(tmp_path / "elsewhere")
    last, _ = resumed(folder, target)
    assert isinstance(last, core.Failed)
    assert last.resumable
    control = Control()
    control.ask(Stop.PAUSE)
    (tmp_path / "elsewhere").rename(folder)
    *_, last = core.run(job(folder, target), control=control, resume=True)
    assert isinstance(last, core.Paused)
    last, notes = resumed(folder, target)
    assert isinstance(last, core.Done)
    assert "Going on" in notes


@pytest.mark.parametrize("stage", ["encode", "write", "verify"])
def test_a_pause_in_any_stage_is_gone_on_from(stage: str, model: Path, out: Path, expected: bytes) -> None:
    control = Control()
    for event in core.run(job(model, out), control=control):
        if isinstance(event, core.Progress) and event.stage == stage and event.bytes_done:
            control.ask(Stop.PAUSE)
    assert isinstance(event, core.Paused)
    check_goes_on(model, out, expected)


def test_paused_again_and_again_it_is_the_same_file(model: Path, out: Path, expected: bytes) -> None:
    last = stopped(model, out, Stop.PAUSE, share=0.1)
    for share in (0.3, 0.5, 0.9):
        control = Control()
        for last in core.run(job(model, out), control=control, resume=True):
            if isinstance(last, core.Progress) and last.bytes_done > share * last.bytes_total:
                control.ask(Stop.PAUSE)
        assert isinstance(last, core.Paused)
    check_goes_on(model, out, expected)


def test_with_nothing_left_a_resumed_job_starts_afresh_and_says_so(model: Path, out: Path, expected: bytes) -> None:
    last, notes = resumed(model, out)
    assert isinstance(last, core.Done)
    assert "starts afresh" in notes
    assert out.read_bytes() == expected


def test_what_another_job_left_is_not_gone_on_with(model: Path, out: Path, expected: bytes) -> None:
    stopped(model, out, Stop.PAUSE, pure=True)
    last, notes = resumed(model, out)
    assert isinstance(last, core.Done)
    assert "another job" in notes
    assert out.read_bytes() == expected


def test_without_resume_what_was_left_is_replaced_and_that_is_said(model: Path, out: Path, expected: bytes) -> None:
    stopped(model, out, Stop.PAUSE)
    *events, last = core.run(job(model, out))
    assert isinstance(last, core.Done)
    assert any(isinstance(event, core.Note) and "--resume" in event.text for event in events)
    assert out.read_bytes() == expected


def test_a_changed_source_stops_the_resume_with_a_choice(model: Path, out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(model, folder)
    target = tmp_path / "o.gguf"
    stopped(folder, target, Stop.PAUSE)
    os.utime(folder / "model.safetensors")
    last, _ = resumed(folder, target)
    assert isinstance(last, core.Failed)
    assert "model.safetensors has changed" in last.message
    assert "--resume" in last.hint
    assert leftovers(target) is not None
    *_, last = core.run(job(folder, target))
    assert isinstance(last, core.Done)


@pytest.mark.parametrize("spoil", ["bytes", "length", "gone", "zeros"])
def test_a_part_that_is_not_as_it_was_left_is_made_anew_where_needed(
    spoil: str, model: Path, out: Path, expected: bytes
) -> None:
    stopped(model, out, Stop.PAUSE)
    part = part_path(out)
    data = bytearray(part.read_bytes())
    if spoil == "bytes":
        rng = random.Random(1)
        for _ in range(1000):
            data[rng.randrange(len(data))] ^= 255
    changed = {"bytes": data, "length": data[:-1], "zeros": bytes(len(data)), "gone": b""}[spoil]
    part.write_bytes(changed)
    if spoil == "gone":
        part.unlink()
    last, _ = resumed(model, out)
    assert isinstance(last, core.Done)
    assert out.read_bytes() == expected


def failing(real: Callable[..., Any], number: int, after: int, times: int = 1 << 60) -> Callable[..., Any]:
    """Fails with an errno so many times, after so many calls."""
    count, lock = iter(range(1 << 60)), threading.Lock()

    def call(*args: Any) -> Any:
        with lock:
            at = next(count)
        if after <= at < after + times:
            raise OSError(number, os.strerror(number))
        return real(*args)

    return call


CASES = [("pwrite", errno.EIO), ("pwrite", errno.EROFS), ("pwrite", errno.ENOSPC), ("pwrite", errno.EDQUOT),
         ("preadv", errno.EIO), ("preadv", errno.ESTALE), ("preadv", errno.ENODEV), ("fdatasync", errno.EIO),
         ("fdatasync", errno.ENOSPC)]  # fmt: skip


@pytest.mark.parametrize(("call", "number"), CASES)
def test_a_disk_that_fails_leaves_what_can_be_gone_on_with(
    call: str, number: int, model: Path, out: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.running.saver, "SYNC_SECONDS", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(getattr(os, call), number, 3 if call == "fdatasync" else 60))
        *_, last = core.run(job(model, out))
    assert isinstance(last, core.Failed), last
    assert last.resumable
    assert last.exit_code == 1
    assert last.hint
    assert not out.exists()
    check_goes_on(model, out, expected)


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=[] if point in (0, 9) else [pytest.mark.slow]) for point in range(20)]
)
def test_a_full_disk_is_waited_for(
    point: int, model: Path, out: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At twenty points: of the parts, of the journal, at the end of either."""
    monkeypatch.setattr(os, "pwrite", failing(os.pwrite, errno.ENOSPC, 3 + 11 * point, times=6))
    *_, last = core.run(job(model, out), control=Control())
    assert isinstance(last, core.Done), last
    assert out.read_bytes() == expected
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_while_it_waits_for_room_it_says_so_and_can_be_stopped(
    model: Path, out: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, seen = Control(), []
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(os.pwrite, errno.ENOSPC, 60))
        for event in core.run(job(model, out), control=control):
            seen.append(event)
            if isinstance(event, core.Progress) and event.stage == "waiting":
                control.ask(Stop.PAUSE)
    assert isinstance(event, core.Paused)
    assert sum(isinstance(event, core.Note) and "bytes are missing" in event.text for event in seen) == 1
    check_goes_on(model, out, expected)


def test_a_disk_that_fills_up_when_all_is_encoded_is_waited_for_too(
    model: Path, out: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.running.saver, "SYNC_SECONDS", 60.0)
    real, seen = os.pwrite, []
    for event in core.run(job(model, out), control=Control()):
        if isinstance(event, core.Progress) and event.stage == "write" and not seen:
            monkeypatch.setattr(os, "pwrite", failing(os.pwrite, errno.ENOSPC, 0))
        if isinstance(event, core.Note) and "bytes are missing" in event.text:
            seen.append(event)
            monkeypatch.setattr(os, "pwrite", real)
    assert isinstance(event, core.Done), event
    assert len(seen) == 1
    assert out.read_bytes() == expected


@pytest.mark.parametrize("stop", list(Stop))
def test_an_order_is_heeded_within_a_second_while_the_disk_takes_its_time(
    stop: Stop, model: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: slow.wait(20) if descriptor in parts() else None)

    def parts() -> set[int]:
        found = set()
        for name in os.listdir("/proc/self/fd"):
            with_name = f"/proc/self/fd/{name}"
            if os.path.islink(with_name) and os.readlink(with_name).endswith("snug-part"):
                found.add(int(name))
        return found

    control, asked = Control(), 0.0
    for event in core.run(job(model, out), control=control):
        if isinstance(event, core.Progress) and event.stage == "write" and not asked:
            time.sleep(0.05)
            asked = time.monotonic()
            control.ask(stop)
    assert 0 < time.monotonic() - asked < 1
    assert out.exists() is False
    assert part_path(out).exists() == journal_path(out).exists() == (stop is not Stop.THROW_AWAY)
    slow.set()


def test_a_target_folder_that_goes_away_is_said_before_more_work_is_lost(
    model: Path, tmp_path: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.running.saver, "SYNC_SECONDS", 0.01)
    folder, seen = tmp_path / "gone", []
    folder.mkdir()
    for last in core.run(job(model, folder / "out.gguf")):
        seen.append(last)
        if isinstance(last, core.Progress) and last.bytes_done and folder.exists():
            shutil.rmtree(folder)
            while any(thread.name == "saver" for thread in threading.enumerate()):  # until it has seen that
                time.sleep(0.01)
    assert isinstance(last, core.Failed)
    assert "was removed while it was written" in last.message
    assert not last.resumable
    assert {event.stage for event in seen if isinstance(event, core.Progress)} == {"encode"}
    folder.mkdir()
    *_, last = core.run(job(model, folder / "out.gguf"))
    assert isinstance(last, core.Done)
    assert (folder / "out.gguf").read_bytes() == expected


def test_a_target_folder_that_is_moved_is_wanted_back_and_then_gone_on_with(
    model: Path, tmp_path: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.running.saver, "SYNC_SECONDS", 0.01)
    folder = tmp_path / "here"
    folder.mkdir()
    for last in core.run(job(model, folder / "out.gguf")):
        if isinstance(last, core.Progress) and last.bytes_done and folder.exists():
            folder.rename(tmp_path / "there")
            while any(thread.name == "saver" for thread in threading.enumerate()):
                time.sleep(0.01)
    assert isinstance(last, core.Failed)
    assert "went away while it was written" in last.message
    assert last.resumable
    (tmp_path / "there").rename(folder)
    check_goes_on(model, folder / "out.gguf", expected)


def test_a_source_cut_short_amid_a_job_is_said_and_the_resume_wants_it_back(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "copy", tmp_path / "o.gguf"
    shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    for last in core.run(job(folder, out)):
        if isinstance(last, core.Progress) and last.bytes_done:
            os.truncate(weights, 100_000)
    assert isinstance(last, core.Failed)
    assert last.resumable
    assert "ends in the middle" in last.message
    shutil.copy2(model / weights.name, weights)
    last, notes = resumed(folder, out)
    assert isinstance(last, core.Done)
    assert "Going on" in notes


def test_names_taken_halfway_are_taken_back_and_given_again(
    model: Path, out: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a crash between the link and the removal of the old name, and one before the journal goes, leave them."""
    with monkeypatch.context() as patch:
        patch.setattr(core.running.journal.Journal, "remove", lambda journal: None)
        *_, last = core.run(job(model, out))
    assert isinstance(last, core.Done)
    assert journal_path(out).exists()
    check_goes_on(model, out, expected)
    stopped(model, out.with_name("x"), Stop.THROW_AWAY)


def test_a_strange_file_under_the_final_name_is_never_taken_for_ours(
    model: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(core.running.journal.Journal, "remove", lambda journal: None)
        list(core.run(job(model, out)))
    data = bytearray(out.read_bytes())
    data[-5000] ^= 1
    out.write_bytes(data)
    last, _ = resumed(model, out)
    assert isinstance(last, core.Failed)
    assert "exists already" in last.message
    assert out.read_bytes() == data


def test_many_parts_are_written_with_few_files_open(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.core.running.test_split import plan, tensor_bytes

    monkeypatch.setattr(core.running.split, "MOST_OPEN", 4)
    parts = core.running.split.plan_split(plan(), 1, tmp_path / "model.gguf")
    assert len(parts) > 20
    with core.running.split.SplitFile(plan(), parts, overwrite=False) as file:
        for planned in plan().tensors:
            file.write(plan().header_bytes + planned.offset, tensor_bytes(planned.name))
            assert sum(part._file.descriptor >= 0 for part in file.files) <= 4
        file.sync()
        assert sum(part._file.descriptor >= 0 for part in file.files) <= 4
        file.finish()
    for planned, part in zip(plan().tensors, parts, strict=True):
        assert part.path.read_bytes()[len(part.header) :][: planned.nbytes] == tensor_bytes(planned.name)


def test_limits_are_heeded_while_it_runs(model: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kernels

    inside, most, lock, encode = [0], [0], threading.Lock(), kernels.encode

    def slow(*args: Any, **options: Any) -> Any:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        with lock:
            inside[0] -= 1
        return encode(*args, **options)

    monkeypatch.setattr(kernels, "encode", slow)
    control, seen = Control(), []
    for event in core.run(job(model, out), control=control):
        if isinstance(event, core.Progress) and event.bytes_done > 0.3 * event.bytes_total and not seen:
            seen.append(most[0])
            control.limits = Limits(threads=1)
            time.sleep(0.05)
            most[0] = 0
    assert isinstance(event, core.Done)
    assert seen == [2]
    assert most[0] == 1


def test_while_it_is_held_nothing_begins_and_it_says_that_it_waits(model: Path, out: Path) -> None:
    control, held = Control(), 0
    for event in core.run(job(model, out), control=control):
        if not isinstance(event, core.Progress):
            continue
        if event.stage == "waiting":
            held += 1
            control.hold = held < 5
        elif not held and event.bytes_done:
            control.hold = True
    assert isinstance(event, core.Done)
    assert held >= 5


@pytest.mark.parametrize(
    ("memory", "flights", "weights"),
    [(0, 11, 1 << 22), (1 << 30, 11, 1 << 22), (300 << 20, 4, 1 << 22), (200 << 20, 2, 1 << 21), (1, 1, 1 << 15)],
)
def test_less_memory_means_fewer_slabs_and_then_smaller_ones(memory: int, flights: int, weights: int) -> None:
    assert core.running.slabs.room_for(memory, flights=11, weights=1 << 22) == (flights, weights)


def test_a_file_in_use_is_closed_by_its_last_user(tmp_path: Path) -> None:
    file = OpenFile(tmp_path / "x")
    file.open()
    with file.use() as descriptor:
        assert not file.rest()
        file.close()
        os.fstat(descriptor)
    with pytest.raises(OSError, match="Bad file"):
        file.write(0, b"x")
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)
