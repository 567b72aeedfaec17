"""core.doctor: a report that tells enough and nothing private."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.doctor import cleaned_of, examine
from core.hardware import Cpu, Gpu, Hardware, Holder, Memory
from core.hardware.machine import say


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home folder of our own and nothing measured, so that a report is quick."""
    home = tmp_path / "home" / "waltraud"
    home.mkdir(parents=True)
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr("core.doctor._user", lambda: "waltraud")
    monkeypatch.setattr("core.doctor.measure", lambda hardware, folder: __import__("core").Measured())
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return home


def machine() -> Hardware:
    gpu = Gpu("NVIDIA GeForce RTX 4090", "NVIDIA", "GPU-1f2e3d4c-aaaa", 24, 20, 4, "570", holders=(Holder("diary", 4),))
    memory = Memory(64, 32, "system", holders=(Holder("secret-project", 9),), sources=say("/proc/meminfo", "total"))
    return Hardware(Cpu("Processor", 8, 16, 16.0, ("AVX2",)), memory, (gpu,), notes=("GPU-1f2e3d4c is lost.",))


def test_a_report_has_all_that_a_bug_tracker_asks_for(quiet: Path) -> None:
    found = json.loads(json.dumps(examine()))
    assert {"snug", "system", "libraries", "processor", "memory", "graphics", "disks", "caches", "kernels"} <= {*found}
    assert found["memory"]["total"]["source"]
    assert found["memory"]["total"]["confidence"] == "high"
    assert found["libraries"]["numpy"][0].isdigit()
    assert isinstance(found["unread"], list)


def test_a_report_names_no_user_no_program_no_serial_and_no_token(quiet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.doctor.detect", machine)
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1f2e3d4c-aaaa")
    monkeypatch.setenv("HF_HOME", "/mnt/waltraud/models")
    text = json.dumps(examine())
    for secret in ("waltraud", "hf_abc", "1f2e3d4c", "diary", "secret-project", "/mnt", str(quiet)):
        assert secret not in text, secret
    assert '"HF_TOKEN": "set"' in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/waltraud/models/x.gguf", "~/models/x.gguf"),
        ("token hf_AbCdEfGhIjKl here", "token <token> here"),
        ("/media/waltraud/disk", "/media/<user>/disk"),
        ("nothing of the sort", "nothing of the sort"),
    ],
)
def test_texts_are_cleaned(text: str, expected: str) -> None:
    assert cleaned_of(text, home=Path("/home/waltraud"), user="waltraud") == expected


def test_a_short_user_name_does_not_tear_words_apart() -> None:
    assert cleaned_of({"a": ["ai and more"]}, home=Path("/home/ai"), user="ai") == {"a": ["ai and more"]}
