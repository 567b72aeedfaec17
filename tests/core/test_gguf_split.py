"""A GGUF in several files is read as one from any of them, or refused with what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.errors import SnugError
from core.gguf import encode_header, pad
from core.gguf_split import is_part, part_name, read_split
from core.model import Metadata

KEYS = [Metadata("general.architecture", "str", "llama"), Metadata("general.name", "str", "Split")]
TENSORS = [("a.weight", (4, 32), "F32"), ("b.weight", (2, 64), "Q8_0"), ("c.weight", (3,), "F16")]


def split_keys(number: int, count: int, tensors: int) -> list[Metadata]:
    return [
        Metadata("split.no", "u16", number),
        Metadata("split.count", "u16", count),
        Metadata("split.tensors.count", "i32", tensors),
    ]


def write(file: Path, keys: list[Metadata], *tensors: tuple[str, tuple[int, ...], str]) -> Path:
    lengths = {"a.weight": 512, "b.weight": 136, "c.weight": 6}
    placed, offset = [], 0
    for name, shape, kind in tensors:
        placed.append((name, shape, kind, offset))
        offset += pad(lengths[name])
    file.write_bytes(encode_header(keys, placed) + bytes(offset))
    return file


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    files = [tmp_path / part_name("model", number + 1, 3) for number in range(3)]
    for number, file in enumerate(files):
        write(file, [*(KEYS if number == 0 else []), *split_keys(number, 3, 3)], TENSORS[number])
    return files


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_part_leads_to_the_whole(parts: list[Path], number: int) -> None:
    metadata, tensors, files = read_split(parts[number])
    assert list(metadata) == KEYS
    assert [(t.name, t.shape, t.dtype) for t in tensors] == TENSORS
    assert [t.file for t in tensors] == list(files) == parts


def test_a_file_that_is_no_part_is_the_whole(tmp_path: Path) -> None:
    merged = write(tmp_path / "merged.gguf", [*KEYS, *split_keys(0, 0, 3)], *TENSORS)
    assert not is_part(split_keys(0, 0, 3))
    metadata, tensors, files = read_split(merged)
    assert (list(metadata), len(tensors), files) == (KEYS, 3, (merged,))


def test_a_first_part_may_hold_keys_alone(parts: list[Path]) -> None:
    write(parts[0], [*KEYS, *split_keys(0, 3, 2)])
    for number in (1, 2):
        write(parts[number], split_keys(number, 3, 2), TENSORS[number])
    assert [t.name for t in read_split(parts[1]).tensors] == ["b.weight", "c.weight"]


def refused(file: Path, *words: str) -> None:
    with pytest.raises(SnugError) as caught:
        read_split(file)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.hint


def test_a_missing_part_is_named(parts: list[Path]) -> None:
    parts[1].unlink()
    refused(parts[0], "model-00002-of-00003.gguf", "cannot be found")
    parts[2].unlink()
    refused(parts[0], "model-00002-of-00003.gguf and 1 more")


@pytest.mark.parametrize("name", ["other.gguf", "model-00002-of-00004.gguf", "model-00001-of-00003.gguf"])
def test_a_part_with_another_name_is_refused_with_the_name_it_should_have(parts: list[Path], name: str) -> None:
    moved = parts[1].with_name("moved") / name
    moved.parent.mkdir()
    shutil.move(parts[1], moved)
    refused(moved, name, "3 parts", "does not say which")


def test_parts_that_changed_places_are_refused(parts: list[Path]) -> None:
    second = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    parts[2].write_bytes(second)
    refused(parts[0], "model-00002-of-00003.gguf", "part 2")


@pytest.mark.parametrize(
    "keys",
    [
        split_keys(1, 3, 9),
        split_keys(1, 4, 3),
        [*split_keys(1, 3, 3), Metadata("general.name", "str", "Other")],
        [Metadata("split.no", "u16", 1)],
    ],
)
def test_a_part_of_another_model_is_refused(parts: list[Path], keys: list[Metadata]) -> None:
    write(parts[1], keys, TENSORS[1])
    refused(parts[0], "model-00002-of-00003.gguf", "another model")


def test_a_tensor_in_two_parts_is_refused(parts: list[Path]) -> None:
    write(parts[1], split_keys(1, 3, 3), TENSORS[0])
    refused(parts[2], "a.weight", "model-00001-of-00003.gguf", "model-00002-of-00003.gguf")


def test_parts_that_hold_too_few_tensors_are_refused(parts: list[Path]) -> None:
    write(parts[1], split_keys(1, 3, 3))
    refused(parts[0], "2 tensors, not 3")


def test_a_part_cut_short_is_damaged(parts: list[Path]) -> None:
    parts[2].write_bytes(parts[2].read_bytes()[:-32])
    refused(parts[0], "model-00003-of-00003.gguf", "damaged")
