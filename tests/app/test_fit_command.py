"""snug fit --header: one JSON object in bytes, or llama.cpp's refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app import cli
from tests.core.memory.goldens import _expand as expand
from tests.core.memory.goldens import goldens, rows, truth

PARTS = ("weights", "kv", "compute", "output", "total")


def written(folder: Path, name: str, **settings: Any) -> str:
    model = goldens()["models"][name]
    tensors = {tensor: {"dtype": dtype, "shape": shape} for tensor, (dtype, shape) in expand(model["tensors"])}
    said = {"n_parallel": 1, "n_ubatch": 512, "outputs": "one"} | settings
    file = folder / f"{name}.json"
    content = {"id": name, "config": model["config"], "tensors": tensors, "quant": "Q4_K_M", "settings": said}
    file.write_text(json.dumps(content), encoding="utf-8")
    return str(file)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], int]:
    code = cli.main(["fit", *arguments, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found, code


def test_the_parts_are_llama_cpps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "qwen3-0.6b")
    for row in list(rows("qwen3-0.6b"))[:60:7]:
        if row["device"] != "cpu-norepack" and row["outputs"] == "one" and row["preset"] == "Q4_K_M":
            layers = ("--gpu-layers", str(row["n_gpu_layers"]))
            found, code = asked(capsys, "--header", file, "--ctx", str(row["n_ctx"]), "--kv", row["kv"], *layers)
            assert code == 0
            if (row["n_gpu_layers"] > 0) == (row["device"] == "gpu"):
                assert [found[part] for part in PARTS] == [truth(row, part) for part in PARTS]


def test_gpu_and_host_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "olmoe-1b-7b")
    found, _ = asked(capsys, "--header", file, "--gpu-layers", "8", "--n-cpu-moe", "4")
    assert all(found[part] == found["gpu"][part] + found["host"][part] for part in PARTS)
    assert found["total"] == sum(found[part] for part in PARTS[:-1])
    in_ram, _ = asked(capsys, "--header", file, "--gpu-layers", "17", "--cpu-moe")
    assert in_ram["gpu"]["weights"] < in_ram["host"]["weights"]


def test_what_llama_cpp_refuses_is_an_error_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, code = asked(capsys, "--header", written(tmp_path, "phi-2"), "--kv", "q8_0")
    assert (set(found), code) == ({"error"}, 2)
    assert "block size 32 does not divide n_embd_head_k=80" in found["error"]


def test_what_is_no_header_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"config": 3}')
    found, code = asked(capsys, "--header", str(file))
    assert code != 0
    assert "header" in found["error"]
