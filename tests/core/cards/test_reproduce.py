"""Making a file again from its card: equal when nothing has changed, and a reason when something has."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import core
import core.cards.reproduce
from core.cards.reproduce import reproduce
from core.hub import Hub, close_connections
from tests.core.cards.test_recipe_card import MEANS, made
from tests.core.running.test_stream import use
from tests.fake_hub import FakeHub, FakeRepo
from tests.imatrix import write_imatrix
from tests.models import SAMPLE, make_llama


def rebuilt(file: Path, **options: Any) -> dict[str, Any]:
    last = list(core.rebuild(file, **options))[-1]
    assert isinstance(last, core.Done), last
    return last.result


def refused(file: Path, words: str, **options: Any) -> core.Failed:
    last = list(core.rebuild(file, **options))[-1]
    assert isinstance(last, core.Failed), last
    assert words in last.message
    assert last.hint
    return last


@pytest.mark.parametrize("by", ["gguf", "json"])
def test_the_same_source_gives_the_same_file(by: str, tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    made(SAMPLE, out)
    found = rebuilt(out if by == "gguf" else core.card_path(out), source=str(SAMPLE))
    assert (found["equal"], found["file_equal"], found["differing"], found["reasons"]) == (True, True, [], [])
    assert found["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert found["sha256_before"] == (found["sha256"] if by == "gguf" else "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.gguf", "o.gguf.snug.json"], "nothing is left"


def test_a_card_alone_is_enough_and_the_new_file_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    out, again = tmp_path / "o.gguf", tmp_path / "again.gguf"
    made(SAMPLE, out, pure=True)
    before = out.read_bytes()
    out.unlink()
    found = rebuilt(core.card_path(out), source=str(SAMPLE), target=str(again))
    assert found["file_equal"]
    assert again.read_bytes() == before
    refused(core.card_path(out), "exists already", source=str(SAMPLE), target=str(again))


def test_without_a_repository_the_source_must_be_named(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "o.gguf")
    assert "--source" in refused(tmp_path / "o.gguf", "somebody's disk").hint


def test_another_source_is_found_out_and_the_tensors_are_named(tmp_path: Path) -> None:
    made(make_llama(tmp_path / "m"), tmp_path / "o.gguf")
    found = rebuilt(tmp_path / "o.gguf", source=str(make_llama(tmp_path / "other", seed=2)))
    assert not found["equal"]
    assert "blk.0.ffn_up.weight" in {entry["name"] for entry in found["differing"]}
    assert found["reasons"] == [], "the headers of both are the same"
    wider = make_llama(tmp_path / "wider", intermediate_size=768)
    (reason,) = rebuilt(tmp_path / "o.gguf", source=str(wider))["reasons"]
    assert "model.safetensors is not the one" in reason


def test_other_weights_under_the_same_headers_are_a_reason_when_whole_files_were_hashed(tmp_path: Path) -> None:
    made(make_llama(tmp_path / "m"), tmp_path / "o.gguf", hash_source=True)
    assert rebuilt(tmp_path / "o.gguf", source=str(tmp_path / "m"))["file_equal"]
    shutil.move(tmp_path / "m", tmp_path / "old")
    events = list(core.rebuild(tmp_path / "o.gguf", source=str(make_llama(tmp_path / "m", seed=2))))
    assert isinstance(events[-1], core.Done)
    assert ["model.safetensors is not the one" in reason for reason in events[-1].result["reasons"]] == [True]


def test_another_snug_and_other_kernels_are_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(SAMPLE, tmp_path / "o.gguf")
    monkeypatch.setattr(core.cards.reproduce, "snug_version", lambda: "99.0")
    monkeypatch.setattr(core.cards.reproduce.kernels, "version", lambda: "f" * 16)
    found = rebuilt(tmp_path / "o.gguf", source=str(SAMPLE))
    assert found["equal"]
    assert found["keys"] == ["snug.kernels"]
    assert ["99.0" in reason or "kernels" in reason for reason in found["reasons"]] == [True, True]


def test_a_tensor_that_was_changed_since_is_the_one_named(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    made(SAMPLE, out)
    tensor = core.open_model(out).tensors[3].sources[0]
    data = bytearray(out.read_bytes())
    data[tensor.offset + 5] ^= 1
    out.write_bytes(data)
    found = rebuilt(out, source=str(SAMPLE))
    assert [entry["name"] for entry in found["differing"]] == [tensor.name]
    assert found["file_equal"] is False


def test_an_importance_matrix_is_looked_for_beside_the_card_and_checked(tmp_path: Path) -> None:
    matrix = write_imatrix(tmp_path / "m.imatrix", MEANS)
    made(SAMPLE, tmp_path / "o.gguf", imatrix=str(matrix))
    assert rebuilt(tmp_path / "o.gguf", source=str(SAMPLE))["file_equal"]
    other = write_imatrix(tmp_path / "other.imatrix", MEANS, chunks=8)
    found = rebuilt(tmp_path / "o.gguf", source=str(SAMPLE), imatrix=str(other))
    assert "other.imatrix is not the importance matrix" in found["reasons"][0]
    assert "snug.imatrix.sha256" in found["keys"]
    matrix.unlink()
    assert "--imatrix" in refused(tmp_path / "o.gguf", "m.imatrix", source=str(SAMPLE)).hint


def test_a_file_in_parts_is_made_again_by_its_card_in_the_same_parts(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "m.gguf", split_max_size="1M")
    assert rebuilt(tmp_path / "m.gguf.snug.json", source=str(SAMPLE))["file_equal"]
    found = rebuilt(tmp_path / "m-00002-of-00003.gguf", source=str(SAMPLE))
    assert (found["equal"], found["file_equal"], found["keys"]) == (True, None, [])


def test_a_file_without_a_card_or_with_a_damaged_one_is_refused(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "o.gguf", card=False)
    refused(tmp_path / "o.gguf", "carries no recipe card")
    refused(tmp_path / "gone.gguf", "cannot be read")
    made(SAMPLE, tmp_path / "p.gguf")
    file = core.card_path(tmp_path / "p.gguf")
    values = json.loads(file.read_text())
    for name in ("snug", "file", "recipe", "source", "tensors"):
        file.write_text(json.dumps(values | {name: 7}))
        refused(file, "is damaged")
    file.write_text(json.dumps(values | {"snug_card": 99}))
    refused(file, "of a newer Snug")


def test_a_rebuild_is_cancelled_without_a_trace(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "o.gguf")
    before = sorted(tmp_path.iterdir())
    *_, last = core.rebuild(tmp_path / "o.gguf", source=str(SAMPLE), cancelled=lambda: True)
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert sorted(tmp_path.iterdir()) == before


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a card; of lists, to the first."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*at, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*at, 0))


def asked(job: core.ReproduceJob, stop: core.Stop | None, stage: str, *, resume: bool = False) -> core.Event:
    """How the job ends that is asked to stop in this stage."""
    control = core.Control()
    for event in reproduce(job, control, resume=resume):
        if stop and isinstance(event, core.Progress) and event.stage == stage:
            control.ask(stop)
    return event


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> core.ReproduceJob:
    """Of a file that was made just now."""
    monkeypatch.setattr("core.cards.reproduce._PROGRESS_SECONDS", 0.0)
    made(make_llama(tmp_path / "m"), tmp_path / "o.gguf", pure=True)
    return core.reproduction_of(tmp_path / "o.gguf", source=str(tmp_path / "m"))


def test_a_job_compares_and_leaves_nothing(job: core.ReproduceJob, tmp_path: Path) -> None:
    done = asked(job, None, "")
    assert isinstance(done, core.Done)
    assert (done.result["file_equal"], done.result["target"]) == (True, "")
    assert not Path(job.place).exists()
    assert Path(job.place).parent == tmp_path


@pytest.mark.parametrize("stage", ["encode", "compare"])
def test_a_job_is_paused_and_gone_on_with(job: core.ReproduceJob, stage: str) -> None:
    assert isinstance(asked(job, core.Stop.PAUSE, stage), core.Paused)
    assert Path(job.place).is_dir()
    done = asked(job, None, "", resume=True)
    assert isinstance(done, core.Done), done
    assert done.result["file_equal"]
    assert not Path(job.place).exists()


@pytest.mark.parametrize("stage", ["encode", "compare"])
def test_a_job_that_is_thrown_away_leaves_nothing(job: core.ReproduceJob, stage: str) -> None:
    event = asked(job, core.Stop.THROW_AWAY, stage)
    assert isinstance(event, core.Failed)
    assert event.cancelled
    assert not Path(job.place).exists()


def test_the_new_file_is_no_longer_under_way_when_it_is_compared(job: core.ReproduceJob) -> None:
    for event in reproduce(job, core.Control(), resume=False):
        if isinstance(event, core.Progress) and event.stage == "compare":
            assert not list(Path(job.place).glob("*.snug-journal"))
    assert isinstance(event, core.Done)


def test_a_job_whose_card_is_gone_says_so(job: core.ReproduceJob) -> None:
    Path(job.file).unlink()
    event = asked(job, None, "")
    assert isinstance(event, core.Failed)
    assert "cannot be read" in event.message


def test_only_a_place_of_its_own_is_removed(job: core.ReproduceJob, tmp_path: Path) -> None:
    core.drop_reproduction(replace(job, place=str(tmp_path)))
    assert (tmp_path / "o.gguf").is_file()


def test_whatever_a_stranger_writes_into_a_card_is_read_or_refused_in_words(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "o.gguf")
    good = json.loads(core.card_path(tmp_path / "o.gguf").read_text())
    good["tensors"] = good["tensors"][:2]
    file, refusals = tmp_path / "c.json", 0
    for way in list(places(good))[1:]:
        for bad in (None, 7, -1, "", "..", "../x", "x\0y", "\x1b[31mred", [], {}, [1], {"a": 1}, 2**70):
            card = json.loads(json.dumps(good))
            *before, last = way
            functools.reduce(lambda value, key: value[key], before, card)[last] = bad
            file.write_text(json.dumps(card))
            try:
                read = core.read_card(file)
            except core.SnugError:
                refusals += 1
                continue
            said = f"{read.name} {read.version} {read.recipe} {read.imatrix} {read.source}"
            assert read.name
            assert not {"\0", "\x1b"} & set(said)
            assert "/" not in read.name
    assert refusals > 100


@pytest.mark.slow
def test_a_gguf_of_the_hub_among_others_is_found_again_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    folder = make_llama(tmp_path / "m")
    files = {}
    for recipe in ("BF16", "Q8_0"):
        made(folder, tmp_path / f"m-{recipe}.gguf", recipe, backend="reference", threads=1)
        files[f"{recipe}/m-{recipe}.gguf"] = (tmp_path / f"m-{recipe}.gguf").read_bytes()
    with FakeHub([FakeRepo("org/model-GGUF", files, tags=("gguf",))]) as fake:
        use(monkeypatch, Hub(fake.url, tmp_path / "cache"))
        out = tmp_path / "o.gguf"
        made("hub:org/model-GGUF:BF16", out, "Q8_0", threads=1)
        card = core.read_card(out)
        assert [file.sha256 for file in card.source.files] == [hashlib.sha256(files["BF16/m-BF16.gguf"]).hexdigest()]
        found = rebuilt(out)
        assert found["source"] == f"hub:org/model-GGUF@{card.source.commit}:BF16/m-BF16.gguf"
        assert found["file_equal"]
        list(core.pull(core.PullJob(found["source"])))
        assert rebuilt(out)["file_equal"], "a downloaded copy gives the card of a streamed one"
        close_connections()
