"""A job as a zip for a bug tracker: what it was, what became of it, its log and the report of the machine.

Whoever sends it should not have to read it first: tokens, signed addresses and names of people are taken out, paths are
told from the home folder on, and what is long is cut in the middle.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import socket
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from core.doctor import examine
from core.errors import SnugError
from core.jobs.job_folder import JobFolder
from core.paths import expanded

MOST_BYTES = 1 << 20  # of each file in the zip
_FIRST_BYTES = 64 << 10

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*token)([\"']?\s*[:=]\s*[\"']?)[^\"'\r\n]+"),
     r"\1\2<secret>"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=_.~-]{6,}"), r"\1 <secret>"),
    (re.compile(r"(?i)\b((?:[a-z]+_)?(?:token|password|passwd|secret|api_?key))(\\?[\"']?\s*[:=]\s*\\?[\"']?)[^\s\"',;&\\]+"),
     r"\1\2<secret>"),
    (re.compile(r"\b(?:hf|api_org|sk|ghp|gho|ghs|ghu|github_pat|glpat)[_-][A-Za-z0-9_-]{8,}"), "<token>"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"), "<token>"),
    (re.compile(r"(?i)\b(https?://)[^\s/@\"'<>]+@"), r"\1"),
    (re.compile(r"(?i)(\bhttps?://[^\s?#\"'<>\\]+)[?#][^\s\"'<>\\)\]]+"), r"\1?<signature>"),
)  # fmt: skip
_ANY_HOME = re.compile(r"(?i)(?:[a-z]:)?(?:\\\\?|/)(?:home|users)(?:\\\\?|/)(?!shared\b|public\b)[^\\/\s\"':;,]+")
_LEAST_NAME = 3  # a shorter name is a part of too many words
_NO_NAMES = {"root", "user", "admin", "localhost"}


def write_report(folder: JobFolder, out: Path | str, *, examined: Mapping[str, Any] | None = None) -> Path:
    """Writes the zip at `out`, or in that folder under the job's name; gives its path.

    `examined` is the report of the machine where it is known already. Raises SnugError when there is no such job, or
    nothing can be written.
    """
    if not folder.path.is_dir():
        raise SnugError(f"There is no job {folder.id}.", "snug jobs lists them.")
    target = expanded(out)
    target = target / f"snug-report-{folder.id}.zip" if target.is_dir() else target
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in contents(folder, examined if examined is not None else examine()).items():
                archive.writestr(name, text)
        os.replace(new, target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise SnugError(f"{target} cannot be written: {error.strerror or error}.", "Give another place.") from error
    return target


def contents(folder: JobFolder, examined: Mapping[str, Any]) -> dict[str, str]:
    """File name -> text, all of it fit to be sent."""
    clean = cleaner(_folders_of(_read(folder.path / "job.json")))
    files = {name: _cleaned_lines(_read(folder.path / name), clean) for name in ("events.jsonl", "log.txt")}
    job = _cleaned_json(_read(folder.path / "job.json"), clean)
    return {"job.json": job, **files, "machine.json": json.dumps(_cleaned(examined, clean), indent=1, default=str)}


def _folders_of(job: str) -> tuple[str, ...]:
    """Where the files of a job are, unless that is below the home folder, which is told by itself."""
    with suppress(ValueError, RecursionError, AttributeError):
        files = [str(json.loads(job).get(name) or "") for name in ("source", "target", "imatrix", "file")]
        parents = {str(Path(file).parent) for file in files if os.path.isabs(file)}
        return tuple(place for place in parents if len(place) > len("C:\\") and not place.startswith(str(Path.home())))
    return ()


def cleaner(folders: tuple[str, ...] = ()) -> Callable[[str], str]:
    """What takes out of a text whatever is private, on this machine; `folders` become <folder>."""
    names = []
    with suppress(OSError, KeyError, ImportError):
        names.append(getpass.getuser())
    names += [socket.gethostname(), Path.home().name]
    return partial(cleaned, home=str(Path.home()), names=tuple(dict.fromkeys(names)), folders=folders)


def cleaned(text: str, *, home: str, names: tuple[str, ...], folders: tuple[str, ...] = ()) -> str:
    """`text` without secrets; `home` becomes ~, as do all folders of users, and `names` become <user>."""
    for place in sorted(folders, key=len, reverse=True):
        text = re.sub(rf"{re.escape(place)}(?![\w.-])", "<folder>", text)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    if len(home) > 1:
        text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w-])", "~", text)
        text = text.replace(home.replace("\\", "\\\\"), "~") if "\\" in home else text
    text = _ANY_HOME.sub("~", text)
    for name in sorted(names, key=len, reverse=True):  # one may be a part of another
        if len(name) >= _LEAST_NAME and name.casefold() not in _NO_NAMES:
            text = re.sub(rf"(?i)(?<![\w]){re.escape(name)}(?![\w])", "<user>", text)
    return text


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """`value` with every text in it cleaned, keys too."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): _cleaned(item, clean) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item, clean) for item in value]
    return value


def _cleaned_json(text: str, clean: Callable[[str], str]) -> str:
    """JSON by its values, so that no way of writing a letter hides anything; what is none, as plain text."""
    try:
        value = json.loads(text)
        return json.dumps(_cleaned(value, clean), indent=1, ensure_ascii=False)
    except (ValueError, RecursionError):
        return clean(text)


def _cleaned_lines(text: str, clean: Callable[[str], str]) -> str:
    return "\n".join(_cleaned_line(line, clean) for line in text.splitlines())


def _cleaned_line(line: str, clean: Callable[[str], str]) -> str:
    if line.startswith("{"):
        with suppress(ValueError, RecursionError):
            return json.dumps(_cleaned(json.loads(line), clean), ensure_ascii=False)
    return clean(line)


def _read(path: Path) -> str:
    """The text of a file, of a long one whole lines of how it began and, mostly, of how it ended; "" without one."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            if length <= MOST_BYTES:
                return file.read(MOST_BYTES).decode(errors="replace")
            first = file.read(_FIRST_BYTES).rpartition(b"\n")[0]
            file.seek(length - (MOST_BYTES - _FIRST_BYTES))
            last = file.read(MOST_BYTES).partition(b"\n")[2]
    except OSError:
        return ""
    left_out = length - len(first) - len(last)
    return (b"%b\n... %d bytes left out ...\n%b" % (first, left_out, last)).decode(errors="replace")
