"""One model of the Hub at one commit: its files with sizes and hashes, and its card."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from core.errors import JobFailed, SnugError
from core.hub.connection import Hub, connect
from core.hub.names import HubSource, as_seen_here, hub_source, is_commit, shown, unsafe
from core.hub.search import Repo, row_of, whole
from core.hub.web import get_bytes, get_json

MAX_FILES = 100_000
_CARD_BYTES = 4 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file of a repository. `sha256` is "" for a small one kept in git, whose `blob_id` is git's hash of it."""

    name: str
    size: int
    blob_id: str
    sha256: str = ""

    @property
    def etag(self) -> str:
        """What the cache calls its content."""
        return self.sha256 or self.blob_id


@dataclass(frozen=True, slots=True)
class RepoInfo:
    """A model at a commit. `refused` are names in its list that never become files, each with the reason."""

    source: HubSource
    commit: str
    row: Repo
    files: tuple[RepoFile, ...]
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        return self.row.id

    def file(self, name: str) -> RepoFile | None:
        return next((file for file in self.files if file.name == name), None)

    def need(self, name: str) -> RepoFile:
        """The file of this name. Raises SnugError when there is none."""
        found = self.file(name)
        if found is None:
            reason = dict(self.refused).get(name)
            raise SnugError(
                f"{self.id} has {f'a file {shown(name)}, but {reason}' if reason else f'no file {shown(name)}'}.",
                "Look at the list of its files: snug pull --list.",
            )
        return found


def repo_info(source: HubSource | str, *, hub: Hub | None = None) -> RepoInfo:
    """What there is at the revision of `source`, in one request. Raises SnugError when it cannot be had."""
    source = hub_source(source) if isinstance(source, str) else source
    hub = hub or connect()
    url = f"{hub.endpoint}/api/models/{source.id}/revision/{quote(source.revision, safe='')}?blobs=true"
    values, _ = get_json(hub, url, what=str(source).removeprefix("hub:"), repo=source.id)
    return info_of(source, values)


def info_of(source: HubSource, values: Any) -> RepoInfo:
    """The model that an answer of the Hub describes. Raises JobFailed when it describes none."""
    row = row_of(values)
    commit = values.get("sha") if isinstance(values, dict) else None
    listed = values.get("siblings") if isinstance(values, dict) else None
    if row is None or not is_commit(commit) or not isinstance(listed, list):
        raise JobFailed(f"What the Hub says of {source.id} makes no sense.", "Try again later; check HF_ENDPOINT.")
    if len(listed) > MAX_FILES:
        raise JobFailed(f"{source.id} lists {len(listed):,} files, more than any model has.", "Open its page.")
    files: dict[str, RepoFile] = {}
    taken: set[str] = set()
    refused: list[tuple[str, str]] = []
    for entry in listed:
        found = _file_of(entry)
        if isinstance(found, RepoFile) and as_seen_here(found.name) in taken:
            found = found.name, "another file has that name already, as this system sees it"
        if isinstance(found, tuple):
            refused.append(found)
            continue
        files[found.name] = found
        taken.add(as_seen_here(found.name))
    return RepoInfo(source, str(commit), row, tuple(files.values()), tuple(refused))


def _file_of(entry: Any) -> RepoFile | tuple[str, str]:
    """The file that `entry` lists, or its name and why it is refused."""
    name = entry.get("rfilename") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        return "a file", "it has no name"
    if reason := unsafe(name):
        return name, reason
    lfs = entry.get("lfs")
    sha256 = lfs.get("sha256") if isinstance(lfs, dict) else ""
    size, blob_id = entry.get("size"), entry.get("blobId")
    if sha256 and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        return name, "its SHA-256 is none"
    if not isinstance(blob_id, str) or not _SHA1.fullmatch(blob_id) or whole(size) != size:
        return name, "its size or hash is missing"
    return RepoFile(name, whole(size), blob_id, sha256 or "")


def file_url(hub: Hub, info: RepoInfo, file: RepoFile) -> str:
    """Where the Hub hands out a file of exactly this commit."""
    return f"{hub.endpoint}/{info.id}/resolve/{info.commit}/{quote(file.name)}"


def card_text(info: RepoInfo, *, hub: Hub | None = None) -> str:
    """The text of README.md, "" without one."""
    file = info.file("README.md")
    if file is None:
        return ""
    hub = hub or connect()
    data, _ = get_bytes(hub, file_url(hub, info, file), what="README.md", repo=info.id, most=_CARD_BYTES)
    return data.decode("utf-8", "replace")


def info_values(info: RepoInfo) -> dict[str, Any]:
    """The same as plain JSON values; `info_from` makes an info of them again."""
    return asdict(info)


def info_from(values: dict[str, Any]) -> RepoInfo:
    """Raises KeyError or TypeError for what `info_values` did not make."""
    return RepoInfo(
        HubSource(**values["source"]),
        str(values["commit"]),
        Repo(**values["row"]),
        tuple(RepoFile(**file) for file in values["files"]),
        tuple((str(name), str(reason)) for name, reason in values["refused"]),
    )
