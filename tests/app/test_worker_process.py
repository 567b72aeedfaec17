from __future__ import annotations

import pytest

from app.worker_process import worker_command


def test_a_frozen_program_starts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_command()[1:] == ["-u", "-m", "app", "worker"]
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert worker_command()[1:] == ["worker"]
