from __future__ import annotations

import pytest

from app.worker_process import ending, worker_command


def test_a_kill_while_the_system_ran_out_of_memory_is_called_that() -> None:
    assert ending(crashed=True, code=9, memory_kills=1).message == (
        "The computer ran out of memory, and the system stopped the worker."
    )


def test_a_kill_without_that_is_a_crash_with_its_signal() -> None:
    assert ending(crashed=True, code=9, memory_kills=0).message == "The worker crashed (signal 9)."
    assert ending(crashed=True, code=11, memory_kills=1).message == "The worker crashed (signal 11)."


def test_an_end_without_a_word_is_a_failure_with_its_exit_code() -> None:
    failure = ending(crashed=False, code=0, memory_kills=0)
    assert failure.message == "The worker stopped without a result (exit code 0)."
    assert not failure.cancelled


def test_a_frozen_program_starts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_command()[1:] == ["-u", "-m", "app", "worker"]
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert worker_command()[1:] == ["worker"]
