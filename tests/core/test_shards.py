"""Safetensors headers from honest and dishonest files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import core
from core.shards import read_file, read_folder
from tests.models import make_llama, write_json, write_raw, write_safetensors

GOOD = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}


def refused(file: Path) -> core.SnugError:
    with pytest.raises(core.SnugError) as caught:
        read_file(file)
    assert caught.value.hint
    assert file.name in caught.value.message
    return caught.value


def test_a_header_gives_names_shapes_and_places(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32)}, "F32")
    a, b = read_file(file)
    assert (a.name, a.dtype, a.shape, a.nbytes) == ("a", "F32", (2, 3), 24)
    assert b.offset == a.offset + 24
    assert b.offset + b.nbytes == file.stat().st_size


def test_the_order_of_the_header_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {name: np.zeros(1, np.float32) for name in "zax"}, "F32")
    assert [tensor.name for tensor in read_file(file)] == ["z", "a", "x"]


def test_a_header_that_claims_2_to_the_60_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    assert "1,152,921,504,606,846,976" in refused(file).message


@pytest.mark.parametrize("data", [b"", b"abc", b"\0" * 8])
def test_a_file_too_short_for_a_header_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    refused(file)


@pytest.mark.parametrize("header", [b"[]", b"{", b"\xff\xfe", b"12"])
def test_a_header_that_is_no_table_is_refused(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "model.safetensors"
    write_raw(file, header, b"")
    refused(file)


def test_a_truncated_file_is_refused_with_the_bytes_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_raw(file, GOOD, bytes(10))
    assert "cut short" in refused(file).message


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_raw(file, GOOD | {"b": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}, bytes(24))
    assert "overlap" in refused(file).message


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [2, True], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": "22", "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0]},
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]},
        {"shape": [2, 2], "data_offsets": [0, 16]},
        None,
    ],
)
def test_an_entry_that_lies_is_refused_by_name(tmp_path: Path, entry: object) -> None:
    file = tmp_path / "model.safetensors"
    write_raw(file, {"liar": entry}, bytes(64))
    assert "liar" in refused(file).message


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    make_llama(tmp_path, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(core.SnugError, match="model-00002-of-00003"):
        read_folder(tmp_path)


def test_a_missing_shard_is_noticed_without_an_index(tmp_path: Path) -> None:
    make_llama(tmp_path, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").unlink()
    with pytest.raises(core.SnugError, match="number 2 is missing"):
        read_folder(tmp_path)


def test_shards_without_an_index_are_read_when_all_are_there(tmp_path: Path) -> None:
    make_llama(tmp_path, shards=3)
    (tmp_path / "model.safetensors.index.json").unlink()
    tensors, files = read_folder(tmp_path)
    assert len(files) == 3
    assert len(tensors) == 21


def test_an_index_that_names_a_tensor_no_file_has_is_refused(tmp_path: Path) -> None:
    make_llama(tmp_path, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    write_json(index, {"weight_map": {"ghost": "model-00001-of-00002.safetensors"}})
    with pytest.raises(core.SnugError, match="ghost"):
        read_folder(tmp_path)


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}'])
def test_a_broken_index_is_refused(tmp_path: Path, index: str) -> None:
    make_llama(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(core.SnugError, match="index"):
        read_folder(tmp_path)


def test_an_index_that_points_outside_its_folder_is_refused(tmp_path: Path) -> None:
    make_llama(tmp_path)
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": "../secret.safetensors"}})
    with pytest.raises(core.SnugError, match="outside"):
        read_folder(tmp_path)


def test_pickles_alone_are_refused_with_the_reason_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(core.SnugError, match="pickle") as caught:
        read_folder(tmp_path)
    assert "run any program" in caught.value.message
    assert "safetensors" in caught.value.hint


def test_a_lora_adapter_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "adapter_model.safetensors", {"a": np.zeros(1, np.float32)}, "F32")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}', encoding="utf-8")
    with pytest.raises(core.SnugError, match="LoRA") as caught:
        read_folder(tmp_path)
    assert "Merge it into org/base" in caught.value.hint


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(core.SnugError, match=r"no \.safetensors"):
        read_folder(tmp_path)


def test_a_second_set_of_weights_beside_the_first_is_passed_over(tmp_path: Path) -> None:
    make_llama(tmp_path)
    write_safetensors(tmp_path / "consolidated.safetensors", {"a": np.zeros(1, np.float32)}, "F32")
    assert [file.name for file in read_folder(tmp_path)[1]] == ["model.safetensors"]


def test_every_type_of_the_format_is_read(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    sizes = {
        "F8_E4M3": 1,
        "F8_E5M2": 1,
        "F8_E8M0": 1,
        "U8": 1,
        "I8": 1,
        "BOOL": 1,
        "I16": 2,
        "I32": 4,
        "U32": 4,
        "I64": 8,
    }
    header, end = {}, 0
    for dtype, size in sizes.items():
        header[f"a.{dtype}"] = {"dtype": dtype, "shape": [3], "data_offsets": [end, end + 3 * size]}
        end += 3 * size
    header["scalar"] = {"dtype": "F32", "shape": [], "data_offsets": [end, end + 4]}
    write_raw(file, header, bytes(end + 4))
    tensors = read_file(file)
    assert [(tensor.dtype, tensor.nbytes) for tensor in tensors[:-1]] == [(d, 3 * size) for d, size in sizes.items()]
    assert (tensors[-1].shape, tensors[-1].nbytes) == ((), 4)


@pytest.mark.parametrize("dtype", ["F8_E4M3FNUZ", "F4", "C64", "Q4_K"])
def test_a_type_that_is_not_known_is_refused_by_name(tmp_path: Path, dtype: str) -> None:
    file = tmp_path / "model.safetensors"
    write_raw(file, {"odd": {"dtype": dtype, "shape": [2, 2], "data_offsets": [0, 4]}}, bytes(4))
    error = refused(file)
    assert dtype in error.message
    assert "odd" in error.message
    assert "F8_E4M3" in error.hint
