"""One file in full: its keys, its tensors, and how the values of one of them are spread."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import kernels
from core import Cancelled, SnugError, sample_folder
from core.gguf import encode_header, pad
from core.library import inspect_file, tensor_histogram
from core.model import Metadata
from tests.core.library.stores import gguf_bytes, put
from tests.models import to_bits, write_raw, write_safetensors


def write_gguf(file: Path, values: np.ndarray, format: str, metadata: tuple[Metadata, ...] = ()) -> Path:
    header = encode_header(metadata, [("w", values.shape, format, 0)])
    data = kernels.encode(values, format, backend="reference").tobytes()
    return put(file, header + data + bytes(pad(len(data)) - len(data)))


def test_a_gguf_says_its_keys_and_tensors(tmp_path: Path) -> None:
    found = inspect_file(put(tmp_path / "m.gguf", gguf_bytes(3)))
    assert (found.kind, len(found.files), found.length) == ("GGUF", 1, (tmp_path / "m.gguf").stat().st_size)
    assert [(key.key, key.type, key.text) for key in found.keys] == [
        ("general.architecture", "str", "llama"),
        ("general.name", "str", "Seed 3"),
        ("general.file_type", "u32", "15"),
    ]
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in found.tensors] == [
        ("norm", "F32", (256,)),
        ("weight", "Q4_K", (4, 256)),
    ]
    assert [(share.format, share.nbytes) for share in found.formats] == [("F32", 1024), ("Q4_K", 576)]
    assert found.bits_per_weight == pytest.approx(8 * 1600 / 1280)


def test_a_folder_and_a_safetensors_file_say_the_same(tmp_path: Path) -> None:
    folder = inspect_file(sample_folder())
    assert folder.kind == "safetensors"
    assert folder.tensors == inspect_file(sample_folder() / "model.safetensors").tensors
    write_raw(tmp_path / "a.safetensors", {"__metadata__": {"format": "pt", "long": "x" * 300}}, b"")
    keys = inspect_file(tmp_path / "a.safetensors").keys
    assert [(key.key, key.text) for key in keys] == [("format", "pt"), ("long", "x" * 200 + "…")]
    assert keys[1].whole == "x" * 300


def test_long_lists_are_shown_by_their_beginning_and_nothing_obeys_a_terminal(tmp_path: Path) -> None:
    metadata = (Metadata("list", "[u32]", list(range(5000))), Metadata("odd", "str", "\x1b[31mred\nline"))
    keys = inspect_file(put(tmp_path / "m.gguf", encode_header(metadata, []))).keys
    assert keys[0].text == "[0, 1, 2, 3, 4, 5, 6, 7, … (5,000 in all)]"
    assert keys[1].text == "\ufffd[31mred line"


@pytest.mark.parametrize("name", ["nothing.gguf", "text.txt", "folder"])
def test_what_is_no_model_is_refused_in_words(name: str, tmp_path: Path) -> None:
    put(tmp_path / "text.txt", "hello, world")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SnugError) as refusal:
        inspect_file(tmp_path / name)
    assert refusal.value.hint


@pytest.mark.parametrize("format", ["F32", "F16", "BF16", "Q8_0", "Q4_K", "IQ4_XS"])
def test_a_histogram_counts_every_decoded_value(format: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((2, 512)).astype(np.float32)
    file = write_gguf(tmp_path / "m.gguf", values, format)
    found = tensor_histogram(inspect_file(file).tensors[0])
    decoded = kernels.decode(kernels.encode(values, format, backend="reference"), format).astype(np.float64)
    expected, edges = np.histogram(decoded, 64)
    assert sum(found.counts) == found.looked_at == found.weights == 1024
    assert (found.low, found.high) == (edges[0], edges[-1])
    assert np.abs(np.array(found.counts) - expected).sum() <= 8  # values on an edge may fall to either side
    assert (found.mean, found.deviation) == (pytest.approx(decoded.mean()), pytest.approx(decoded.std()))


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_floats_of_a_safetensors_file_are_read(dtype: str, tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(4, 16)
    write_safetensors(tmp_path / "a.safetensors", {"w": to_bits(values, dtype)}, dtype)
    found = tensor_histogram(inspect_file(tmp_path / "a.safetensors").tensors[0], bins=4)
    assert (found.low, found.high, found.looked_at) == (-1, 1, 64)
    assert [abs(count - 16) <= 1 for count in found.counts] == [True] * 4


@pytest.mark.parametrize(
    ("dtype", "code"), [("I8", "i1"), ("U8", "u1"), ("I32", "<i4"), ("I64", "<i8"), ("U16", "<u2")]
)
def test_integers_are_read(dtype: str, code: str, tmp_path: Path) -> None:
    values = np.arange(100, dtype=code)
    entry = {"w": {"dtype": dtype, "shape": [100], "data_offsets": [0, values.nbytes]}}
    write_raw(tmp_path / "a.safetensors", entry, values.tobytes())
    found = tensor_histogram(inspect_file(tmp_path / "a.safetensors").tensors[0], bins=10)
    assert (found.low, found.high, found.counts, found.zeros) == (0, 99, (10,) * 10, 1)


def test_fp8_is_read(tmp_path: Path) -> None:
    codes = kernels.numbers.encode_fp8(
        np.array([[-2, 0, 0.5, 448]], np.float32), kernels.numbers.E4M3, backend="reference"
    )
    write_raw(
        tmp_path / "a.safetensors", {"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, codes.tobytes()
    )
    found = tensor_histogram(inspect_file(tmp_path / "a.safetensors").tensors[0])
    assert (found.low, found.high, found.zeros) == (-2, 448, 1)


@pytest.mark.parametrize(
    ("values", "low", "high", "bad"),
    [
        ([math.nan, math.inf, -math.inf], 0, 0, 3),
        ([5.0] * 7, 5, 5, 0),
        ([-1.5e308, 1.5e308], -1.5e308, 1.5e308, 0),
        ([0.0, 5e-324], 0, 5e-324, 0),
        ([], 0, 0, 0),
    ],
)
def test_odd_values_give_a_histogram_all_the_same(
    values: list[float], low: float, high: float, bad: int, tmp_path: Path
) -> None:
    data = np.array(values, "<f8")
    entry = {"w": {"dtype": "F64", "shape": [len(values)], "data_offsets": [0, data.nbytes]}}
    write_raw(tmp_path / "a.safetensors", entry, data.tobytes())
    found = tensor_histogram(inspect_file(tmp_path / "a.safetensors").tensors[0])
    assert (found.low, found.high, found.non_finite) == (low, high, bad)
    assert sum(found.counts) == len(values) - bad
    assert json.dumps([found.mean, found.deviation], allow_nan=False)


def test_a_large_tensor_is_looked_at_in_slabs_spread_over_it(tmp_path: Path) -> None:
    data = np.zeros(1 << 23, np.uint8)
    data[-1 << 20 :] = 7
    entry = {"w": {"dtype": "U8", "shape": [1 << 23], "data_offsets": [0, 1 << 23]}}
    write_raw(tmp_path / "a.safetensors", entry, data.tobytes())
    tensor = inspect_file(tmp_path / "a.safetensors").tensors[0]
    assert tensor_histogram(tensor, most=1 << 22).looked_at == 1 << 22
    assert tensor_histogram(tensor).high == 7


def test_a_histogram_can_be_stopped(tmp_path: Path) -> None:
    tensor = inspect_file(put(tmp_path / "m.gguf", gguf_bytes())).tensors[0]
    with pytest.raises(Cancelled):
        tensor_histogram(tensor, cancelled=lambda: True)


def test_a_file_that_was_cut_meanwhile_is_said_to_be(tmp_path: Path) -> None:
    file = put(tmp_path / "m.gguf", gguf_bytes())
    tensor = inspect_file(file).tensors[1]
    file.write_bytes(file.read_bytes()[: tensor.offset + 10])
    with pytest.raises(SnugError, match="ends in the middle of weight"):
        tensor_histogram(tensor)
