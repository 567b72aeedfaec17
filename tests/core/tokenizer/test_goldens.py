"""The keys of twenty families are those that llama.cpp's converter writes."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from core.tokenizer import read_tokenizer
from core.tokenizer.piece_file import read_piece_file
from tests.core.tokenizer.made import trained, write

MODELS = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))["models"]


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, value: int | float | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def piece_file(pieces: dict[str, Any], charsmap: bytes) -> bytes:
    """A SentencePiece model of these pieces, and of the bytes that must be there if one is."""
    listed = {text: (float(score), kind) for text, score, kind in pieces["first"]}
    if not pieces["unigram"]:
        listed = {**listed, **{f"<0x{byte:02X}>": (0.0, 6) for byte in range(256)}}
    parts = b"".join(
        field(1, field(1, text.encode()) + field(2, score) + field(3, kind)) for text, (score, kind) in listed.items()
    )
    trainer = field(3, 1 if pieces["unigram"] else 2) + field(35, int(not pieces["unigram"]))
    replacements = field(2, charsmap) if pieces["charsmap"] else b""
    normalizer = replacements + field(3, int(pieces["dummy_prefix"])) + field(4, int(pieces["extra_blanks_go"]))
    return parts + field(2, trainer) + field(3, normalizer)


def short(value: Any) -> Any:
    return {"len": len(value), "head": value[:8]} if isinstance(value, list) and len(value) > 8 else value


@pytest.mark.parametrize("name", MODELS)
def test_the_keys_are_the_converters(tmp_path: Path, name: str) -> None:
    model = MODELS[name]
    write(tmp_path, "tokenizer.json", model["tokenizer"])
    write(tmp_path, "tokenizer_config.json", model["tokenizer_config"])
    if "pieces" in model:
        file = tmp_path / model["pieces"]["file"]
        file.write_bytes(trained("unigram"))
        file.write_bytes(piece_file(model["pieces"], read_piece_file(file).charsmap))
    config = {"architectures": [model["class"]], **model["config"]}
    items = read_tokenizer(tmp_path, config, rows=model["rows"])
    actual = {item.key.removeprefix("tokenizer.ggml."): short(item.value) for item in items}
    assert (actual.pop("precompiled_charsmap", None) is not None) == model.get("pieces", {}).get("charsmap", False)
    expected = {key: value for key, value in model["keys"].items() if key != "merges"}
    assert actual.pop("merges", None) == model["keys"].get("merges", {}).get("head")
    assert list(expected.items()) == list(actual.items())
