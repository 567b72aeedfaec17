"""One file, whatever it is: its keys, and its tensors with format, shape and place. No weight is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from core.errors import SnugError
from core.gguf import MAGIC, read_header
from core.gguf_split import is_part, read_split
from core.library.headers import main_format
from core.library.item import FormatShare
from core.model import TensorInfo
from core.paths import expanded
from core.shards import MAX_HEADER, read_file, read_folder

_SHOWN = 8
_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class InspectedKey:
    """One key: its type, its value as text on one line, and the whole of it where that is longer."""

    key: str
    type: str
    text: str
    whole: str = ""


@dataclass(frozen=True)
class InspectedFile:
    """What a file says. `files` are its parts in order; `length` bytes of them all."""

    path: Path
    kind: str
    files: tuple[Path, ...]
    length: int
    keys: tuple[InspectedKey, ...]
    tensors: tuple[TensorInfo, ...]

    @property
    def weights(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        return 8 * sum(tensor.nbytes for tensor in self.tensors) / self.weights if self.weights else 0.0

    @property
    def formats(self) -> tuple[FormatShare, ...]:
        """By format, the one with most bytes first."""
        names = {tensor.dtype for tensor in self.tensors}
        shares = [_share(name, self.tensors) for name in names]
        return tuple(sorted(shares, key=lambda share: (-share.nbytes, share.format)))

    @property
    def main_format(self) -> str:
        return main_format((share.format, share.tensors, share.nbytes) for share in self.formats)


def _share(name: str, tensors: Iterable[TensorInfo]) -> FormatShare:
    sizes = [tensor.nbytes for tensor in tensors if tensor.dtype == name]
    return FormatShare(name, len(sizes), sum(sizes))


def inspect_file(path: Path | str) -> InspectedFile:
    """The keys and tensors of a GGUF (with all its parts), a safetensors file, or a folder of those.

    Raises SnugError when it is none, or damaged.
    """
    path = expanded(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise SnugError(f"{path} does not exist.", "Give a .gguf or .safetensors file, or a folder with them.")
    return _gguf(path) if _first_bytes(path) == MAGIC else _safetensors(path, [path])


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError as error:
        raise SnugError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error


def _gguf(path: Path) -> InspectedFile:
    header = read_header(path)
    keys, tensors, files = read_split(path) if is_part(header.metadata) else (header.metadata, header.tensors, (path,))
    shown = tuple(InspectedKey(item.key, item.type, *_texts(item.value)) for item in keys)
    return InspectedFile(path, "GGUF", files, _length(files), shown, tensors)


def _folder(path: Path) -> InspectedFile:
    ggufs = sorted(path.glob("*.gguf"))
    if ggufs and not any(path.glob("*.safetensors")):
        if len(ggufs) > 1 and len(_gguf(ggufs[0]).files) != len(ggufs):
            names = ", ".join(file.name for file in ggufs[:6])
            raise SnugError(f"{path} holds several GGUF files.", f"Give one of them: {names}.")
        return _gguf(ggufs[0])
    tensors, files = read_folder(path)
    return _inspected(path, files, tensors)


def _safetensors(path: Path, files: Sequence[Path]) -> InspectedFile:
    return _inspected(path, files, [tensor for file in files for tensor in read_file(file)])


def _inspected(path: Path, files: Sequence[Path], tensors: Sequence[TensorInfo]) -> InspectedFile:
    keys = tuple(InspectedKey(key, "str", *_texts(text)) for key, text in _file_metadata(files[0]).items())
    return InspectedFile(path, "safetensors", tuple(files), _length(files), keys, tuple(tensors))


def _file_metadata(file: Path) -> dict[str, str]:
    """The free texts in a safetensors header, which read_file has found to be whole."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        found = json.loads(stream.read(min(length, MAX_HEADER))).get("__metadata__")
    return {str(key): str(text) for key, text in found.items()} if isinstance(found, dict) else {}


def _length(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _texts(value: Any) -> tuple[str, str]:
    """A value in one line, and as a whole where the line does not hold it."""
    if isinstance(value, list):
        first = ", ".join(_quoted(item) for item in value[:_SHOWN])
        more = f", … ({len(value):,} in all)" if len(value) > _SHOWN else ""
        whole = ", ".join(_quoted(item) for item in value[:_LONGEST]) if more else ""
        return f"[{first}{more}]", whole
    text = printable(str(value))
    line = " ".join(text.split())
    return (line[:200] + "…" if len(line) > 200 else line), (text if text != line or len(line) > 200 else "")


def _quoted(item: Any) -> str:
    return json.dumps(printable(item), ensure_ascii=False)[:80] if isinstance(item, str) else str(item)


def printable(text: str) -> str:
    """`text` with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
