"""Names that come from a stranger: of repositories, revisions and files. What does not pass never becomes a path."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import SnugError

_PREFIX = "hub:"
_PART = r"[A-Za-z0-9_](?:[\w.-]{0,94}[\w-])?"
_REPO = re.compile(rf"(?:{_PART}/)?{_PART}", re.ASCII)
_SOURCE = re.compile(r"(?P<id>[^@:\s]+)(?:@(?P<revision>[^:\s]+))?(?::(?P<choice>\S.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$|^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)', re.IGNORECASE)
_HINT = "Give ORG/NAME, and if you like @REVISION and :FILE or :QUANTIZATION, as in hub:ORG/NAME@main:Q4_K_M."


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model on the Hub: `id` is ORG/NAME, `choice` a file or a quantization of a repository that has several."""

    id: str
    revision: str = "main"
    choice: str = ""

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"{_PREFIX}{self.id}{revision}{f':{self.choice}' if self.choice else ''}"


def hub_source(text: str) -> HubSource:
    """The source of "hub:ORG/NAME[@rev][:choice]", the prefix left out or not. Raises SnugError for anything else."""
    match = _SOURCE.fullmatch(str(text).removeprefix(_PREFIX).strip())
    if not match or not is_repo_id(match["id"]):
        raise SnugError(f"{shown(text)} is no name of a model on the Hub.", _HINT)
    source = HubSource(match["id"], match["revision"] or "main", match["choice"] or "")
    check_revision(source.revision)
    return source


def as_hub_source(text: Path | str) -> HubSource | None:
    """The Hub's model that `text` means: with the prefix always, as plain ORG/NAME where no such path exists."""
    name = text if isinstance(text, str) else text.as_posix()
    if name.startswith(_PREFIX):
        return hub_source(name.replace("\\", "/"))  # as a path, Windows writes it so
    match = _SOURCE.fullmatch(name)
    if not match or match["id"].count("/") != 1 or not is_repo_id(match["id"]) or match["id"].endswith(".gguf"):
        return None
    return None if os.path.exists(name) or os.path.exists(os.path.dirname(name)) else hub_source(name)


def is_repo_id(text: str) -> bool:
    """True for a name that the Hub gives out: no path of its own, no `--`, which separates names in the cache."""
    return _REPO.fullmatch(text) is not None and "--" not in text and ".." not in text


def check_revision(revision: str) -> None:
    """Raises SnugError unless this may be a branch, tag or commit."""
    parts = revision.split("/")
    if not revision or _CONTROL.search(revision) or "\\" in revision or any(part in ("", ".", "..") for part in parts):
        raise SnugError(f"{shown(revision)} is no name of a revision.", "Give a branch, a tag or a commit.")


def is_commit(text: object) -> bool:
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def unsafe(name: str, *, windows: bool = sys.platform == "win32") -> str:
    """Why a file of this name is not written, "" if it may be: only plain relative names stay inside the cache."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or PurePosixPath(name).is_absolute():
        return "its name is that of a place outside the model"
    if any(part in ("", ".", "..") for part in parts):
        return "its name leads out of the model"
    if _CONTROL.search(name):
        return "its name holds characters that no one can see"
    if any(len(part.encode("utf-8")) > 255 for part in parts) or len(name) > 1024:
        return "its name is too long"
    if windows and any(_WINDOWS.search(part) for part in parts):
        return "Windows has no such names"
    return ""


def as_seen_here(name: str, *, folded: bool = sys.platform in ("win32", "darwin")) -> str:
    """What two names must differ in: not all systems tell upper from lower case, or spellings of one accent."""
    return unicodedata.normalize("NFC", name).casefold() if folded else name


def shown(value: Any, most: int = 200) -> str:
    """A stranger's text on one line, with nothing in it that a terminal would obey."""
    text = _CONTROL.sub("\ufffd", str(value))
    return text if len(text) <= most else text[: most - 1] + "…"
