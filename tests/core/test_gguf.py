"""The container: what we write PyPI gguf reads, and what strangers write cannot hurt."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

import core
from core.errors import SnugError
from core.gguf import encode_header, read_header, skim_header
from core.model import Metadata

METADATA = [
    Metadata("general.architecture", "str", "llama"),
    Metadata("a.u8", "u8", 7),
    Metadata("a.i32", "i32", -7),
    Metadata("a.u64", "u64", 2**40),
    Metadata("a.f32", "f32", 0.5),
    Metadata("a.f64", "f64", 0.1),
    Metadata("a.bool", "bool", True),
    Metadata("a.words", "[str]", ["ein", "Wort", "", "日本"]),
    Metadata("a.scores", "[f32]", [0.0, -1.5]),
    Metadata("a.kinds", "[i32]", [1, 2, 3]),
]
TENSORS = [("x.weight", (4, 32), "F32", 0), ("y.weight", (2, 64), "Q8_0", 512), ("z.bias", (3,), "F16", 672)]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.gguf"
    file.write_bytes(encode_header(METADATA, TENSORS) + bytes(704))
    return file


def test_what_is_written_is_read_back(good: Path) -> None:
    header = read_header(good)
    assert list(header.metadata) == METADATA
    assert [(t.name, t.shape, t.dtype) for t in header.tensors] == [(n, s, f) for n, s, f, _ in TENSORS]
    assert [t.offset - header.data_offset for t in header.tensors] == [0, 512, 672]
    assert header.data_offset % 32 == 0


def test_pypi_gguf_reads_the_same(good: Path) -> None:
    reader = gguf.GGUFReader(good)
    for item in METADATA:
        assert reader.get_field(item.key).contents() == item.value
    assert [(t.name, tuple(reversed(t.shape.tolist()))) for t in reader.tensors] == [(n, s) for n, s, _, _ in TENSORS]


def test_we_read_what_pypi_gguf_writes(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "theirs.gguf", "llama")
    writer.add_array("a.words", ["x", "y"])
    writer.add_float32("a.f32", 1.5)
    writer.add_tensor("t.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(tmp_path / "theirs.gguf")
    assert {item.key: item.value for item in header.metadata}["a.words"] == ["x", "y"]
    (tensor,) = header.tensors
    data = (tmp_path / "theirs.gguf").read_bytes()[tensor.offset : tensor.offset + tensor.nbytes]
    assert np.frombuffer(data, np.float32).tolist() == [0, 1, 2, 3, 4, 5]
    assert tensor.shape == (2, 3)


def test_text_that_is_not_utf_8_survives_a_copy(tmp_path: Path) -> None:
    raw = b"\xff\xfeok"
    item = Metadata("k", "str", raw.decode("utf-8", "surrogateescape"))
    file = tmp_path / "x.gguf"
    file.write_bytes(encode_header([item], []))
    assert raw in encode_header(read_header(file).metadata, [])


def test_a_file_cut_at_any_byte_of_its_header_is_refused_in_words(good: Path) -> None:
    data = good.read_bytes()
    end = read_header(good).data_offset
    for length in range(0, end, 7):
        good.write_bytes(data[:length])
        with pytest.raises(core.SnugError, match=r"good\.gguf") as caught:
            read_header(good)
        assert caught.value.hint


def test_skimming_finds_the_same_but_what_arrays_hold(good: Path) -> None:
    whole, skimmed = read_header(good), skim_header(good)
    assert (skimmed.tensors, skimmed.data_offset) == (whole.tensors, whole.data_offset)
    arrays = [(item.key, item.type) for item in whole.metadata if item.type.startswith("[")]
    assert [(item.key, item.type) for item in skimmed.metadata if item.value == []] == arrays
    assert [item for item in skimmed.metadata if item.value != []] == METADATA[: -len(arrays)]


def test_skimming_refuses_what_reading_refuses(good: Path) -> None:
    data = good.read_bytes()
    for length in range(0, len(data) - 32, 7):
        good.write_bytes(data[:length])
        with pytest.raises(core.SnugError) as caught:
            skim_header(good)
        assert caught.value.hint


def test_a_file_cut_in_its_data_names_the_tensor(good: Path) -> None:
    good.write_bytes(good.read_bytes()[:-40])
    with pytest.raises(core.SnugError, match=r"z\.bias runs \d+ bytes past the end"):
        read_header(good)


def test_a_flipped_bit_anywhere_in_the_header_never_escapes_as_another_error(good: Path) -> None:
    data = bytearray(good.read_bytes())
    for position in range(read_header(good).data_offset):
        for bit in (0, 7):
            data[position] ^= 1 << bit
            good.write_bytes(data)
            for read in (read_header, skim_header):
                with contextlib.suppress(core.SnugError):
                    read(good)
            data[position] ^= 1 << bit


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(core.SnugError, match="not a GGUF"):
        read_header(file)


@pytest.mark.parametrize("version", [1, 4, 0x03000000])
def test_an_unknown_version_is_refused(good: Path, version: int) -> None:
    data = good.read_bytes()
    good.write_bytes(data[:4] + struct.pack("<I", version) + data[8:])
    with pytest.raises(core.SnugError, match="version"):
        read_header(good)


@pytest.mark.parametrize(("tensors", "items"), [(2**60, 1), (1, 2**60), (2**64 - 1, 2**64 - 1)])
def test_counts_beyond_the_file_are_refused_at_once(tmp_path: Path, tensors: int, items: int) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, items) + bytes(100))
    with pytest.raises(core.SnugError, match="past the end"):
        read_header(file)


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(encode_header([], [("a", (4, 32), "F32", 0), ("b", (4, 32), "F32", 480)]) + bytes(2000))
    with pytest.raises(core.SnugError, match="a and b overlap"):
        read_header(file)


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(encode_header([], [("a", (8,), "F32", 0), ("a", (8,), "F32", 32)]) + bytes(64))
    with pytest.raises(core.SnugError, match="a occurs twice"):
        read_header(file)


def test_a_format_number_that_nobody_knows_is_named(tmp_path: Path) -> None:
    header = encode_header([], [("a", (8,), "F32", 0)])
    file = tmp_path / "x.gguf"
    where = 24 + 8 + len("a") + 4 + 8  # counts, name, number of dimensions, one dimension
    file.write_bytes(header[:where] + struct.pack("<I", 999) + header[where + 4 :] + bytes(64))
    with pytest.raises(core.SnugError, match="format number 999"):
        read_header(file)


def test_a_folder_is_no_gguf_file(tmp_path: Path) -> None:
    with pytest.raises(SnugError, match="is a folder"):
        read_header(tmp_path)
