"""Running a plan: the same bytes whatever the way, nothing lost whatever happens."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import core
import core.gguf
import core.running.encode
import core.running.meter
import core.running.output
import kernels
from core.running.journal import journal_path
from core.running.output import PartFile, part_path
from tests.llama_cpp import generate
from tests.models import SAMPLE, llama_shapes, make_llama, to_bits, weights, write_weights

ALL = [recipe.name for recipe in core.RECIPES if not recipe.needs_importance]
TRAINED_IN = ("TQ1_0", "TQ2_0", "Q1_0", "Q2_0")  # of the sample, which was not, little is left
QUICK = ("F32", "BF16", "F16", "Q8_0", "Q4_K_M")


def run(source: Path, recipe: str, out: Path, **options: Any) -> list[core.Event]:
    return list(core.run(core.QuantizeJob(str(source), recipe, str(out), **options)))


def made(source: Path, recipe: str, out: Path, **options: Any) -> bytes:
    last = run(source, recipe, out, **options)[-1]
    assert isinstance(last, core.Done), last
    return out.read_bytes()


def failed(
    source: Path, out: Path, words: str, *, recipe: str = "Q8_0", exit_code: int = 2, **options: Any
) -> core.Failed:
    before = out.read_bytes() if out.is_file() else None
    last = run(source, recipe, out, **options)[-1]
    assert isinstance(last, core.Failed), last
    assert words in last.message
    assert last.hint
    assert last.exit_code == exit_code
    assert (out.read_bytes() if out.is_file() else None) == before, "what was there stays"
    assert last.resumable == part_path(out).exists() == journal_path(out).exists(), "what is left can be gone on with"
    return last


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in ALL]
)
def test_every_recipe_makes_a_file_of_the_planned_size_that_llama_cpp_runs(recipe: str, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    data = made(SAMPLE, recipe, out)
    assert len(data) == core.make_plan(core.open_model(SAMPLE), core.find_recipe(recipe)).file_bytes
    text = generate(out, tokens=8)
    assert text if recipe in TRAINED_IN else text.strip()


def test_q8_0_writes_the_same_text_as_f16_in_llama_cpp(tmp_path: Path) -> None:
    texts = []
    for recipe in ("F16", "Q8_0"):
        made(SAMPLE, recipe, tmp_path / f"{recipe}.gguf")
        texts.append(generate(tmp_path / f"{recipe}.gguf", "Ownership is", 20))
    assert texts[0] == texts[1]
    assert len(texts[0]) > 20


@pytest.mark.parametrize(
    "recipe", ["BF16", "Q4_K_M", *(pytest.param(name, marks=pytest.mark.slow) for name in ("Q5_1", "Q3_K_M", "Q2_K"))]
)
def test_pypi_gguf_decodes_every_tensor_to_the_values_of_our_decoder(recipe: str, tmp_path: Path) -> None:
    made(SAMPLE, recipe, tmp_path / "out.gguf")
    for tensor in gguf.GGUFReader(tmp_path / "out.gguf").tensors:
        theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        data = np.ascontiguousarray(tensor.data).view(np.uint8)
        ours = kernels.decode(data.reshape(-1, data.shape[-1]), tensor.tensor_type.name)
        np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)


def test_threads_slabs_and_shards_do_not_change_a_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_llama(tmp_path / "one")
    sharded = make_llama(tmp_path / "three", shards=3)
    expected = made(folder, "Q4_K_M", tmp_path / "a.gguf", threads=1)
    assert made(folder, "Q4_K_M", tmp_path / "b.gguf", threads=3) == expected
    monkeypatch.setitem(core.running.encode.SLAB_WEIGHTS, "auto", 256 * 70)
    assert made(folder, "Q4_K_M", tmp_path / "c.gguf") == expected
    data = made(sharded, "Q4_K_M", tmp_path / "d.gguf")
    assert sorted(_tensors(data, tmp_path / "d.gguf")) == sorted(_tensors(expected, tmp_path / "a.gguf"))


def _tensors(data: bytes, file: Path) -> Iterator[tuple[str, bytes]]:
    for tensor in core.open_model(file).tensors:
        (source,) = tensor.sources
        yield tensor.name, data[source.offset : source.offset + source.nbytes]


def test_the_reference_backend_writes_the_same_bytes(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "m")
    expected = made(folder, "Q4_K_M", tmp_path / "a.gguf", backend="reference")
    assert made(folder, "Q4_K_M", tmp_path / "b.gguf") == expected


@pytest.mark.parametrize("dtype", ["F32", "F64", pytest.param("F16", marks=pytest.mark.slow)])
def test_other_source_types_are_read(dtype: str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "m", dtype=dtype)
    report = core.verify_file(Path(_target(folder, tmp_path)), source=core.open_model(folder))
    assert report.ok
    assert 0.001 < report.errors[0].rmse < 0.01, "Q8_0 errs by half a percent"


def _target(folder: Path, at: Path) -> str:
    made(folder, "Q8_0", at / "out.gguf")
    return str(at / "out.gguf")


def test_a_gguf_as_source_gives_the_bytes_that_its_folder_gives(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "m")
    made(folder, "BF16", tmp_path / "bf16.gguf", card=False)
    expected = made(folder, "Q4_K_M", tmp_path / "b.gguf", card=False)
    assert made(tmp_path / "bf16.gguf", "Q4_K_M", tmp_path / "a.gguf", card=False) == expected


def test_a_quantized_source_needs_to_be_allowed(tmp_path: Path) -> None:
    made(SAMPLE, "Q8_0", tmp_path / "q8.gguf")
    assert (
        "--allow-requantize"
        in failed(tmp_path / "q8.gguf", tmp_path / "o.gguf", "quantized already", recipe="Q4_K_M").hint
    )
    made(tmp_path / "q8.gguf", "Q4_K_M", tmp_path / "o.gguf", allow_requantize=True)
    assert generate(tmp_path / "o.gguf", tokens=4).strip()


def test_a_quantized_gguf_made_again_in_its_own_formats_needs_no_leave_and_stays_as_it_is(tmp_path: Path) -> None:
    first = made(SAMPLE, "Q8_0", tmp_path / "q8.gguf", card=False)
    assert first == made(tmp_path / "q8.gguf", "Q8_0", tmp_path / "o.gguf", card=False)


def test_pure_gives_every_matrix_the_base_format(tmp_path: Path) -> None:
    made(SAMPLE, "Q4_K_M", tmp_path / "o.gguf", pure=True)
    assert {t.dtype for t in core.open_model(tmp_path / "o.gguf").tensors} == {"Q4_K", "F32"}


def test_rows_that_are_no_multiple_of_256_take_the_fallback_formats(tmp_path: Path) -> None:
    folder = make_llama(
        tmp_path / "m", hidden_size=160, intermediate_size=288, num_attention_heads=5, num_key_value_heads=5
    )
    made(folder, "Q4_K_M", tmp_path / "o.gguf")
    assert {t.dtype for t in core.open_model(tmp_path / "o.gguf").tensors} == {"Q5_0", "Q8_0", "F32"}


def test_progress_only_grows_and_ends_with_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.running.meter, "PROGRESS_SECONDS", 1e-6)
    events = [e for e in run(SAMPLE, "Q4_K_M", tmp_path / "o.gguf") if isinstance(e, core.Progress)]
    done = [e.bytes_done for e in events]
    assert done == sorted(done)
    assert events[-1].bytes_done == events[-1].bytes_total == core.open_model(SAMPLE).source_bytes
    assert events[-1].tensors_done == events[-1].tensors_total == 29
    assert list(dict.fromkeys(e.stage for e in events)) == ["encode", "write", "verify"]
    assert all(e.eta is None or e.eta >= 0 for e in events)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("recipe", ["Q8_0", "Q4_K_M", "F16", pytest.param("Q2_K", marks=pytest.mark.slow)])
def test_a_weight_that_is_not_finite_is_named(bad: float, recipe: str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "m")
    tensors = weights(llama_shapes(json.loads((folder / "config.json").read_text())))
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name][7, 300] = to_bits(np.array(bad), "BF16")
    write_weights(folder, tensors)
    last = failed(folder, tmp_path / "o.gguf", "NaN or an infinity at row 7, column 300", recipe=recipe)
    assert name in last.message


def test_an_existing_target_is_kept_unless_allowed(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    out.write_text("precious")
    assert "--overwrite" in failed(SAMPLE, out, "exists already").hint
    assert len(made(SAMPLE, "Q8_0", out, overwrite=True)) > 10**6


def test_a_target_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    events = core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(out)))
    seen = []
    for event in events:
        seen.append(event)
        if not out.exists() and part_path(out).exists():
            out.write_text("somebody else's")
    last = seen[-1]
    assert isinstance(last, core.Failed)
    assert "appeared" in last.message
    assert out.read_text() == "somebody else's"
    assert last.resumable
    out.unlink()
    *_, last = core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(out)), resume=True)
    assert isinstance(last, core.Done)
    assert not part_path(out).exists()


@pytest.mark.parametrize("link", [False, True])
def test_the_source_is_never_the_target(link: bool, tmp_path: Path) -> None:
    source = tmp_path / "f16.gguf"
    made(SAMPLE, "F16", source)
    out = tmp_path / "same.gguf" if link else source
    if link:
        out.symlink_to(source)
    failed(source, out, "is the source itself", overwrite=True)


def test_a_missing_target_folder_is_named(tmp_path: Path) -> None:
    failed(SAMPLE, tmp_path / "no" / "o.gguf", "does not exist")


def test_a_folder_as_target_is_refused(tmp_path: Path) -> None:
    failed(SAMPLE, tmp_path, "is a folder")


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    failed(SAMPLE, tmp_path / "o.gguf", "may not be written to")


def test_a_disk_that_is_too_small_is_refused_with_the_arithmetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    last = failed(SAMPLE, tmp_path / "o.gguf", "2,000,000 bytes free")
    needed = core.make_plan(core.open_model(SAMPLE), core.find_recipe("Q8_0")).file_bytes
    assert f"{needed:,} bytes" in last.message
    assert "are missing" in last.message


def fails_after(calls: int, number: int, real: Callable[..., Any]) -> Callable[..., Any]:
    state = {"left": calls}

    def call(*args: Any) -> Any:
        state["left"] -= 1
        if state["left"] < 0:
            raise OSError(number, os.strerror(number))
        return real(*args)

    return call


@pytest.mark.parametrize("calls", [0, 1, 20])
def test_a_disk_that_fills_up_in_the_middle_is_said_in_words(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", fails_after(calls, errno.ENOSPC, os.pwrite))
    failed(SAMPLE, tmp_path / "o.gguf", "disk filled up", exit_code=1)


def test_a_disk_without_room_at_the_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", fails_after(0, errno.ENOSPC, os.posix_fallocate))
    failed(SAMPLE, tmp_path / "o.gguf", "disk filled up", exit_code=1)


def test_a_file_system_without_preallocation_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", fails_after(0, errno.EOPNOTSUPP, os.posix_fallocate))
    made(SAMPLE, "Q8_0", tmp_path / "o.gguf")


def test_a_file_system_without_hard_links_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", fails_after(0, errno.EPERM, os.link))
    made(SAMPLE, "Q8_0", tmp_path / "o.gguf")


def test_a_source_that_vanishes_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "preadv", fails_after(5, errno.EIO, os.preadv))
    failed(SAMPLE, tmp_path / "o.gguf", "cannot be read any more", exit_code=1)


def test_a_source_cut_short_after_the_check_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "preadv", lambda *args: 0)
    failed(SAMPLE, tmp_path / "o.gguf", "ends in the middle", exit_code=1)


def test_running_out_of_memory_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*args: Any, **options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(kernels, "encode", encode)
    failed(SAMPLE, tmp_path / "o.gguf", "out of memory", exit_code=1)


def test_a_file_that_does_not_pass_its_check_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = kernels.encode

    def encode(rows: Any, format: str, **options: Any) -> Any:
        data = real(rows, format, **options)
        if format == "Q8_0":
            data[0, 1] = 0x7C  # the first scale becomes infinite
        return data

    monkeypatch.setattr(kernels, "encode", encode)
    failed(SAMPLE, tmp_path / "o.gguf", "did not pass its check", exit_code=1)


def test_cancel_stops_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    *_, last = core.run(core.QuantizeJob(str(SAMPLE), "Q4_K_M", str(out)), cancelled=lambda: True)
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert list(tmp_path.iterdir()) == []


def test_a_generator_that_nobody_finishes_leaves_nothing(tmp_path: Path) -> None:
    events = core.run(core.QuantizeJob(str(SAMPLE), "Q4_K_M", str(tmp_path / "o.gguf")))
    for event in events:
        if isinstance(event, core.Progress):
            break
    events.close()
    assert list(tmp_path.iterdir()) == []


def test_two_jobs_never_write_the_same_file(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    with PartFile(out, 100, overwrite=False) as part:
        last = run(SAMPLE, "Q8_0", out)[-1]
        assert isinstance(last, core.Failed)
        assert "Another job" in last.message
        assert part.path.exists(), "the other job's file stays"
        part.finish()


def test_a_download_of_another_program_beside_the_target_is_not_touched(tmp_path: Path) -> None:
    foreign = tmp_path / "o.gguf.part"
    foreign.write_text("half a download")
    made(SAMPLE, "Q8_0", tmp_path / "o.gguf")
    assert foreign.read_text() == "half a download"


def test_what_a_killed_job_left_is_swept_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    part_path(out).write_bytes(bytes(10**7))
    made(SAMPLE, "Q8_0", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.gguf", "o.gguf.snug.json"]


def test_kill_9_leaves_no_file_under_the_final_name(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    folder = make_llama(tmp_path / "m", num_hidden_layers=40)
    job = core.QuantizeJob(str(folder), "Q4_K_M", str(out), backend="reference")
    code = f"import core; from core import QuantizeJob; [None for _ in core.run({job!r})]"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(core.__file__).parent.parent)
    deadline = time.monotonic() + 60
    while not part_path(out).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not out.exists()
    made(folder, "Q4_K_M", out)
    assert not part_path(out).exists()


@pytest.mark.parametrize(("field", "value"), [("backend", "cuda"), ("threads", -1), ("recipe", "Q9_Z")])
def test_a_job_with_a_senseless_setting_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"recipe": "Q8_0"} | {field: value}
    failed(SAMPLE, tmp_path / "o.gguf", str(value), **settings)


def test_a_source_with_the_name_of_the_unfinished_target_is_kept(tmp_path: Path) -> None:
    made(SAMPLE, "BF16", tmp_path / "a.gguf")
    source = (tmp_path / "a.gguf").rename(tmp_path / "b.gguf.snug-part")
    before = source.read_bytes()
    last = run(source, "Q8_0", tmp_path / "b.gguf")[-1]
    assert isinstance(last, core.Failed)
    assert "the unfinished b.gguf would have" in last.message
    assert last.exit_code == 2
    assert source.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="makes a FIFO")
@pytest.mark.parametrize("name", ["o.gguf", "o.gguf.snug-part"])
def test_what_is_no_ordinary_file_is_never_replaced(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    last = run(SAMPLE, "Q8_0", tmp_path / "o.gguf", overwrite=True)[-1]
    assert isinstance(last, core.Failed)
    assert "no ordinary file" in last.message
    assert last.exit_code == 2
    assert (tmp_path / name).is_fifo()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_dangling_link_at_the_target_is_seen_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "o.gguf").symlink_to(tmp_path / "nothing")
    failed(SAMPLE, tmp_path / "o.gguf", "exists already")


@pytest.mark.parametrize(("name", "words"), [("x" * 252 + ".gguf", "no place for a file"), ("~nobody-here/o", "home")])
def test_a_target_that_no_system_takes_is_bad_input(name: str, words: str, tmp_path: Path) -> None:
    last = run(SAMPLE, "Q8_0", Path(name) if name[0] == "~" else tmp_path / name)[-1]
    assert isinstance(last, core.Failed)
    assert words in last.message
    assert last.exit_code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_job_that_opened_the_part_file_too_early_leaves_the_finished_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "o.gguf"
    lock = core.running.output.lock_file
    with PartFile(out, 3, overwrite=True) as first:
        first.write(0, b"abc")

        def finish_first(descriptor: int) -> bool:
            first.finish()
            first.__exit__(None, None, None)
            return lock(descriptor)

        monkeypatch.setattr(core.running.output, "lock_file", finish_first)
        with pytest.raises(core.SnugError, match="Another job"), PartFile(out, 3, overwrite=True):
            pass
    assert out.read_bytes() == b"abc"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_the_part_file_is_locked_until_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, replace, held = tmp_path / "o.gguf", os.replace, []

    def replaced(source: Path, target: Path) -> None:
        with source.open("rb") as file:
            held.append(not core.running.output.lock_file(file.fileno()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    with PartFile(out, 3, overwrite=True) as part:
        part.finish()
    assert held == [True]


def test_threads_are_those_that_a_container_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Pool(core.running.encode.ThreadPoolExecutor):
        def __init__(self, threads: int, name: str) -> None:
            asked.append(threads)
            super().__init__(threads, name)

    monkeypatch.setattr(core.running.encode, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(core.running.encode, "usable_cores", lambda: 1.5)
    made(SAMPLE, "F16", tmp_path / "o.gguf")
    assert asked == [2]


def test_a_new_file_that_vanishes_before_its_check_is_a_failure_not_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PartFile, "sync", lambda part: part.path.unlink())
    failed(SAMPLE, tmp_path / "o.gguf", "was removed while it was written", exit_code=1)


def test_no_memory_to_map_the_new_file_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(core.gguf.mmap, "mmap", refuse)
    failed(SAMPLE, tmp_path / "o.gguf", "out of memory", exit_code=1)


def test_a_job_is_cancelled_between_two_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[list[str]] = []
    monkeypatch.setattr(kernels, "prepare", lambda formats, dtype, **_: prepared.append(formats))
    events = core.run(
        core.QuantizeJob(str(SAMPLE), "Q4_K_M", str(tmp_path / "o.gguf")), cancelled=lambda: bool(prepared)
    )
    *_, last = events
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert len(prepared) == 1


def test_a_job_says_that_it_begins_before_there_is_anything_to_sweep_up(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    seen = [
        (type(event), part_path(out).exists()) for event in core.run(core.QuantizeJob(str(SAMPLE), "F16", str(out)))
    ]
    assert next(exists for kind, exists in seen if kind is core.Progress) is False


def test_a_job_killed_before_its_end_was_noted_ends_well_when_resumed(tmp_path: Path) -> None:
    job = core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf"))
    events = core.run(job)
    assert any(isinstance(event, core.Done) for event in events)  # stops there
    journal, made = journal_path(job.target).read_bytes(), Path(job.target).read_bytes()
    events.close()
    assert not journal_path(job.target).exists()
    journal_path(job.target).write_bytes(journal)
    assert isinstance([*core.run(job, resume=True)][-1], core.Done)
    assert Path(job.target).read_bytes() == made
    assert not journal_path(job.target).exists()
