"""The pictures of a model's card: only files of the model itself, never anything of another place."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from core.errors import JobFailed, SnugError
from core.hub.connection import Hub, connect
from core.hub.kept import hash_of
from core.hub.names import shown
from core.hub.ranges import RangeReader
from core.hub.repo import RepoInfo

MOST_BYTES = 2 << 20
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_FILE = re.compile(r"/(?:resolve|raw|blob)/[^/]+/(?P<name>.+)")


def picture_of(info: RepoInfo, address: str, *, endpoint: str) -> str:
    """The file of the model that `address` in its card means, "" for a picture of another place, or none."""
    try:
        parts = urlsplit(address.strip())
        host = parts.hostname or ""
    except ValueError:
        return ""
    name = unquote(parts.path).removeprefix("./")
    if parts.scheme or parts.netloc:
        match = _FILE.fullmatch(name.removeprefix(f"/{info.id}"))
        is_here = parts.scheme in ("http", "https") and host in (*_HOSTS, urlsplit(endpoint).hostname)
        name = match["name"] if match and is_here and name.startswith(f"/{info.id}/") else ""
    file = info.file(name)
    return name if file and name.lower().endswith(PICTURES) and file.size <= MOST_BYTES else ""


def picture_bytes(info: RepoInfo, name: str, *, hub: Hub | None = None) -> bytes:
    """The picture, as its hash says it is. Raises SnugError when it cannot be had."""
    file = info.need(name)
    if not name.lower().endswith(PICTURES) or file.size > MOST_BYTES:
        raise SnugError(f"{shown(name)} is no picture that Snug shows.", "Look at the model's page.")
    data = RangeReader(hub or connect(), info, file).read(0, file.size)
    if hash_of(data, file) != file.etag:
        raise JobFailed(f"{shown(name)} of {info.id} arrived damaged: its hash is not the Hub's.", "Try again.")
    return data
