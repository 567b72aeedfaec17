"""Each family's keys and tensors, and what they are made of, are those that llama.cpp's converter writes.

A golden file has a config, the keys, and a line for each tensor of the GGUF: name, GGUF shape, where it comes from. The
source's headers are made from the lines, so whatever they name must be used, and nothing else may come out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.architectures import Source, find_architecture, flat_config, map_model
from core.architectures.mapping import Mapped
from core.errors import SnugError
from core.model import OutputTensor, TensorInfo
from core.tensor_ops import apply_all

Array = npt.NDArray[Any]
GOLDEN = Path(__file__).parent / "golden" / "families"
_LINE = re.compile(r"(\S+) \[([\d, ]+)\] (\w+) <- (\S+?)(?:\[([\d:,]+) of (\d+)\])?((?: .*)?)")
_FROM_CONFIG = "computed"


@dataclass(frozen=True)
class Line:
    """`name [ne] type <- origin[rows of all] remarks`, as the golden files have it."""

    name: str
    shape: tuple[int, ...]
    origin: str
    rows: tuple[int, ...]
    all_rows: int
    remarks: str

    @property
    def sources(self) -> list[str]:
        """Origins joined by ++, and numbered ones as {0..3}."""
        names = [self.origin, *re.findall(r"\+\+ (\S+)", self.remarks)]
        return [name for text in names for name in _numbered(text)] if names != [_FROM_CONFIG] else []

    @cached_property
    def source_shape(self) -> tuple[int, ...]:
        stored = re.search(r"reshaped from \[([\d, ]+)\]", self.remarks)
        if stored:
            return tuple(int(size) for size in stored[1].split(","))
        shape = self.shape[1:] if len(self.sources) > 1 else self.shape
        if "transposed" in self.remarks:
            return shape[:-2] + shape[:-3:-1]
        return (self.all_rows, *shape[1:]) if self.rows else shape

    def expected(self, values: list[Array]) -> Array:
        whole = np.stack(values) if len(values) > 1 else values[0]
        if self.rows:
            whole = whole.reshape(self.all_rows, -1)[list(self.rows)]
            if "transposed" in self.remarks:
                stack, columns, rows = self.shape
                return whole.reshape(stack, rows, columns).swapaxes(1, 2)
            return whole
        if "transposed" in self.remarks:
            return whole.swapaxes(-1, -2)
        if "-exp()" in self.remarks:
            whole = -np.exp(whole)
        return whole + np.float32("+ 1" in self.remarks)

    @property
    def is_exact(self) -> bool:
        return "another order" not in self.remarks and "scaled" not in self.remarks


def _numbered(text: str) -> Iterator[str]:
    found = re.search(r"\{0\.\.(\d+)\}", text)
    yield from (text.replace(found[0], str(at)) for at in range(int(found[1]) + 1)) if found else [text]


def _line(text: str) -> Line:
    found = _LINE.fullmatch(text)
    assert found, text
    shape = tuple(int(size) for size in found[2].split(","))[::-1]
    ranges = [tuple(map(int, run.split(":"))) for run in (found[5] or "").split(",") if run]
    rows = tuple(row for first, end in ranges for row in range(first, end))
    return Line(found[1], shape, found[4], rows, int(found[6] or 0), found[7])


def _lines(golden: dict[str, Any]) -> list[Line]:
    return [_line(text) for text in golden["tensors"]]


def _source(golden: dict[str, Any], arch: str, config: Any) -> Source:
    shapes = {name: line.source_shape for line in _lines(golden) for name in line.sources}
    shapes |= dict.fromkeys(golden["dropped"], (8, 8))
    tensors = {name: TensorInfo(name, "BF16", shape, Path("x"), 0, 2 * prod(shape)) for name, shape in shapes.items()}
    files, values = golden.get("files", {}), golden.get("values", {})
    return Source(arch, config, tensors, files.get, lambda name: values.get(name))


def _mapped(golden: dict[str, Any]) -> Mapped:
    config = flat_config({"architectures": [golden["class"]], **golden["config"]})
    entry = find_architecture(config)
    assert entry.arch == golden["arch"]
    return map_model(entry, _source(golden, entry.arch, entry.config(config)))


def _values(tensor: TensorInfo) -> Array:
    """Small numbers that differ wherever rows and columns do."""
    seed = sum(tensor.name.encode()) + len(tensor.name)
    return np.random.default_rng(seed).standard_normal(tensor.shape, np.float32)


def _made(tensor: OutputTensor) -> Array:
    parts = []
    for part in tensor.parts:
        values = _values(part.source)
        parts.append(apply_all(part.ops, values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1), values.shape))
    return np.concatenate(parts).reshape(tensor.shape)


def _as_stored(kind: str, value: Any) -> Any:
    if "f32" not in kind:
        return value
    return [float(np.float32(one)) for one in value] if isinstance(value, list) else float(np.float32(value))


NAMES = sorted(file.stem for file in GOLDEN.glob("*.json"))


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"{request.param}.json").read_text(encoding="utf-8"))
    return content


def test_keys_are_those_of_the_converter(golden: dict[str, Any]) -> None:
    made = {item.key: [item.type, _as_stored(item.type, item.value)] for item in _mapped(golden).keys}
    own = {key: value for key, value in made.items() if not key.startswith(("general.", "tokenizer."))}
    assert own == {key: [kind, _as_stored(kind, value)] for key, (kind, value) in golden["keys"].items()}


def test_tensors_are_those_of_the_converter(golden: dict[str, Any]) -> None:
    mapped = _mapped(golden)
    made = {tensor.name: (tensor.shape, sorted(source.name for source in tensor.sources)) for tensor in mapped.tensors}
    assert made == {line.name: (line.shape, sorted(line.sources)) for line in _lines(golden)}
    assert sorted(name for name, _ in mapped.dropped) == sorted(golden["dropped"])


def test_values_go_where_the_converter_puts_them(golden: dict[str, Any]) -> None:
    tensors = {tensor.name: tensor for tensor in _mapped(golden).tensors}
    for line in _lines(golden):
        tensor = tensors[line.name]
        if not tensor.parts:
            continue
        by_name = {source.name: _values(source) for source in tensor.sources}
        made, expected = _made(tensor), line.expected([by_name[name] for name in line.sources])
        if "scaled" in line.remarks:
            ratios = made / expected.reshape(made.shape)
            assert len(np.unique(ratios.round(4))) <= 5, line.name
        elif line.is_exact:
            np.testing.assert_allclose(made, expected.reshape(line.shape), rtol=1e-6, err_msg=line.name)
        else:
            assert not np.array_equal(made, expected.reshape(made.shape)), f"{line.name} should be reordered"
            np.testing.assert_allclose(np.sort(made.ravel()), np.sort(expected.ravel()), rtol=1e-6, err_msg=line.name)


def test_a_falcon_that_llama_cpp_cannot_run_is_refused() -> None:
    config = {"architectures": ["FalconForCausalLM"], "hidden_size": 8, "num_attention_heads": 2, "alibi": True}
    with pytest.raises(SnugError, match="ALiBi"):
        find_architecture(config).config(config)


@pytest.mark.parametrize("name", ["qwen3.5-text", "qwen3.5-moe"])
def test_without_its_files_the_block_for_one_token_more_is_not_counted(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    golden["tensors"] = [line for line in golden["tensors"] if "<- mtp." not in line]
    keys = {item.key.partition(".")[2]: item.value for item in _mapped(golden).keys}
    assert (keys["block_count"], len(keys["attention.recurrent_layers"])) == (4, 4)
    assert "nextn_predict_layers" not in keys
