"""Where the bytes of a model come from: the repository and commit, and a SHA-256 of each file of weights.

That of a whole file is free where somebody knows it already: the cache of the Hugging Face tools names content by it,
and the Hub lists it. Of other files the header is hashed, which tells one checkpoint from another by its tensors'
names, types, shapes and places, not by their values; reading all of them for a hash costs as much as a quarter of the
job (`hash_source` asks for it).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import Cancelled, SnugError
from core.events import Progress
from core.gguf import MAGIC
from core.model import ModelInfo

UNKNOWN = "0" * 64
_CHUNK = 4 << 20
_PROGRESS_SECONDS = 0.1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_HEADER = 512 << 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """`name` is without a folder but the repository's own; `sha256` is that of the file or of its header, as the source
    says, and zeros while nobody has looked.
    """

    name: str
    size: int
    sha256: str = UNKNOWN


@dataclass(frozen=True)
class CardSource:
    """`repo` and `commit` are "" for what does not come from the Hub; `is_whole`: the hashes are of whole files."""

    repo: str
    commit: str
    files: tuple[SourceFile, ...]
    is_whole: bool

    @property
    def url(self) -> str:
        return f"https://huggingface.co/{self.repo}" if self.repo else ""


def source_of(model: ModelInfo) -> CardSource:
    """What is known without reading a weight or a header: names, sizes, and the hashes that others keep."""
    repo, commit, _ = _repo_of(model.files[0]) if model.files else ("", "", "")
    listed = _listed(repo, commit) if repo else {}
    files = tuple(_file_of(path, listed) for path in model.files)
    is_whole = bool(files) and all(file.sha256 != UNKNOWN for file in files)
    return CardSource(repo, commit, files if is_whole else tuple(replace(f, sha256=UNKNOWN) for f in files), is_whole)


def _repo_of(file: Path) -> tuple[str, str, str]:
    """(ORG/NAME, commit, name in it) of a file in a cache laid out as models--ORG--NAME/snapshots/COMMIT."""
    parts = file.absolute().parts
    for at in range(len(parts) - 3):
        name, middle, commit = parts[at : at + 3]
        if name.startswith("models--") and middle == "snapshots" and _COMMIT.fullmatch(commit):
            return name.removeprefix("models--").replace("--", "/"), commit, "/".join(parts[at + 3 :])
    return "", "", file.name


def _listed(repo: str, commit: str) -> dict[str, SourceFile]:
    """The files by their last names and by their whole names, as the Hub listed them when it was asked of this commit;
    without a hash where it has none.
    """
    from core.hub.kept import kept_folder

    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        values = json.loads((kept_folder(repo) / "infos" / f"{commit}.json").read_text(encoding="utf-8"))
        files = [SourceFile(f["name"], int(f["size"]), str(f["sha256"]) or UNKNOWN) for f in values["files"]]
        return {file.name.rpartition("/")[2]: file for file in files} | {file.name: file for file in files}
    return {}


def _file_of(path: Path, listed: dict[str, SourceFile]) -> SourceFile:
    name = _repo_of(path)[2]
    file = listed.get(name) or SourceFile(name, 0)
    with suppress(OSError):
        real = path.resolve()
        file = file if file.size else replace(file, size=real.stat().st_size)
        if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
            file = replace(file, sha256=real.name)
    return file


def with_header_hashes(source: CardSource, model: ModelInfo) -> CardSource:
    """The source with a hash for every file: of its header where nobody knows that of the whole. Raises SnugError."""
    if source.is_whole:
        return source
    hashes = header_hashes(model)
    return replace(source, files=tuple(replace(f, sha256=h) for f, h in zip(source.files, hashes, strict=True)))


def header_hashes(model: ModelInfo) -> tuple[str, ...]:
    """SHA-256 of what comes before the tensors, of each of its files. Raises SnugError for one that cannot be read."""
    return tuple(_hash(path, _data_start(model, path)) for path in model.files)


def _data_start(model: ModelInfo, path: Path) -> int:
    """How many bytes come before the tensors of a file."""
    with _in_words(path), path.open("rb") as file:
        first = file.read(8)
    if first[:4] == MAGIC:
        offsets = (source.offset for tensor in model.tensors for source in tensor.sources if source.file == path)
        return min(offsets, default=0)
    return 8 + min(int.from_bytes(first, "little"), _MOST_HEADER)


def _hash(path: Path, length: int) -> str:
    with _in_words(path), path.open("rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()


def hash_whole(model: ModelInfo, cancelled: Callable[[], bool]) -> Generator[Progress, None, CardSource]:
    """Reads every file of the model to its end, saying how far it is; gives the source with hashes of whole files.

    What is known already is not read. Raises SnugError for a file that cannot be read.
    """
    source, started, done = source_of(model), time.monotonic(), 0
    if source.is_whole:
        return source
    total, hashed, said = sum(file.size for file in source.files), list[SourceFile](), 0.0
    for path, file in zip(model.files, source.files, strict=True):
        digest = hashlib.sha256()
        with _in_words(path), path.open("rb") as opened:
            while data := opened.read(_CHUNK):
                if cancelled():
                    raise Cancelled
                digest.update(data)
                done += len(data)
                elapsed = time.monotonic() - started
                if elapsed - said < _PROGRESS_SECONDS:
                    continue
                said, rate = elapsed, done / elapsed
                eta = max(0, total - done) / rate
                yield Progress("hash", path.name, len(hashed), len(source.files), done, total, rate, eta, elapsed)
        hashed.append(replace(file, sha256=digest.hexdigest()))
    return replace(source, files=tuple(hashed), is_whole=True)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turns the system's errors while reading into a sentence."""
    try:
        yield
    except OSError as error:
        raise SnugError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path and permissions."
        ) from error
