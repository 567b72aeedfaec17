"""Ollama's store: manifests/HOST/NAMESPACE/MODEL/TAG list the blobs of a model by their hashes. Only looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.library.item import Found, Leftover, LeftoverKind, LibraryItem, Origin, StoredFile, Trouble, in_words, look_at
from core.library.reading import names_under, read_table

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_HOST, _NAMESPACE = "registry.ollama.ai", "library"
_WEIGHTS = ("model", "projector", "adapter", "tensor")
_BUSY = "It is not Snug's: Ollama removes it when it starts next, unless a download goes on from it."


def scan_ollama(store: Path) -> Found:
    """Every model that a manifest names; a manifest that makes no sense is a trouble."""
    items: list[LibraryItem] = []
    troubles: list[Trouble] = []

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a store that nothing was ever put into
            troubles.append(Trouble(Path(error.filename or store), in_words(error)))

    for path in names_under(store / "manifests", failed):
        try:
            items.append(_item(store, path))
        except OSError as error:
            troubles.append(Trouble(path, in_words(error)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            troubles.append(Trouble(path, f"This is no manifest that Snug understands: {error}."))
    used = {file.real for item in items for file in item.files}
    return Found(tuple(items), tuple(_leftovers(store, used)), tuple(troubles))


def _item(store: Path, path: Path) -> LibraryItem:
    manifest = read_table(path)
    layers = [*manifest["layers"], manifest["config"]] if manifest.get("config") else [*manifest["layers"]]
    found = [(str(layer.get("mediaType", "")).rpartition(".")[2], _blob(store, layer)) for layer in layers]
    files = tuple(file for _, file in found if file is not None)
    weights = tuple(file for kind, file in found if file is not None and kind in _WEIGHTS)
    models = [file for kind, file in found if file is not None and kind == "model"]
    name = model_name(path.relative_to(store / "manifests").parts)
    lacking = sum(file is None for _, file in found)
    return LibraryItem(
        id=f"{Origin.OLLAMA}:{path}",
        name=name,
        origin=Origin.OLLAMA,
        path=models[0].path if models else path,
        root=store,
        files=files,
        weights=weights,
        repo=name.removeprefix("hf.co/").partition(":")[0] if name.startswith("hf.co/") else "",
        removal=f"Remove it with: ollama rm {name}",
        problem=f"{lacking} of {len(found)} blobs are missing." if lacking else "",
    )


def model_name(parts: tuple[str, ...]) -> str:
    """The name that Ollama shows for a manifest: without the host and the namespace that go without saying."""
    *folders, tag = parts
    if folders[:1] == [_HOST]:
        folders = folders[1:]
        if folders[:1] == [_NAMESPACE] and len(folders) > 1:
            folders = folders[1:]
    return f"{'/'.join(folders)}:{tag}"


def _blob(store: Path, layer: Any) -> StoredFile | None:
    """The file of a layer. Raises ValueError for a digest that is none: it never becomes a path."""
    match = _DIGEST.fullmatch(str(layer["digest"]))
    if not match:
        raise ValueError(f"{str(layer['digest'])[:80]!r} is no SHA-256")
    names = (f"sha256-{match[1]}", f"sha256:{match[1]}")
    found = (look_at(store / "blobs" / name, match[1]) for name in names)
    return next((file for file in found if file is not None), None)


def _leftovers(store: Path, used: set[Path]) -> Iterator[Leftover]:
    for path in names_under(store / "blobs"):
        file = look_at(path)
        if file is not None and file.real not in used and not path.is_symlink():
            kind = LeftoverKind.DOWNLOAD if "-partial" in path.name else LeftoverKind.BLOB
            yield Leftover(path, kind, Origin.OLLAMA, store, file.size, file.modified / 1e9, _BUSY)
