"""A model of the Hub from its headers alone: small files whole, of the weights the first bytes, kept by commit.

    model = open_remote(hub_source("ORG/NAME"))            # everything that a plan needs; the tokenizer too
    model = open_remote(hub_source("ORG/NAME"), quick=True)  # for a verdict: config and headers, a few requests
    model = open_to_check(hub_source("ORG/NAME"))            # and of the tokenizer what its first bytes say

The folder of a commit looks like the model's own, but its weights end with their headers; `remote` says for each which
file of the Hub it stands for.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from core.checkpoint import Elsewhere, open_headers, open_model
from core.errors import JobFailed, SnugError
from core.gguf import CutHeader, read_header
from core.hub.cache import RepoCache
from core.hub.choose import (
    INDEX,
    GgufChoice,
    gguf_choices,
    no_weights,
    small_files,
    the_choice,
    wanted_files,
    weight_files,
)
from core.hub.connection import Hub, connect
from core.hub.kept import hash_of, kept_folder, known_info, write_whole
from core.hub.names import HubSource
from core.hub.ranges import RangeReader
from core.hub.repo import RepoFile, RepoInfo
from core.hub.tokenizer_head import HEAD_BYTES, head_keys, read_head
from core.hub.web import get_json
from core.model import Metadata, ModelInfo, TensorInfo
from core.shards import MAX_HEADER

FIRST_BYTES = 64 << 10
_MOST_GGUF = 512 << 20
_THREADS = 4
_QUICK = ("config.json",)
_SETTINGS, _TOKENIZER, _HEAD = "tokenizer_config.json", "tokenizer.json", "tokenizer.json.head"
_USUAL = "Q4_K_M"


@dataclass(frozen=True)
class HeaderSource:
    """Headers on this disk and the files that they are of. `remote`: file of the Hub by file name in `folder`."""

    hub: Hub
    info: RepoInfo
    folder: Path
    remote: Mapping[str, RepoFile]
    is_quick: bool = False
    _readers: dict[str, RangeReader] = field(default_factory=dict, repr=False, compare=False)

    def model(self) -> ModelInfo:
        """The model; its path is the name on the Hub. Raises SnugError when Snug cannot convert it."""
        elsewhere = Elsewhere(self.lengths, self.read, has_tokenizer=not self.is_quick)
        ggufs = sorted(name for name in self.remote if name.endswith(".gguf"))
        found = open_headers(self.folder / ggufs[0] if ggufs else self.folder, elsewhere)
        return replace(found, path=Path(str(self.info.source)))

    @property
    def lengths(self) -> dict[str, int]:
        return {name: file.size for name, file in self.remote.items()}

    def read(self, tensor: TensorInfo, first: int, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Bytes `first` on of a stored tensor, from the Hub."""
        data = self.reader(tensor.file.name).read(tensor.offset + first, count)
        return np.frombuffer(bytearray(data), np.uint8)

    def reader(self, name: str) -> RangeReader:
        """The one that remembers where the bytes of this file are to be had."""
        return self._readers.setdefault(name, RangeReader(self.hub, self.info, self.remote[name]))


def open_remote(source: HubSource, *, hub: Hub | None = None, quick: bool = False) -> ModelInfo:
    """The model that `source` names: the one in the cache if all of it is there, else from headers.

    Raises SnugError with the reason when that cannot be.
    """
    hub = hub or connect()
    info = known_info(source, hub)
    if path := _in_cache(info, hub):
        return replace(open_model(path), path=Path(str(source)))
    return _headers_of(info, hub, quick=quick).model()


def open_to_check(source: HubSource, *, hub: Hub | None = None) -> ModelInfo:
    """The model that `source` names for `snug check`: a few requests, and some hundred KB whatever its vocabulary.

    The tokenizer's keys are its kind and its splitting rule alone. Raises SnugError as `open_remote` does.
    """
    hub = hub or connect()
    info = known_info(source, hub)
    if path := _in_cache(info, hub):
        return replace(open_model(path), path=Path(str(source)))
    headers = _headers_of(info, hub, quick=True)
    if any(name.endswith(".gguf") for name in headers.remote):
        return headers.model()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="headers") as pool:
        list(pool.map(lambda part: _fetch_part(headers, *part), ((_SETTINGS, _SETTINGS), (_TOKENIZER, _HEAD))))
    return _with_head(headers)


def _fetch_part(source: HeaderSource, name: str, kept: str) -> None:
    """The settings of the tokenizer, or the first bytes of the rest."""
    file, target = source.info.file(name), source.folder / kept
    if file is not None and not target.is_file():
        write_whole(target, RangeReader(source.hub, source.info, file).read(0, min(file.size, HEAD_BYTES)))


def _with_head(source: HeaderSource) -> ModelInfo:
    model, folder, info = source.model(), source.folder, source.info
    head = read_head((folder / _HEAD).read_bytes()) if (folder / _HEAD).is_file() else {}
    config = _json_in(folder / "config.json")
    rows = next(tensor.shape[0] for tensor in model.tensors if tensor.name == "token_embd.weight")
    names = [file.name for file in info.files]
    tokenizer = head_keys(folder, names, head, _json_in(folder / _SETTINGS), config=config, rows=rows)
    licence = (Metadata("general.license", "str", info.row.licence),) if info.row.licence else ()
    return replace(model, metadata=(*licence, *model.metadata, *tokenizer))


def _json_in(file: Path) -> dict[str, Any]:
    """The table in a small file of a stranger's, {} without one."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def downloaded(source: HubSource, *, hub: Hub | None = None) -> Path | None:
    """The folder or GGUF file in the shared cache that holds this model whole; None if anything is missing."""
    hub = hub or connect()
    return _in_cache(known_info(source, hub), hub)


def _in_cache(info: RepoInfo, hub: Hub) -> Path | None:
    repo = RepoCache(hub.cache, info.id, info.commit)
    weights = _weights(info)
    is_gguf = weights[0].name.endswith(".gguf")
    needed = weights if is_gguf else weights + [file for file in small_files(info) if not _is_prose(file)]
    if not all(repo.has_name(file) for file in needed):
        return None
    return repo.pointer(weights[0]) if is_gguf else repo.snapshot


def _is_prose(file: RepoFile) -> bool:
    return file.name.startswith(("README", "LICEN"))


def header_source(source: HubSource, *, hub: Hub | None = None, quick: bool = False) -> HeaderSource:
    """The headers of `source`, fetched unless they are kept: some hundred KB if `quick`, else some MB."""
    hub = hub or connect()
    return _headers_of(known_info(source, hub), hub, quick=quick)


def _headers_of(info: RepoInfo, hub: Hub, *, quick: bool) -> HeaderSource:
    files = _weights(info)
    folder = kept_folder(info.id, quick=quick) / "snapshots" / info.commit
    folder.mkdir(parents=True, exist_ok=True)
    made = HeaderSource(hub, info, folder, {Path(file.name).name: file for file in files}, quick)
    _fill(made)
    return made


def _weights(info: RepoInfo) -> list[RepoFile]:
    """The files whose headers tell everything: safetensors, or one GGUF; of several the usual one will do."""
    if not info.source.choice:
        if files := weight_files(info):
            return files
        if not (choices := gguf_choices(info)):
            raise no_weights(info)
        usual = [choice for choice in choices if choice.label == _USUAL] or choices[-1:]
        return list(usual[0].files)
    chosen = wanted_files(info)
    weights = [file for file in chosen if file.name.endswith((".gguf", ".safetensors"))]
    if not weights:
        raise SnugError(f"{info.source.choice} is no weights.", "Name a GGUF file or a quantization.")
    return list(the_choice(info, [GgufChoice("", "", tuple(weights))]).files)


def _fill(source: HeaderSource) -> None:
    """Fetches what is not yet in the folder, several things at a time."""
    info, folder = source.info, source.folder
    small = [] if any(name.endswith(".gguf") for name in source.remote) else small_files(info)
    if source.is_quick:
        small = [file for file in small if file.name in _QUICK]
    is_kept = all((folder / name).is_file() for name in source.remote)
    if source.is_quick and not is_kept and len(source.remote) > 1 and info.source.revision in ("main", info.commit):
        with suppress(SnugError, KeyError, TypeError, AttributeError, ValueError):
            _all_headers(source)
    tasks = [(_fetch_small, file) for file in small if not (folder / file.name).is_file()]
    tasks += [(_fetch_header, file) for name, file in source.remote.items() if not (folder / name).is_file()]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="headers") as pool:
        for done in [pool.submit(task, source, file) for task, file in tasks]:
            done.result()


def _fetch_small(source: HeaderSource, file: RepoFile) -> None:
    data = RangeReader(source.hub, source.info, file).read(0, file.size)
    if hash_of(data, file) != file.etag:
        raise JobFailed(f"{file.name} of {source.info.id} arrived damaged: its hash is not the Hub's.", "Try again.")
    write_whole(source.folder / file.name, data)


def _fetch_header(source: HeaderSource, file: RepoFile) -> None:
    reader, target = RangeReader(source.hub, source.info, file), source.folder / Path(file.name).name
    data = reader.read(0, FIRST_BYTES)
    if target.suffix == ".gguf":
        _write_gguf(reader, target, data)
        return
    end = 8 + int.from_bytes(data[:8], "little")
    if end > min(MAX_HEADER, file.size):
        end = 8  # no safetensors file: opening it says so
    write_whole(target, data[:end] + reader.read(len(data), max(0, end - len(data))))


def _write_gguf(reader: RangeReader, target: Path, data: bytes) -> None:
    """More and more of the file, until its header is whole."""
    new = target.with_name(f".{secrets.token_hex(6)}.gguf")
    try:
        while True:
            new.write_bytes(data)
            with suppress(CutHeader):
                read_header(new, reader.file.size)
                break
            if len(data) >= min(_MOST_GGUF, reader.file.size):
                break
            data += reader.read(len(data), 3 * len(data))
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)


def _all_headers(source: HeaderSource) -> None:
    """The headers of all shards by one request, which the Hub answers for the newest commit of large models.

    Only taken when each fits its file to the byte; KeyError and the like when the answer is of another kind.
    """
    hub, info = source.hub, source.info
    url = f"{hub.endpoint}/api/models/{info.id}/safetensors-metadata/{quote(INDEX)}"
    values, _ = get_json(hub, url, what="the headers", repo=info.id)
    found = {name: _rebuilt(values["headers"][name], file) for name, file in source.remote.items()}
    for name, data in found.items():
        write_whole(source.folder / name, data)


def _rebuilt(header: dict[str, Any], file: RepoFile) -> bytes:
    """The first bytes of the shard with this header. ValueError unless header and tensors fill the file."""
    end: int = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    room = file.size - 8 - end
    if not len(text) <= room < len(text) + (len(text) >> 1) + 4096:
        raise ValueError("another header")
    return room.to_bytes(8, "little") + text.ljust(room)
