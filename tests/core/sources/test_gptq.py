"""GPTQ checkpoints, packed here bit by bit as AutoGPTQ documents its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from tests.core.sources.checkpoints import (
    Array,
    Tensors,
    assert_folds_to,
    bytes_read,
    floats,
    integers,
    named,
    unpacked,
)

BASE = "model.layers.0.mlp.up_proj"


def pack(numbers: Array, bits: int) -> Array:
    """Down the columns, each number's bits follow those of the one before: [n, m] -> int32 [n * bits / 32, m]."""
    found = np.zeros((len(numbers) * bits // 32, numbers.shape[1]), np.uint64)
    for index, row in enumerate(numbers.astype(np.uint64)):
        for bit in range(bits):
            word, place = divmod(index * bits + bit, 32)
            found[word] |= ((row >> np.uint64(bit)) & np.uint64(1)) << np.uint64(place)
    return found.astype(np.uint32).view(np.int32)


def made(
    bits: int, *, inputs: int = 96, outputs: int = 64, size: int = 32, groups: Array | None = None, less: int = 1
) -> tuple[Tensors, Array]:
    """A layer's tensors and its weights [outputs, inputs]."""
    group = np.arange(inputs) // size if groups is None else groups
    count = int(group.max()) + 1
    codes = integers(0, 2**bits - 1, (inputs, outputs))
    zeros = integers(less, 2**bits - 1 + less, (count, outputs), 3)
    scales = np.abs(floats((count, outputs), 4)).astype(np.float16)
    tensors: Tensors = {
        BASE + ".qweight": ("I32", pack(codes, bits)),
        BASE + ".qzeros": ("I32", pack((zeros - less).T, bits).T),
        BASE + ".scales": ("F16", scales),
    }
    if groups is not None:
        tensors[BASE + ".g_idx"] = ("I32", groups.astype(np.int32))
    weights = np.empty((outputs, inputs), np.float32)
    for i in range(inputs):
        weights[:, i] = (codes[i] - zeros[group[i]]).astype(np.float32) * scales[group[i]].astype(np.float32)
    return tensors, weights


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["gptq", "gptq_v2"])
def test_every_width_is_unpacked_with_the_zero_points_of_both_versions(tmp_path: Path, bits: int, kind: str) -> None:
    tensors, weights = made(bits, less=int(kind == "gptq"))
    found = unpacked(tmp_path, tensors, quant_method="gptq", bits=bits, group_size=32, checkpoint_format=kind)
    assert found.method == "GPTQ"
    assert f"{bits} bits" in found.notes[0]
    assert_folds_to(named(found, BASE + ".weight"), weights)


def test_the_3_bit_words_are_those_of_the_published_layout() -> None:
    """Ten values and two bits of the eleventh in the first word, its last bit and ten more in the second, and so on."""
    numbers = integers(0, 7, (32, 1))[:, 0]
    first = sum(int(numbers[i]) << 3 * i for i in range(10)) | int(numbers[10]) << 30
    second = int(numbers[10]) >> 2 | sum(int(numbers[11 + i]) << 3 * i + 1 for i in range(10)) | int(numbers[21]) << 31
    third = int(numbers[21]) >> 1 | sum(int(numbers[22 + i]) << 3 * i + 2 for i in range(10))
    words = pack(numbers[:, None], 3).view(np.uint32)[:, 0].tolist()
    assert words == [word & 0xFFFFFFFF for word in (first, second, third)]


def test_columns_quantized_in_another_order_find_their_groups(tmp_path: Path) -> None:
    groups = np.random.default_rng(7).permutation(np.arange(96) // 32)
    tensors, weights = made(4, groups=groups)
    found = unpacked(tmp_path, tensors, quant_method="gptq", bits=4, group_size=32, desc_act=True)
    assert [tensor.name for tensor in found.tensors] == [BASE + ".weight"]
    assert_folds_to(named(found, BASE + ".weight"), weights)


def test_a_symmetric_file_has_its_zero_point_in_the_middle(tmp_path: Path) -> None:
    tensors, _ = made(4)
    tensors[BASE + ".qzeros"] = ("I32", np.full((3, 8), 0x77777777, np.int32))
    found = named(unpacked(tmp_path, tensors, quant_method="gptq", bits=4, group_size=32, sym=True), BASE + ".weight")
    codes = integers(0, 15, (96, 64))
    scales = np.repeat(tensors[BASE + ".scales"][1].astype(np.float32), 32, axis=0)
    assert_folds_to(found, ((codes - 8).astype(np.float32) * scales).T)


@pytest.mark.parametrize(("inputs", "size"), [(96, 40), (96, 64), (96, 96)])
def test_a_last_group_may_be_short_and_one_may_be_all(tmp_path: Path, inputs: int, size: int) -> None:
    tensors, weights = made(4, inputs=inputs, size=size)
    settings = {"quant_method": "gptq", "bits": 4, "group_size": -1 if size == inputs else size}
    assert_folds_to(named(unpacked(tmp_path, tensors, **settings), BASE + ".weight"), weights)


def test_layers_of_other_widths_are_read_by_their_shapes(tmp_path: Path) -> None:
    tensors, weights = made(8)
    dynamic = {"+:.*up.*": {"bits": 8}}
    found = unpacked(tmp_path, tensors, quant_method="gptq", bits=4, group_size=32, dynamic=dynamic)
    assert_folds_to(named(found, BASE + ".weight"), weights)


def test_a_bias_and_layers_left_alone_go_over(tmp_path: Path) -> None:
    tensors, _ = made(4)
    tensors = {"lm_head.weight": ("F16", np.ones((2, 4), np.float16)), **tensors}
    tensors[BASE + ".bias"] = ("F16", np.ones(64, np.float16))
    found = unpacked(tmp_path, tensors, quant_method="gptq", bits=4, group_size=32)
    assert [tensor.name for tensor in found.tensors] == ["lm_head.weight", BASE + ".weight", BASE + ".bias"]


def test_it_is_recognized_without_settings(tmp_path: Path) -> None:
    tensors, weights = made(4)
    found = unpacked(tmp_path, tensors)
    assert found.method == "GPTQ"
    assert_folds_to(named(found, BASE + ".weight"), weights)


def test_rows_cost_their_own_part_of_every_stored_row(tmp_path: Path) -> None:
    tensors, _ = made(4, inputs=256, outputs=512, groups=np.arange(256) // 32)
    found = named(unpacked(tmp_path, tensors, quant_method="gptq", bits=4, group_size=32), BASE + ".weight")
    assert bytes_read(found, 100, 8) == {
        BASE + ".qweight": 32 * 8 * 4,
        BASE + ".qzeros": 8 * 2 * 4,
        BASE + ".scales": 8 * 8 * 2,
        BASE + ".g_idx": 256 * 4,
    }


def spoiled(name: str, dtype: str, array: Array) -> Tensors:
    tensors, _ = made(4, groups=np.arange(96) // 32)
    return tensors | {BASE + name: (dtype, array)}


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        (spoiled(".scales", "F16", np.ones((3, 32), np.float16)), "bits"),
        (spoiled(".scales", "I32", np.ones((3, 64), np.int32)), "I32"),
        (spoiled(".qzeros", "I32", np.ones((2, 8), np.int32)), "shape"),
        (spoiled(".qzeros", "I32", np.ones(8, np.int32)), "matrix"),
        (spoiled(".qweight", "I32", np.ones((12, 32), np.int32)), "shape"),
        (spoiled(".qweight", "I64", np.ones((12, 64), np.int64)), "I64"),
        (spoiled(".g_idx", "I32", np.zeros(90, np.int32)), "shape"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, tensors: Tensors, why: str) -> None:
    with pytest.raises(core.SnugError, match=why):
        unpacked(tmp_path, tensors, quant_method="gptq", bits=4, group_size=32)


@pytest.mark.parametrize("name", [".qzeros", ".scales"])
def test_a_missing_part_is_named(tmp_path: Path, name: str) -> None:
    tensors, _ = made(4)
    del tensors[BASE + name]
    with pytest.raises(core.SnugError, match=f"up_proj{name} is missing"):
        unpacked(tmp_path, tensors, quant_method="gptq", bits=4, group_size=32)


@pytest.mark.parametrize("group", [-1, 3])
def test_a_group_that_is_not_there_is_refused_when_read(tmp_path: Path, group: int) -> None:
    groups = np.arange(96) // 32
    groups[50] = group
    found = unpacked(tmp_path, spoiled(".g_idx", "I32", groups.astype(np.int32)), quant_method="gptq", bits=4)
    with pytest.raises(core.SnugError, match="groups beyond"):
        bytes_read(named(found, BASE + ".weight"), 0, 1)


@pytest.mark.parametrize(
    "settings",
    [{"bits": 5}, {"format": "gptq_p"}, {"bits": "4"}, {"bits": 8}, {"bits": 4, "checkpoint_format": "marlin"}],
)
def test_widths_and_formats_that_are_not_known_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    tensors, _ = made(4)
    with pytest.raises(core.SnugError) as caught:
        unpacked(tmp_path, tensors, quant_method="gptq", **settings)
    assert caught.value.hint
