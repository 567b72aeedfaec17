"""What was read of the Hub before: descriptions of models and small files, by commit, in Snug's own cache."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from core.errors import JobFailed, SnugError
from core.hub.connection import Hub
from core.hub.names import HubSource, is_commit
from core.hub.repo import RepoFile, RepoInfo, info_from, info_values, repo_info
from core.paths import cache_folder


def known_info(source: HubSource, hub: Hub) -> RepoInfo:
    """What the Hub says of the model; what it said before, where the commit is named or the Hub cannot be asked."""
    folder = kept_folder(source.id) / "infos"
    if is_commit(source.revision) and (kept := _kept_info(folder / f"{source.revision}.json", source)):
        return kept
    last = folder / f"{quote(source.revision, safe='')}.json"
    try:
        info = repo_info(source, hub=hub)
    except SnugError as error:
        kept = _kept_info(last, source) if hub.offline or isinstance(error, JobFailed) else None
        if kept is None:
            raise
        return kept
    for file in {last, folder / f"{info.commit}.json"}:
        write_whole(file, json.dumps(info_values(info)).encode())
    return info


def _kept_info(file: Path, source: HubSource) -> RepoInfo | None:
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        return replace(info_from(json.loads(file.read_text(encoding="utf-8"))), source=source)
    return None


def kept_copy(info: RepoInfo, file: RepoFile, target: Path) -> bool:
    """Puts a small file that was read before at `target`; False when there is none or it is another one."""
    kept = kept_folder(info.id) / "snapshots" / info.commit / file.name
    with suppress(OSError):
        if kept.stat().st_size == file.size and hash_of(data := kept.read_bytes(), file) == file.etag:
            write_whole(target, data)
            return True
    return False


def hash_of(data: bytes, file: RepoFile) -> str:
    """What `data` is called if it is the content of `file`."""
    state = hashlib.sha256(data) if file.sha256 else hashlib.sha1(b"blob %d\0" % len(data) + data)
    return state.hexdigest()


def write_whole(file: Path, data: bytes) -> None:
    """All or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{secrets.token_hex(6)}.tmp")
    new.write_bytes(data)
    os.replace(new, file)


def kept_folder(id: str, *, quick: bool = False) -> Path:
    """Where what was read of a model is kept; what is only good for a verdict, apart from the rest."""
    return cache_folder() / ("hub-quick" if quick else "hub") / f"models--{id.replace('/', '--')}"
