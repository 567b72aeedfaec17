"""`snug reproduce` on the command line: words, JSON and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

import core
from tests.app.commands import answered, spoken
from tests.models import SAMPLE


def made(tmp_path: Path) -> Path:
    *_, last = core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf")))
    assert isinstance(last, core.Done), last
    return tmp_path / "o.gguf"


def test_the_same_file_is_said_to_be_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = spoken(capsys, "reproduce", str(made(tmp_path)), "--source", str(SAMPLE))
    assert "The same file, byte for byte: 29 tensors and the header." in out
    assert "SHA-256" in out


def test_a_changed_tensor_is_named_and_the_exit_code_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = made(tmp_path)
    tensor = core.open_model(file).tensors[0].sources[0]
    data = bytearray(file.read_bytes())
    data[tensor.offset] ^= 1
    file.write_bytes(data)
    out, _ = spoken(capsys, "reproduce", str(file), "--source", str(SAMPLE), code=1)
    assert f"Not the same: 1 of 29 tensors differ. {tensor.name} (Q8_0)" in out
    assert "The card gives no reason" in out
    found = answered(capsys, "reproduce", str(file), "--source", str(SAMPLE), code=1)
    assert found["differing"] == [{"name": tensor.name, "format_before": "Q8_0", "format": "Q8_0"}]


def test_what_cannot_be_made_again_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--source" in answered(capsys, "reproduce", str(made(tmp_path)), code=2)["hint"]


def test_a_file_is_made_without_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o.gguf"
    answered(capsys, "quantize", str(SAMPLE), "-t", "Q8_0", "-o", str(out), "--no-card")
    assert not core.card_path(out).exists()
    assert "no recipe card" in answered(capsys, "reproduce", str(out), code=2)["error"]
