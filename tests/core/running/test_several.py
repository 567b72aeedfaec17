"""Several files from one source in one job: each has the bytes that a job of its own would have given it."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import core
import core.hub.headers
import core.running.made
import core.running.meter
import core.running.preflight_all
import core.running.slabs
from core.hub import Hub, close_connections
from core.jobs.job import job_from, job_values
from core.rows import RowReader
from core.running.control import Control, Stop
from core.running.journal import Journal, leftovers, peek
from core.running.preflight import gb
from core.verify import VerifyReport
from tests.core.nursery import Nursery, open_nursery
from tests.fake_hub import FakeHub, FakeRepo
from tests.imatrix import seeded_means, write_imatrix
from tests.models import make_llama

LEVELS = ("Q4_K_M", "Q8_0", "F16")


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.running.slabs, "FIRST_WEIGHTS", 1 << 15)
    monkeypatch.setattr(core.running.slabs, "LEAST_WEIGHTS", 1 << 15)
    monkeypatch.setattr(core.running.slabs, "SLAB_SECONDS", 0.0)
    monkeypatch.setattr(core.running.meter, "PROGRESS_SECONDS", 1e-6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each file made by a job of its own."""
    folder = tmp_path_factory.mktemp("alone")
    for each in job(model, folder).each:
        assert isinstance(last(each), core.Done)
    return folder


def job(model: Path | str, folder: Path, levels: tuple[str, ...] = LEVELS, **more: Any) -> core.QuantizeJob:
    first, *further = ((level, str(folder / f"{level}.gguf")) for level in levels)
    options: dict[str, Any] = {"threads": 2, "card": False} | more
    return core.QuantizeJob(str(model), *first, also=tuple(further), **options)


def last(wanted: core.QuantizeJob, **more: Any) -> core.Event:
    *_, event = core.run(wanted, **more)
    return event


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_file_has_the_bytes_of_its_own_job(model: Path, alone: Path, tmp_path: Path) -> None:
    *events, done = core.run(job(model, tmp_path))
    assert isinstance(done, core.Done), done
    assert files(tmp_path) == files(alone)
    assert done.result["recipe"] == "Q4_K_M"
    assert [other["recipe"] for other in done.result["also"]] == ["Q8_0", "F16"]
    told = [event for event in events if isinstance(event, core.Progress)]
    assert [event.share for event in told] == sorted(event.share for event in told)
    assert told[-1].bytes_done == told[-1].bytes_total == core.open_model(model).source_bytes
    assert told[-1].tensors_done == told[-1].tensors_total


@pytest.mark.slow  # its kernels are compiled for it alone
def test_cards_parts_and_importance_too(model: Path, tmp_path: Path) -> None:
    matrix = write_imatrix(tmp_path / "matrix.gguf", seeded_means(core.open_model(model)))
    options = {"card": True, "split_max_size": "1M", "imatrix": str(matrix)}
    made, single = tmp_path / "made", tmp_path / "single"
    for folder in (made, single):
        folder.mkdir()
    assert isinstance(last(job(model, made, ("Q4_K_M", "Q8_0"), **options)), core.Done)
    for each in job(model, single, ("Q4_K_M", "Q8_0"), **options).each:
        assert isinstance(last(each), core.Done)
    ggufs = {name: data for name, data in files(made).items() if name.endswith(".gguf")}
    assert len(ggufs) > 3
    assert ggufs == {name: data for name, data in files(single).items() if name.endswith(".gguf")}
    assert sum(name.endswith(".snug.json") for name in files(made)) == 2


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each stored byte was asked for, in pieces of 256."""
    seen: Counter[tuple[str, int]] = Counter()
    fetched = RowReader._fetched

    def count(self: RowReader, source: Any, offset: int, count: int) -> Any:
        seen.update((source.name, at) for at in range(offset // 256, (offset + count) // 256))
        return fetched(self, source, offset, count)

    monkeypatch.setattr(RowReader, "_fetched", count)
    return seen


def test_the_source_is_read_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, several = tmp_path / "one", tmp_path / "several"
    one.mkdir()
    several.mkdir()
    seen = counted(monkeypatch)
    control = Control()
    reads = {}
    for folder, levels in ((one, ("Q4_K_M",)), (several, LEVELS)):
        seen.clear()
        for event in core.run(job(model, folder, levels), control=control):
            if isinstance(event, core.Progress) and event.stage == "write":
                reads[folder] = dict(seen)  # before the check reads its samples
        assert isinstance(event, core.Done), event
    assert reads[one] == reads[several]


def stopped(wanted: core.QuantizeJob, stop: Stop, share: float) -> core.Event:
    control = Control()
    for event in core.run(wanted, control=control):
        if isinstance(event, core.Progress) and event.bytes_done > share * event.bytes_total:
            control.ask(stop)
    return event


def test_a_pause_is_gone_on_from(model: Path, alone: Path, tmp_path: Path) -> None:
    assert isinstance(stopped(job(model, tmp_path), Stop.PAUSE, 0.4), core.Paused)
    assert all(leftovers(each.target) for each in job(model, tmp_path).each)
    assert isinstance(last(job(model, tmp_path), resume=True), core.Done)
    assert files(tmp_path) == files(alone)


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.0), (0.0, 0.6, 0.3), (0.3, 1.1, 0.5)])
def test_targets_that_are_not_equally_far_are_gone_on_with(
    shares: tuple[float, ...], model: Path, alone: Path, tmp_path: Path
) -> None:
    """What jobs of one target left is what the job of all goes on from; each row is written once."""
    for each, share in zip(job(model, tmp_path).each, shares, strict=True):
        if share:
            stopped(each, Stop.PAUSE, share)
    wanted = replace(job(model, tmp_path), overwrite=True)
    control, rows = Control(), []
    for event in core.run(wanted, control=control, resume=True):
        if isinstance(event, core.Progress) and event.stage == "verify" and not rows:
            rows = [peek(each.target).written.values() for each in wanted.each]
    assert isinstance(event, core.Done), event
    assert files(tmp_path) == files(alone)
    for written in rows:
        spans = sorted((one.tensor, one.first, one.first + one.count) for one in written)
        assert all(a[0] != b[0] or a[2] == b[1] for a, b in pairwise(spans)), "no row twice"


def test_thrown_away_nothing_stays(model: Path, tmp_path: Path) -> None:
    event = stopped(job(model, tmp_path), Stop.THROW_AWAY, 0.4)
    assert isinstance(event, core.Failed)
    assert event.cancelled
    assert files(tmp_path) == {}


def test_thrown_away_before_all_is_taken_up_again_nothing_stays(model: Path, tmp_path: Path) -> None:
    assert isinstance(stopped(job(model, tmp_path), Stop.PAUSE, 0.4), core.Paused)
    control = Control()
    for event in core.run(job(model, tmp_path), control=control, resume=True):
        if isinstance(event, core.Progress):
            control.ask(Stop.THROW_AWAY)
    assert isinstance(event, core.Failed)
    assert event.message == "Cancelled. Nothing was written."
    assert files(tmp_path) == {}


def fail_the_check(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    """Of the file of this level."""
    real = core.running.made.verify_model

    def judge(found: Any, **options: Any) -> VerifyReport:
        report = real(found, **options)
        return replace(report, problems=("a scale is no number",)) if level in str(found.path) else report

    monkeypatch.setattr(core.running.made, "verify_model", judge)


def test_a_file_that_fails_its_check_does_not_take_the_others_along(
    model: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_the_check(monkeypatch, "Q8_0")
    event = last(job(model, tmp_path))
    assert isinstance(event, core.Failed)
    assert "Q8_0.gguf" in event.message
    assert "Q4_K_M.gguf, F16.gguf" in event.hint
    assert not event.resumable
    assert files(tmp_path) == {name: data for name, data in files(alone).items() if "Q8_0" not in name}


def test_what_is_good_is_told_although_another_failed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_the_check(monkeypatch, "Q4_K_M")
    event = last(job(model, tmp_path))
    assert isinstance(event, core.Failed)
    assert event.hint.startswith("It was not kept.")
    assert "Complete: Q8_0.gguf, F16.gguf." in event.hint
    made = [event.result, *event.result["also"]]
    assert {Path(each["target"]): each["file_bytes"] for each in made} == {
        path: path.stat().st_size for path in tmp_path.iterdir()
    }
    assert core.from_json(json.loads(json.dumps(core.to_json(event)))) == event


@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_a_kill_while_the_journals_are_removed_is_gone_on_from(
    removed: int, model: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, remove, left = job(model, tmp_path), Journal.remove, [removed]

    def killed(journal: Journal) -> None:
        left[0] -= 1
        if left[0] >= 0:
            remove(journal)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "remove", killed)
        done = last(wanted)
    assert sum("journal" in name for name in files(tmp_path)) == 3 - removed
    event = last(wanted, resume=True)
    assert isinstance(event, core.Failed if removed == 3 else core.Done), event
    assert removed == 3 or event == done
    assert files(tmp_path) == files(alone)


def test_an_end_that_is_noted_does_not_stand_for_a_file_that_is_gone(
    model: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = job(model, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "remove", lambda journal: None)
        last(wanted)
    (tmp_path / "Q8_0.gguf").unlink()
    assert isinstance(last(wanted, resume=True), core.Done)
    assert files(tmp_path) == files(alone)


@pytest.mark.parametrize("stop", list(Stop))
def test_what_was_made_while_another_had_no_name_is_not_touched_again(
    stop: Stop, model: Path, alone: Path, tmp_path: Path
) -> None:
    """Neither by a resume, nor by what ends that one, nor by throwing away what is left."""
    wanted, taken = job(model, tmp_path), tmp_path / "Q8_0.gguf"
    for event in core.run(wanted):
        if isinstance(event, core.Progress) and event.stage == "verify":
            taken.write_text("not ours")
    assert isinstance(event, core.Failed), event
    assert event.resumable
    assert "Complete: Q4_K_M.gguf, F16.gguf." in event.hint
    made, inode = event.result, (tmp_path / "F16.gguf").stat().st_ino
    assert isinstance(last(wanted, resume=True), core.Failed)
    assert taken.read_text() == "not ours"
    taken.unlink()
    control = Control()
    for event in core.run(wanted, control=control, resume=True):
        if isinstance(event, core.Progress):
            control.ask(stop)
    assert isinstance(event, core.Paused if stop is Stop.PAUSE else core.Failed), event
    assert (tmp_path / "F16.gguf").stat().st_ino == inode
    if stop is Stop.THROW_AWAY:
        assert files(tmp_path) == {name: data for name, data in files(alone).items() if "Q8_0" not in name}
        return
    done = last(wanted, resume=True)
    assert isinstance(done, core.Done), done
    results = [done.result, *done.result["also"]]
    assert [Path(each["target"]).name for each in results] == ["Q4_K_M.gguf", "Q8_0.gguf", "F16.gguf"]
    assert results[::2] == [made | {"also": done.result["also"]}, *made["also"]]
    assert (tmp_path / "F16.gguf").stat().st_ino == inode
    assert files(tmp_path) == files(alone)


def test_two_targets_that_are_one_file_are_refused(model: Path, tmp_path: Path) -> None:
    wanted = job(model, tmp_path, ("Q4_K_M", "Q8_0"))
    event = last(replace(wanted, also=(("Q8_0", str(tmp_path / "." / "Q4_K_M.gguf")),)))
    assert isinstance(event, core.Failed)
    assert "Q4_K_M.gguf" in event.message
    assert files(tmp_path) == {}


def test_one_that_cannot_work_is_refused_before_anything_is_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "F16.gguf").write_text("mine")
    event = last(job(model, tmp_path))
    assert isinstance(event, core.Failed)
    assert "F16.gguf" in event.message
    assert files(tmp_path) == {"F16.gguf": b"mine"}


def test_what_they_take_is_said_whatever_their_names_end_in(model: Path, tmp_path: Path) -> None:
    named = replace(job(model, tmp_path, ("Q8_0", "F16")), target=str(tmp_path / "a.bin"))
    renamed = replace(named, also=(("F16", str(tmp_path / "b")),))
    found = core.preflight_of(renamed)
    assert found.words.startswith(f"Takes {gb(found.file_bytes)} of the ")


def test_the_disk_must_have_room_for_all_together(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = job(model, tmp_path)
    each = [core.preflight_of(one) for one in wanted.each]
    room = max(found.needs[0].needed for found in each) + 1000
    monkeypatch.setattr("core.running.job_needs.free_bytes", lambda folder: room)
    monkeypatch.setattr("core.running.preflight_all.free_bytes", lambda folder: room)
    assert all(core.preflight_of(one).ok for one in wanted.each)
    found = core.preflight_of(wanted)
    assert not found.ok
    assert found.file_bytes == sum(one.file_bytes for one in each)
    event = last(wanted)
    assert isinstance(event, core.Failed)
    assert "disk is too small" in event.message
    assert files(tmp_path) == {}


def test_of_several_disks_the_one_that_is_short_is_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    places = {"Q4_K_M": large, "Q8_0": small, "F16": small}
    for folder in (large, small):
        folder.mkdir()
    first, *further = ((level, str(folder / f"{level}.gguf")) for level, folder in places.items())
    wanted = core.QuantizeJob(str(model), *first, also=tuple(further), card=False)
    free = {large: 9 * 10**9, small: 8 * 10**9}
    for module in ("job_needs", "preflight_all"):
        monkeypatch.setattr(f"core.running.{module}.volume_of", lambda path: str(path))
        monkeypatch.setattr(f"core.running.{module}.free_bytes", lambda folder: free.get(folder, 10**12))
    found = core.preflight_of(wanted)
    each = [core.preflight_of(one).file_bytes for one in wanted.each]
    assert f"Takes {each[0]:,} bytes of the 9.00 GB free in {large}, " in found.words
    assert f"{each[1] + each[2]:,} bytes of the 8.00 GB free in {small}, about" in found.words
    free[small] = max(each)
    (problem, *_) = core.preflight_of(wanted).problems
    assert problem.startswith(f"The disk is too small: 2 files need {each[1] + each[2]:,} bytes")
    assert f"{small} has" in problem


def test_a_file_that_another_job_writes_leaves_what_the_others_have(model: Path, alone: Path, tmp_path: Path) -> None:
    wanted = job(model, tmp_path)
    stopped(wanted, Stop.PAUSE, 0.4)
    other = core.run(wanted.each[1], resume=True)
    for event in other:
        if isinstance(event, core.Progress) and event.bytes_done:
            break
    event = last(wanted, resume=True)
    assert isinstance(event, core.Failed)
    assert event.resumable
    other.close()
    assert isinstance(last(wanted, resume=True), core.Done)
    assert files(tmp_path) == files(alone)


def test_job_json_keeps_further_targets_and_says_nothing_of_none(model: Path, tmp_path: Path) -> None:
    wanted = job(model, tmp_path)
    assert job_from(json.loads(json.dumps(job_values(wanted)))) == wanted
    assert "also" not in job_values(wanted.each[0])
    for bad in ("x", [["Q8_0"]], [["Q8_0", 1]], ["Q8"], {}, 1):
        with pytest.raises((ValueError, TypeError)):
            job_from(job_values(wanted) | {"also": bad})


@pytest.mark.slow
def test_the_hub_is_asked_for_each_byte_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_llama(tmp_path / "model", shards=2)
    repo = FakeRepo("org/model", {path.name: path.read_bytes() for path in folder.iterdir()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    sent = []
    with FakeHub([repo]) as fake:
        monkeypatch.setattr(core.hub.headers, "connect", lambda: Hub(fake.url, tmp_path / "cache"))
        core.open_model("hub:org/model")
        for levels in (("Q4_K_M",), ("Q4_K_M", "Q8_0", "BF16")):
            out = tmp_path / str(len(levels))
            out.mkdir()
            before = fake.sent("/storage/*")
            for event in core.run(job("hub:org/model", out, levels)):
                if isinstance(event, core.Progress) and event.stage == "write":
                    last_sent = fake.sent("/storage/*") - before
            assert isinstance(event, core.Done), event
            sent.append((last_sent, fake.sent("/storage/*") - before))
    close_connections()
    assert sent[0] == sent[1], "neither while encoding nor for the check"
    assert sent[0][1] > sent[0][0] >= core.open_model(folder).source_bytes
    single = tmp_path / "single"
    single.mkdir()
    for each in job(folder, single, ("Q4_K_M", "Q8_0", "BF16")).each:
        assert isinstance(last(each), core.Done)
    assert files(tmp_path / "3") == files(single)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork, and no SIGKILL")
def test_killed_at_any_step_it_goes_on_to_the_same_files(model: Path, alone: Path, tmp_path: Path) -> None:
    with open_nursery(tmp_path) as process:
        nursery = Nursery(process)

        def order(folder: Path) -> dict[str, Any]:
            folder.mkdir()
            return {"job": asdict(job(model, folder))}

        steps = int(nursery.run(**order(tmp_path / "whole"))[-1].split()[1])
        rng = random.Random(7)
        moments = [*(rng.randrange(steps) for _ in range(20)), *range(steps - 12, steps)]
        for number, moment in enumerate(moments):
            folder = tmp_path / str(number)
            wanted = order(folder)
            said = nursery.run(**wanted, kill_at=moment, after=rng.random() < 0.5)
            ready = {name: data for name, data in files(folder).items() if name.endswith(".gguf")}
            assert all(data == files(alone)[name] for name, data in ready.items()), "what has its name is whole"
            if not any(line.startswith("Done") for line in said):
                said = nursery.run(**wanted, resume=True)
                assert files(folder) == files(alone), (moment, said)
            assert any(line.startswith("Done") for line in said), (moment, said)
            assert {name: data for name, data in files(folder).items() if name.endswith(".gguf")} == files(alone)
        assert process.stdin is not None
        process.stdin.close()
