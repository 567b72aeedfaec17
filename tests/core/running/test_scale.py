"""Memory stays small whatever the model: measured in processes of their own, on files whose weights are holes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sparse import MOE_235B, make_sparse

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read where Linux shows it"),
]
ROOT = Path(__file__).resolve().parents[3]
GB = 10**9

# What getrusage calls the peak of a process includes that of the process it was forked from.
_PEAK = """
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
"""
_PLAN = """
import json, sys
import core
model = core.open_model(sys.argv[1])
plan = core.make_plan(model, core.find_recipe("Q4_K_M"))
sizes = {"weights": model.parameters, "tensors": len(model.tensors), "bytes": plan.file_bytes}
print(json.dumps({**sizes, "peak": peak()}))
"""
_CONVERT = """
import json, sys
import core
done = 0
job = core.QuantizeJob(sys.argv[1], "TQ2_0", sys.argv[2])
for event in core.run(job, cancelled=lambda: done > int(sys.argv[3])):
    if isinstance(event, core.Progress):
        done = event.bytes_done
print(json.dumps({"done": done, "peak": peak(), "cancelled": getattr(event, "cancelled", False)}))
"""


def run(script: str, *arguments: object) -> dict[str, int]:
    result = subprocess.run(
        [sys.executable, "-c", _PEAK + script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    values: dict[str, int] = json.loads(result.stdout)
    return values


def test_235_billion_weights_are_planned_in_300_mb(tmp_path: Path) -> None:
    make_sparse(tmp_path, **MOE_235B)
    found = run(_PLAN, tmp_path)
    assert found["weights"] > 234 * GB
    assert found["tensors"] < 1_100
    assert found["peak"] < 300 * 10**6


def test_a_model_of_60_gb_is_converted_in_1_gb(tmp_path: Path) -> None:
    """Its experts come layer by layer in slabs; after several layers the peak is what it stays at."""
    seeming = make_sparse(tmp_path / "model", **MOE_235B | {"num_hidden_layers": 12})
    assert seeming > 60 * GB
    found = run(_CONVERT, tmp_path / "model", tmp_path / "out.gguf", 12 * GB)
    assert found["cancelled"]
    assert found["done"] > 12 * GB
    assert found["peak"] < GB
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_one_matrix_of_4_gb_is_converted_in_1_gb(tmp_path: Path) -> None:
    """An embedding for which a model's memory would not do is read in slabs of rows."""
    make_sparse(tmp_path / "model", vocab_size=1_000_000, hidden_size=2048, num_attention_heads=32)
    found = run(_CONVERT, tmp_path / "model", tmp_path / "out.gguf", 5 * GB)
    assert found["done"] > 5 * GB
    assert found["peak"] < GB
