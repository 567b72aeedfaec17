"""What Snug has made: the files that its jobs name, as long as they are still those, and what jobs left unfinished."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.jobs.job import QuantizeJob
from core.library.folders import scan_folder
from core.library.groups import gguf_groups
from core.library.item import Found, Leftover, LeftoverKind, LibraryItem, Origin, Trouble, look_at
from core.library.job_ends import JobEnd
from core.running.journal import journal_path
from core.running.output import ahead_path, part_path

_SUFFIXES = tuple(name("x").name.removeprefix("x") for name in (part_path, journal_path, ahead_path))
_MOST_LINES = 10_000


def remember_output(made: Path, result: dict[str, Any]) -> None:
    """Notes in the file `made` what a job has written, so that the library knows it as Snug's own. Raises OSError."""
    made.parent.mkdir(parents=True, exist_ok=True)
    results = (result, *result.get("also", ()))
    lines = (json.dumps({"time": time.time(), "target": r["target"], "file_bytes": r["file_bytes"]}) for r in results)
    with made.open("a", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def scan_outputs(jobs: Sequence[JobEnd], made: Path, folders: tuple[Path, ...]) -> Found:
    """The files made with Snug that are there, and other models right in the folders they go to."""
    known = dict([*_done(jobs), *_noted(made)])
    open_jobs = (end.job for end in jobs if isinstance(end.job, QuantizeJob) and end.goes_on)
    waiting = {Path(each.target) for job in open_jobs for each in job.each}
    items = [item for target, size in known.items() if (item := _item(target, size)) is not None]
    places = {target.parent for target in (*known, *waiting)} | set(folders)
    leftovers: list[Leftover] = []
    troubles: list[Trouble] = []
    for folder in sorted(places):
        try:
            leftovers += _leftovers(folder, waiting)
        except OSError as error:
            if folder in folders:
                troubles.append(Trouble(folder, error.strerror or str(error)))
    beside = [item for folder in folders for item in _right_in(folder)]
    return Found((*items, *beside), tuple(leftovers), tuple(troubles))


def _right_in(folder: Path) -> Iterator[LibraryItem]:
    """GGUF files that lie in `folder` itself; where files go may be a whole home folder, so no deeper."""
    found = scan_folder(folder, Origin.FOLDER, deepest=0)
    return (item for item in found.items if item.path.suffix.lower() == ".gguf")


def _done(jobs: Iterable[JobEnd]) -> Iterator[tuple[Path, int]]:
    """(target, bytes) of all that jobs have made, also by those that failed of another target."""
    for end in jobs:
        with suppress(ValueError, TypeError, KeyError):
            result = end.last["result"]
            yield _target(result)
            for further in result.get("also", ()):
                yield _target(further)


def _noted(made: Path) -> Iterator[tuple[Path, int]]:
    try:
        lines = made.read_text(encoding="utf-8", errors="replace").splitlines()[-_MOST_LINES:]
    except OSError:
        return
    for line in lines:
        try:
            yield _target(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue


def _target(values: Any) -> tuple[Path, int]:
    target, size = values["target"], values["file_bytes"]
    if not isinstance(target, str) or not os.path.isabs(target) or not isinstance(size, int):
        raise ValueError("no file that a job has made")
    return Path(target), size


def _item(target: Path, size: int) -> LibraryItem | None:
    """The file, or all parts of it; None when it is gone or another file has taken its name."""
    try:
        names = [target.with_name(name) for name in os.listdir(target.parent)]
    except OSError:
        return None
    group = next((group for group in gguf_groups(names) if target in group.names), None)
    files = tuple(file for name in group.names if (file := look_at(name)) is not None) if group else ()
    if group is None or len(files) != group.expected or sum(file.size for file in files) != size:
        return None
    return LibraryItem(
        id=f"{Origin.SNUG}:{target}",
        name=group.title,
        origin=Origin.SNUG,
        path=files[0].path,
        root=target.parent,
        files=files,
        weights=files,
    )


def _leftovers(folder: Path, waiting: Collection[Path]) -> Iterator[Leftover]:
    for name in sorted(os.listdir(folder)):
        path = folder / name
        target = unfinished_target(path)
        if target is not None and not path.is_symlink() and (file := look_at(path)) is not None:
            when, busy = file.modified / 1e9, _busy(path, target, waiting)
            yield Leftover(path, LeftoverKind.OUTPUT, Origin.SNUG, folder, file.size, when, busy)


def unfinished_target(path: Path) -> Path | None:
    """The file that `path` is the unfinished part of, or lies beside that; None for any other file."""
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix) and path.name != suffix:
            return path.with_name(path.name.removesuffix(suffix))
    return None


def _busy(path: Path, target: Path, waiting: Collection[Path]) -> str:
    """Why an unfinished file stays: one part of a split file belongs to the whole."""
    if is_being_written(path):
        return "A job is writing it right now."
    whole = gguf_groups([target])
    names = {target, *(target.with_name(f"{group.title}.gguf") for group in whole if group.expected > 1)}
    return "A job on the page Jobs can go on with it; it goes with that job." if names & {*waiting} else ""


def is_being_written(path: Path) -> bool:
    """Whether a job holds this unfinished file, or one that this lies beside."""
    target = unfinished_target(path)
    return any(_is_held(held) for held in {path, *((part_path(target), journal_path(target)) if target else ())})


def _is_held(path: Path) -> bool:
    try:
        import fcntl
    except ImportError:
        return False  # Windows removes no open file anyway
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
