"""A plan is cut as llama.cpp's gguf-split cuts a file, and the parts run in llama.cpp."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

import core
from core.gguf_split import read_split
from core.plan import Plan
from core.rows import RowReader, can_copy
from core.running.output import RESERVE_BYTES
from core.running.split import SplitFile, check_split_target, plan_split, read_size
from core.verify import verify_model
from kernels import encode
from tests.ggml_split import part_headers
from tests.llama_cpp import generate
from tests.models import SAMPLE


@cache
def plan() -> Plan:
    return core.make_plan(core.open_model(SAMPLE), core.find_recipe("Q8_0"), card=False)


@cache
def tensor_bytes(name: str) -> bytes:
    planned = next(planned for planned in plan().tensors if planned.name == name)
    tensor = planned.tensor
    with RowReader() as reader:
        if can_copy(tensor, planned.format):
            return reader.raw(tensor, 0, tensor.rows).tobytes()
        return encode(reader.rows(tensor, 0, tensor.rows), planned.format).tobytes()


def whole() -> bytes:
    """The file in one piece."""
    data = bytearray(plan().file_bytes)
    data[: len(plan().header)] = plan().header
    for planned in plan().tensors:
        at = len(plan().header) + planned.offset
        data[at : at + planned.nbytes] = tensor_bytes(planned.name)
    return bytes(data)


def fill(out: SplitFile) -> None:
    """Writes the header and every tensor in two pieces, as a job does."""
    out.write(0, plan().header)
    for planned in plan().tensors:
        data, at = tensor_bytes(planned.name), len(plan().header) + planned.offset
        out.write(at, data[: len(data) // 2])
        out.write(at + len(data) // 2, data[len(data) // 2 :])


def split(target: Path, max_bytes: int) -> list[Path]:
    parts = plan_split(plan(), max_bytes, target)
    with SplitFile(plan(), parts, overwrite=False) as out:
        fill(out)
        out.sync()
        report = verify_model(out.as_model(plan().model), source=plan().model, sample_rows=4)
        assert report.ok, report.problems
        assert report.file_bytes == sum(part.file_bytes for part in parts)
        out.finish()
    return [part.path for part in parts]


@pytest.mark.parametrize(("text", "expected"), [("2G", 2 * 10**9), ("500M", 5 * 10**8), (" 1g ", 10**9)])
def test_sizes_are_in_thousands_as_gguf_split_counts(text: str, expected: int) -> None:
    assert read_size(text) == expected


@pytest.mark.parametrize("text", ["", "2", "G", "0M", "-1G", "1.5G", "2GB", "3K", "1" * 30 + "G"])
def test_another_size_is_refused(text: str) -> None:
    with pytest.raises(core.SnugError, match="no size"):
        read_size(text)


@pytest.mark.parametrize("max_bytes", [300_000, 1_000_000])
def test_parts_have_the_headers_that_gguf_split_writes(tmp_path: Path, max_bytes: int) -> None:
    file = tmp_path / "whole.gguf"
    file.write_bytes(whole())
    parts = plan_split(plan(), max_bytes, tmp_path / "model.gguf")
    assert len(parts) > 2
    assert [part.header for part in parts] == part_headers(file, max_bytes)
    assert [part.path.name for part in parts][1] == f"model-00002-of-{len(parts):05}.gguf"


def test_every_part_holds_the_tensors_of_the_file_in_one_piece(tmp_path: Path) -> None:
    files = split(tmp_path / "model.gguf", 500_000)
    found = read_split(files[0])
    assert found.files == tuple(files)
    assert [t.name for t in found.tensors] == [t.name for t in plan().tensors]
    for tensor in found.tensors:
        with tensor.file.open("rb") as file:
            file.seek(tensor.offset)
            assert file.read(tensor.nbytes) == tensor_bytes(tensor.name), tensor.name
    assert [item.key for item in found.metadata] == [item.key for item in plan().metadata]


def test_llama_cpp_runs_the_parts_and_writes_the_same_text(tmp_path: Path) -> None:
    files = split(tmp_path / "model.gguf", 800_000)
    (tmp_path / "one.gguf").write_bytes(whole())
    assert generate(files[0], tokens=8) == generate(tmp_path / "one.gguf", tokens=8)


def test_what_fits_into_one_part_keeps_its_name_and_header(tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"
    (part,) = plan_split(plan(), 10**9, target)
    assert (part.path, part.header, part.file_bytes) == (target, plan().header, plan().file_bytes)
    assert split(target, 10**9) == [target]
    assert target.read_bytes() == whole()


def test_a_tensor_larger_than_a_part_has_one_to_itself(tmp_path: Path) -> None:
    parts = plan_split(plan(), 1, tmp_path / "model.gguf")
    assert [len(part.tensors) for part in parts] == [1] * len(plan().tensors)


def test_nothing_is_left_of_parts_that_were_not_finished(tmp_path: Path) -> None:
    with SplitFile(plan(), plan_split(plan(), 500_000, tmp_path / "model.gguf"), overwrite=False) as out:
        fill(out)
        assert len(list(tmp_path.iterdir())) == len(out.parts)
        out.__exit__(RuntimeError, None, None)
        assert list(tmp_path.iterdir()) == []


def finish_beside(out: SplitFile) -> None:
    """Finishes while somebody else has taken the first part's name."""
    with out:
        fill(out)
        out.parts[0].path.write_text("mine")
        out.finish()


def test_a_part_that_appears_meanwhile_is_kept_and_the_others_go(tmp_path: Path) -> None:
    out = SplitFile(plan(), plan_split(plan(), 500_000, tmp_path / "model.gguf"), overwrite=False)
    with pytest.raises(core.JobFailed, match="appeared"):
        finish_beside(out)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]


def test_any_part_that_exists_is_refused_before_the_start(tmp_path: Path) -> None:
    parts = plan_split(plan(), 500_000, tmp_path / "model.gguf")
    check_split_target(parts, sources=[], overwrite=False)
    parts[1].path.write_text("mine")
    with pytest.raises(core.SnugError, match="exists already"):
        check_split_target(parts, sources=[], overwrite=False)
    check_split_target(parts, sources=[], overwrite=True)


def test_the_disk_must_have_room_for_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = plan_split(plan(), 500_000, tmp_path / "model.gguf")
    free = sum(part.file_bytes for part in parts) - 1 + RESERVE_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(core.SnugError, match="disk is too small"):
        check_split_target(parts, sources=[], overwrite=False)


def job(tmp_path: Path, **options: str) -> core.QuantizeJob:
    return core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "model.gguf"), card=False, **options)


def test_a_job_writes_parts_that_together_are_its_file(tmp_path: Path) -> None:
    *_, last = core.run(job(tmp_path, split_max_size="1M"))
    assert isinstance(last, core.Done)
    files = sorted(tmp_path.glob("*.gguf"))
    assert [file.name for file in files] == last.result["parts"] == [f"model-{n:05}-of-00003.gguf" for n in (1, 2, 3)]
    assert last.result["target"] == str(files[0].resolve())
    assert last.result["file_bytes"] == sum(file.stat().st_size for file in files)
    assert isinstance(list(core.merge_gguf(files[2], tmp_path / "one.gguf"))[-1], core.Done)
    assert (tmp_path / "one.gguf").read_bytes() == whole()


def test_a_job_in_parts_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    asked = iter([False] * 8)
    *_, last = core.run(job(tmp_path, split_max_size="1M"), cancelled=lambda: next(asked, True))
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert list(tmp_path.iterdir()) == []


def test_a_job_is_refused_when_one_of_its_parts_exists_or_the_size_is_none(tmp_path: Path) -> None:
    (tmp_path / "model-00002-of-00003.gguf").write_text("mine")
    for size, words in (("1M", "exists already"), ("1X", "no size")):
        *_, last = core.run(job(tmp_path, split_max_size=size))
        assert isinstance(last, core.Failed)
        assert words in last.message
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]
