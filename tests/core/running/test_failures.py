"""Every way to fail has a sentence, a hint, and an answer to whether it can be resumed."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import core
import core.running.failures
import kernels
from core.errors import Cancelled, Halted, JobFailed, SnugError
from core.events import Failed
from core.running.failures import (
    READING,
    WRITING,
    failure_of,
    is_full,
    is_out_of_vram,
    memory_kills,
    reading_failed,
    vram_note,
    worker_ended,
    writing_failed,
)
from tests.models import SAMPLE

OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "filled up"),
        (errno.EDQUOT, "filled up"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EIO, "input/output error"),
        (errno.ENOENT, "went away"),
        (errno.ESTALE, "went away"),
        (errno.EMFILE, "open files"),
        (errno.EDOM, os.strerror(errno.EDOM)),
    ],
)
def test_a_file_that_cannot_be_written_is_named_with_the_cause_and_can_be_resumed(number: int, words: str) -> None:
    found = writing_failed(system_error(number), "/disk/out.gguf")
    assert isinstance(found, Halted)
    assert words in found.message
    assert "resume" in found.hint
    assert is_full(system_error(number)) == (words == "filled up")


def test_a_file_too_large_for_its_disk_is_not_resumed_but_split() -> None:
    found = writing_failed(system_error(errno.EFBIG), "out.gguf")
    assert not found.resumable
    assert "--split-max-size" in found.hint


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.ESTALE, errno.EIO, errno.EACCES, errno.EDOM])
def test_a_source_that_is_gone_cannot_be_read_any_more(number: int) -> None:
    found = reading_failed(system_error(number), "/usb/model.safetensors")
    assert isinstance(found, Halted)
    assert "/usb/model.safetensors" in found.message
    assert "cannot be read any more" in found.message
    assert "resume" in found.hint


@pytest.mark.parametrize(("winerror", "words"), [(112, "filled up"), (21, "went away"), (1167, "went away")])
def test_windows_own_numbers_count_more_than_what_they_are_taken_for(winerror: int, words: str) -> None:
    error = system_error(errno.EACCES)
    error.winerror = winerror  # type: ignore[attr-defined]
    assert words in writing_failed(error, "D:/out.gguf").message


def test_each_row_of_the_table_is_a_sentence_with_a_hint() -> None:
    for cause in (*WRITING, *READING):
        message = cause.message.format(file="f.gguf")
        assert message.endswith(".")
        assert "f.gguf" in message
        assert cause.hint.endswith(".")


def test_what_a_person_can_mend_is_said_as_it_is() -> None:
    assert failure_of(SnugError("Wrong.", "Right it.")) == Failed("Wrong.", "Right it.", exit_code=2)
    assert failure_of(JobFailed("No.", "Again.")) == Failed("No.", "Again.", exit_code=1)
    assert failure_of(Halted("No.", "Again.")) == Failed("No.", "Again.", exit_code=1, resumable=True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "computer ran out of memory"),
        (system_error(errno.ENOMEM), "computer ran out of memory"),
        (OutOfMemoryError("CUDA out of memory"), "GPU ran out of memory"),
        (OSError(errno.ENOENT, "No such file", "model.safetensors"), "model.safetensors went away"),
        (OSError(errno.ENOSPC, "No space left"), "filled up"),
    ],
)
def test_what_runs_out_can_be_resumed(error: BaseException, words: str) -> None:
    found = failure_of(error)
    assert found is not None
    assert words in found.message
    assert found.resumable
    assert found.exit_code == 1


@pytest.mark.parametrize("error", [ValueError("x"), Cancelled(), KeyError("x"), RuntimeError("out of memory")])
def test_a_bug_is_not_explained_away(error: BaseException) -> None:
    assert failure_of(error) is None
    assert not is_out_of_vram(error)


def test_a_gpu_without_room_is_known_by_the_name_of_its_error() -> None:
    assert is_out_of_vram(OutOfMemoryError())
    assert is_out_of_vram(type("Child", (OutOfMemoryError,), {})())
    assert not is_out_of_vram(type("OutOfMemoryError", (RuntimeError,), {"__module__": "torchlike"})())
    assert vram_note("blk.0.ffn_up.weight", 3).startswith("The GPU has no room for blk.0.ffn_up.weight and 2 more")


def test_a_tensor_for_which_the_gpu_has_no_room_is_encoded_by_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "a.gguf"), threads=1, card=False)
    assert isinstance(list(core.run(job))[-1], core.Done)
    real, refused = kernels.encode, []

    def without_room(rows: Any, format: str, *, backend: str, **options: Any) -> Any:
        """A GPU that is chosen by "auto" and has room for small matrices only."""
        if backend == "auto" and rows.size > 100_000:
            refused.append(rows.size)
            raise OutOfMemoryError("CUDA out of memory")
        return real(rows, format, backend=backend, **options)

    monkeypatch.setattr(kernels, "encode", without_room)
    events = list(core.run(replace(job, target=str(tmp_path / "b.gguf"))))
    assert isinstance(events[-1], core.Done), events[-1]
    assert (tmp_path / "b.gguf").read_bytes() == (tmp_path / "a.gguf").read_bytes()
    said = [event.text for event in events if isinstance(event, core.Note) and "GPU has no room" in event.text]
    assert len(said) == len(set(said)) == len(refused) > 0
    assert "the processor did the work" in said[0]


def test_a_bug_while_encoding_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "encode", lambda *a, **k: {}["nothing"])
    with pytest.raises(KeyError):
        list(core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "a.gguf"))))


def test_a_kill_while_the_system_ran_out_of_memory_is_called_that() -> None:
    found = worker_ended(crashed=True, code=signal.SIGKILL, memory_kills=1)
    assert found.message == "The computer ran out of memory, and the system stopped the worker."
    assert found.resumable


@pytest.mark.parametrize(
    ("code", "kills", "words"),
    [
        (9, 0, "signal 9, SIGKILL): something outside"),
        (11, 1, "signal 11, SIGSEGV): it touched memory"),
        (7, 0, "signal 7, SIGBUS): a file was cut short"),
        (63, 0, "signal 63)."),
        (0xC0000005, 0, "access violation"),
        (0xC0000005 - (1 << 32), 0, "access violation"),
    ],
)
def test_a_crash_is_named_with_what_it_means(code: int, kills: int, words: str) -> None:
    found = worker_ended(crashed=True, code=code, memory_kills=kills)
    assert words in found.message
    assert "log" in found.hint
    assert found.resumable
    assert not found.cancelled


def test_windows_says_itself_that_memory_ran_out() -> None:
    assert "out of memory" in worker_ended(crashed=True, code=0xC0000017, memory_kills=0).message


def test_an_end_without_a_word_is_a_failure_with_its_exit_code() -> None:
    found = worker_ended(crashed=False, code=0, memory_kills=0)
    assert found.message == "The worker stopped without a result (exit code 0)."
    assert not found.cancelled


def test_the_kernels_count_is_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.running.failures, "_VMSTAT", tmp_path / "vmstat")
    assert memory_kills() == 0
    (tmp_path / "vmstat").write_text("pgfault 12\noom_kill 3\n")
    assert memory_kills() == 3
