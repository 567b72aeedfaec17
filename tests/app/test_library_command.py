"""`snug ls`, `rm`, `gc` and `inspect` as people and programs use them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer

from core import sample_folder
from tests.app.commands import answered, spoken
from tests.core.library.stores import add_to_hub, add_to_ollama, gguf_bytes, lone_home, put, safetensors_bytes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a model of ours, one of Ollama's, and something left over."""
    hub = lone_home(monkeypatch, tmp_path)
    add_to_hub(hub, "Org/Model", {"config.json": b'{"model_type": "qwen3"}', "model.safetensors": safetensors_bytes()})
    put(hub / "models--Org--Model" / "blobs" / "abc.0123abcd.incomplete", b"x" * 1000)
    add_to_ollama(tmp_path / ".ollama" / "models", "registry.ollama.ai/library/tiny/1b", gguf_bytes())
    return tmp_path


def test_ls_lists_every_store_and_what_is_left_over(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = spoken(capsys, "ls")
    assert "Org/Model qwen3 BF16" in out
    assert "tiny:1b llama Q4_K_M" in out
    assert "2 models" in out
    assert "1.0 kB are left over from earlier; snug gc cleans up." in out
    assert err == ""
    found = answered(capsys, "ls")
    assert [(model["name"], model["removable"]) for model in found["models"]] == [
        ("Org/Model", True),
        ("tiny:1b", False),
    ]
    assert found["useless_bytes"] == 1000
    assert found["disk"]["free"] > 0


def test_ls_without_models_says_how_to_get_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    lone_home(monkeypatch, home / "nobody")
    assert "snug pull get one" in spoken(capsys, "ls")[0]


def test_rm_says_what_would_go_and_does_it_only_when_told(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    folder = home / "hub" / "models--Org--Model"
    promised = answered(capsys, "rm", "Org/Model")
    assert (promised["done"], promised["freed_bytes"]) == (False, 0)
    assert folder.exists()
    out, _ = spoken(capsys, "rm", "Org/Model")
    assert f"would be freed: {promised['would_free_bytes']:,} bytes" in out
    assert "say --yes to do it" in out
    assert folder.exists()
    done = answered(capsys, "rm", "Org/Model", "--yes")
    assert done["freed_bytes"] == promised["would_free_bytes"]
    assert not folder.exists()


@pytest.mark.parametrize("answer", [True, False])
def test_rm_asks_a_person(
    answer: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: answer)
    out, _ = spoken(capsys, "rm", "Org/Model")
    assert ("Nothing was removed." in out) is not answer
    assert (home / "hub" / "models--Org--Model").exists() is not answer


def test_rm_refuses_another_tools_model_and_says_how_there(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    _, err = spoken(capsys, "rm", "tiny:1b", "--yes", code=2)
    assert "belongs to Ollama" in err
    assert "ollama rm tiny:1b" in err
    assert len(list((home / ".ollama" / "models" / "blobs").iterdir())) == 2
    assert "no model nowhere" in answered(capsys, "rm", "nowhere", code=2)["error"]


def test_gc_cleans_up_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = spoken(capsys, "gc")
    assert "1 file, 1.0 kB would be freed: 1,000 bytes." in out
    assert answered(capsys, "gc", "--yes")["freed_bytes"] == 1000
    assert "Nothing is left over." in spoken(capsys, "gc")[0]


def test_what_the_command_line_makes_is_snugs_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "made" / "sample.gguf"
    target.parent.mkdir()
    answered(capsys, "quantize", str(sample_folder()), "--type", "Q8_0", "--out", str(target), "--threads", "1")
    found = {model["path"]: model for model in answered(capsys, "ls")["models"]}
    assert found[str(target)]["origin"] == "made with Snug"
    assert found[str(target)]["quantization"] == "Q8_0"
    size = sum(path.stat().st_size for path in target.parent.iterdir())
    assert answered(capsys, "rm", str(target), "--yes")["freed_bytes"] == size
    assert list(target.parent.iterdir()) == []


def test_inspect_shows_keys_and_tensors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = str(put(tmp_path / "m.gguf", gguf_bytes(3)))
    out, _ = spoken(capsys, "inspect", file)
    assert "general.name str Seed 3" in out
    assert "weight Q4_K 4 × 256 576" in out
    found = answered(capsys, "inspect", file)
    assert [tensor["shape"] for tensor in found["tensors"]] == [[256], [4, 256]]
    assert found["formats"][0] == {"format": "F32", "tensors": 1, "nbytes": 1024}


def test_inspect_shows_how_the_values_of_a_tensor_are_spread(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = str(put(tmp_path / "m.gguf", gguf_bytes(3)))
    out, _ = spoken(capsys, "inspect", file, "--tensor", "norm")
    assert "Zeros 256" in out
    assert answered(capsys, "inspect", file, "--tensor", "norm")["histogram"]["looked_at"] == 256
    assert "weight" in answered(capsys, "inspect", file, "--tensor", "wei", code=2)["hint"]
