"""compressed-tensors checkpoints, packed here as its documentation says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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

NAME = "model.layers.0.self_attn.o_proj.weight"


Pack = Callable[[Array, int], Array]


def settings(kind: str, **weights: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights}
    return {"quant_method": "compressed-tensors", "format": kind, "config_groups": {"group_0": group}}


def pack(numbers: Array, bits: int) -> Array:
    """Along rows, 32 // bits values a word, as files were until 2026: [n, m] -> int32 [n, ceil(m / each)]."""
    each = 32 // bits
    found = np.zeros((len(numbers), -(-numbers.shape[1] // each)), np.uint64)
    for column in range(numbers.shape[1]):
        found[:, column // each] |= numbers[:, column].astype(np.uint64) << np.uint64(bits * (column % each))
    return found.astype(np.uint32).view(np.int32)


def pack_densely(numbers: Array, bits: int) -> Array:
    """Along rows, each value's bits follow those of the one before: [n, m] -> int32 [n, ceil(m * bits / 32)]."""
    found = np.zeros((len(numbers), -(-numbers.shape[1] * bits // 32)), np.uint64)
    for column in range(numbers.shape[1]):
        for bit in range(bits):
            word, place = divmod(column * bits + bit, 32)
            found[:, word] |= ((numbers[:, column].astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)) << np.uint64(
                place
            )
    return found.astype(np.uint32).view(np.int32)


def made(
    bits: int = 4,
    shape: tuple[int, int] = (21, 96),
    group: int = 32,
    *,
    zero: bool = False,
    groups: Array | None = None,
    pack: Pack = pack,
) -> tuple[Tensors, Array]:
    rows, columns = shape
    half = 1 << bits - 1
    at = np.arange(columns) // group if groups is None else groups
    codes, scale = integers(-half, half - 1, shape), floats((rows, int(at.max()) + 1), 4).astype(np.float16)
    zeros = integers(-half, half - 1, scale.shape, 5) if zero else np.zeros(scale.shape, np.int64)
    tensors: Tensors = {
        NAME + "_packed": ("I32", pack(codes + half, bits)),
        NAME + "_scale": ("F16", scale),
        NAME + "_shape": ("I64", np.array(shape)),
    }
    if zero:
        tensors[NAME + "_zero_point"] = ("I32", pack((zeros + half).T, bits).T)
    if groups is not None:
        tensors[NAME + "_g_idx"] = ("I32", groups.astype(np.int32))
    return tensors, (codes - zeros[:, at]).astype(np.float32) * scale.astype(np.float32)[:, at]


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("pack", [pack, pack_densely])
def test_packed_words_are_unpacked(tmp_path: Path, bits: int, zero: bool, pack: Pack) -> None:
    tensors, weights = made(bits, (21, 96), zero=zero, pack=pack)
    found = unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=bits, group_size=32, strategy="group"))
    assert found.method == "compressed-tensors"
    assert [tensor.name for tensor in found.tensors] == [NAME]
    assert_folds_to(found.tensors[0], weights)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", [False, True])
def test_the_last_word_and_the_last_group_may_be_short(tmp_path: Path, bits: int, zero: bool) -> None:
    tensors, weights = made(bits, (21, 90), zero=zero)
    found = unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=bits, group_size=32))
    assert_folds_to(named(found, NAME), weights)


def test_words_that_may_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    tensors, _ = made(3, (21, 90))
    with pytest.raises(core.SnugError, match="in two ways"):
        unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=3, group_size=32))


def test_a_scale_may_count_for_a_whole_row(tmp_path: Path) -> None:
    tensors, weights = made(8, group=96)
    assert_folds_to(named(unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=8)), NAME), weights)


def test_columns_quantized_in_another_order_find_their_groups(tmp_path: Path) -> None:
    tensors, weights = made(groups=np.random.default_rng(7).permutation(np.arange(96) // 32), zero=True)
    found = unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=4, group_size=32))
    assert_folds_to(named(found, NAME), weights)


def test_an_order_of_minus_one_is_the_usual_one(tmp_path: Path) -> None:
    tensors, weights = made()
    tensors[NAME + "_g_idx"] = ("I32", np.full(96, -1, np.int32))
    found = unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=4, group_size=32))
    assert_folds_to(named(found, NAME), weights)


def test_groups_of_layers_may_differ(tmp_path: Path) -> None:
    four, weights = made(4)
    eight, more = made(8, group=96)
    both = four | {name.replace("o_proj", "q_proj"): array for name, array in eight.items()}
    groups = {
        "group_0": {"weights": {"num_bits": 4, "group_size": 32}},
        "group_1": {"weights": {"num_bits": 8, "strategy": "channel"}},
    }
    found = unpacked(tmp_path, both, quant_method="compressed-tensors", config_groups=groups)
    assert_folds_to(named(found, NAME), weights)
    assert_folds_to(named(found, NAME.replace("o_proj", "q_proj")), more)


def test_fp8_rows_and_blocks_are_read(tmp_path: Path) -> None:
    codes = torch.from_numpy(floats((130, 150))).to(torch.float8_e4m3fn)
    exact, rows, blocks = codes.float().numpy(), floats((130, 1), 2), floats((2, 2), 3)
    tensors: Tensors = {
        "a.weight": ("F8_E4M3", codes.view(torch.uint8).numpy()),
        "a.weight_scale": ("F32", rows),
        "b.weight": ("F8_E4M3", codes.view(torch.uint8).numpy()),
        "b.weight_scale": ("F32", blocks),
    }
    found = unpacked(tmp_path, tensors, **settings("float-quantized", strategy="block", block_structure=[128, 128]))
    assert_folds_to(named(found, "a.weight"), exact * rows)
    spread = np.repeat(np.repeat(blocks, 128, axis=0), 128, axis=1)[:130, :150]
    assert_folds_to(named(found, "b.weight"), exact * spread)


@pytest.mark.parametrize(("shape", "group"), [((1,), 0), ((6, 1), 0), ((6, 3), 32), ((6, 3), 40)])
@pytest.mark.parametrize("zero", [False, True])
def test_int8_has_scales_of_the_tensor_the_row_or_the_group(
    tmp_path: Path, shape: tuple[int, ...], group: int, zero: bool
) -> None:
    codes, scale = integers(-128, 127, (6, 96)), floats(shape, 3)
    zeros = integers(-128, 127, shape, 4) if zero else np.zeros(shape, np.int64)
    at = np.arange(96) // group if group else np.zeros(96, np.int64)
    tensors: Tensors = {NAME: ("I8", codes.astype(np.int8)), NAME + "_scale": ("F32", scale)}
    if zero:
        tensors[NAME + "_zero_point"] = ("I8", zeros.astype(np.int8))
    found = unpacked(tmp_path, tensors, **settings("int-quantized", num_bits=8, group_size=group or None))
    wide_scale, wide_zero = (np.broadcast_to(a.reshape(-1, shape[-1]), (6, shape[-1]))[:, at] for a in (scale, zeros))
    assert_folds_to(named(found, NAME), (codes - wide_zero).astype(np.float32) * wide_scale)


def test_rows_cost_their_own_words_scales_and_zeros(tmp_path: Path) -> None:
    tensors, _ = made(shape=(256, 128), zero=True)
    found = named(unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=4, group_size=32)), NAME)
    assert bytes_read(found, 100, 4) == {NAME + "_packed": 4 * 64, NAME + "_scale": 32, NAME + "_zero_point": 16}


def spoiled(suffix: str, dtype: str, array: Array) -> Tensors:
    tensors, _ = made(zero=True)
    return tensors | {NAME + suffix: (dtype, array)}


@pytest.mark.parametrize(
    "tensors",
    [
        spoiled("_shape", "I64", np.array([21, 400])),
        spoiled("_shape", "I64", np.array([20, 96])),
        spoiled("_shape", "I64", np.array([-21, -96])),
        spoiled("_shape", "I64", np.array([21])),
        spoiled("_scale", "F16", np.ones((20, 3), np.float16)),
        spoiled("_scale", "F16", np.ones((21, 5), np.float16)),
        spoiled("_scale", "I32", np.ones((21, 3), np.int32)),
        spoiled("_zero_point", "I32", np.ones((2, 3), np.int32)),
        spoiled("_g_idx", "I32", np.ones(95, np.int32)),
        spoiled("_packed", "I64", np.ones((21, 12), np.int64)),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, tensors: Tensors) -> None:
    with pytest.raises(core.SnugError, match="cannot be unpacked"):
        unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=4, group_size=32))


@pytest.mark.parametrize("suffix", ["_scale", "_shape"])
def test_a_missing_part_is_named(tmp_path: Path, suffix: str) -> None:
    tensors, _ = made()
    del tensors[NAME + suffix]
    with pytest.raises(core.SnugError, match=f"weight{suffix} is missing"):
        unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=4, group_size=32))


def test_a_group_that_is_not_there_is_refused_when_read(tmp_path: Path) -> None:
    found = unpacked(tmp_path, spoiled("_g_idx", "I32", np.full(96, 3, np.int32)), **settings("pack-quantized"))
    with pytest.raises(core.SnugError, match="groups beyond"):
        bytes_read(named(found, NAME), 0, 1)


@pytest.mark.parametrize(
    ("change", "named_as"),
    [
        ({"sparsity_config": {"format": "sparse-24-bitmask"}}, "sparse-24-bitmask"),
        ({"format": "marlin-24"}, "marlin-24"),
        ({"transform_config": {"config_groups": {"R1": {}}}}, "rotated"),
    ],
)
def test_what_cannot_be_undone_is_refused_by_name(tmp_path: Path, change: dict[str, Any], named_as: str) -> None:
    tensors, _ = made()
    with pytest.raises(core.SnugError, match=named_as):
        unpacked(tmp_path, tensors, **settings("pack-quantized", num_bits=4, group_size=32) | change)
