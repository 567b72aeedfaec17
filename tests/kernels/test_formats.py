"""Layouts are GGML's, and everything else follows from them."""

import gguf
import pytest

from kernels import FORMATS
from tests.kernels import oracle


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_has_the_sizes_ggml_has(name: str) -> None:
    layout = FORMATS[name]
    assert (layout.block_size, layout.block_bytes) == oracle.sizes(layout.type_id)


@pytest.mark.parametrize("name", [name for name in FORMATS if name in gguf.GGMLQuantizationType.__members__])
def test_a_format_has_the_id_and_sizes_gguf_has(name: str) -> None:
    layout = FORMATS[name]
    kind = gguf.GGMLQuantizationType[name]
    assert layout.type_id == kind
    assert (layout.block_size, layout.block_bytes) == gguf.GGML_QUANT_SIZES[kind]


def test_gguf_knows_all_but_the_newest_formats() -> None:
    assert {name for name in FORMATS if name not in gguf.GGMLQuantizationType.__members__} <= {"Q2_0"}


def test_fields_lie_one_after_the_other() -> None:
    fields = FORMATS["Q6_K"].fields
    assert [(f.name, f.offset, f.nbytes) for f in fields] == [
        ("ql", 0, 128),
        ("qh", 128, 64),
        ("scales", 192, 16),
        ("d", 208, 2),
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_the_numpy_record_is_as_long_as_the_block(name: str) -> None:
    assert FORMATS[name].dtype.itemsize == FORMATS[name].block_bytes


def test_bits_per_weight_count_the_scales() -> None:
    assert FORMATS["Q4_K"].bits_per_weight == 4.5


def test_row_bytes_wants_whole_blocks() -> None:
    assert FORMATS["Q8_0"].row_bytes(64) == 68
    with pytest.raises(ValueError, match="blocks of 256 weights"):
        FORMATS["Q4_K"].row_bytes(300)
