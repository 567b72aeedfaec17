"""Everything on this computer at once: each store by itself, so that none can keep another from being seen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import Cancelled
from core.library.folders import scan_folder
from core.library.headers import HeaderMemory, load_memory, save_memory, with_summary
from core.library.hub_cache import scan_hub
from core.library.item import Found, Leftover, LibraryItem, Origin, Trouble, in_words
from core.library.job_ends import job_ends, models_waited_for
from core.library.ollama import scan_ollama
from core.library.outputs import scan_outputs
from core.library.places import Places
from core.library.shares import bytes_on_disk, with_shares
from core.paths import cache_folder


@dataclass(frozen=True, slots=True)
class DiskUse:
    """The disk that `folder` is on: bytes of it all, free ones, and those that the models take."""

    folder: Path
    total: int
    free: int
    models: int


@dataclass(frozen=True, slots=True)
class Library:
    """What was found, and when. `total`: bytes of all items, each content counted once."""

    places: Places
    items: tuple[LibraryItem, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    disk: DiskUse | None = None
    total: int = 0

    @property
    def useless(self) -> int:
        """Bytes that cleaning up would free at most."""
        return sum(leftover.size for leftover in self.leftovers if not leftover.busy)


def memory_file() -> Path:
    """Where headers are remembered."""
    return cache_folder() / "library.json"


def scan_library(
    places: Places,
    *,
    remember: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    now: float | None = None,
) -> Library:
    """The library of `places`. Headers are remembered in the file `remember`. Raises Cancelled."""
    now = time.time() if now is None else now
    found = list(_stores(places, now))
    memory = load_memory(remember)
    items = [_read(item, memory, cancelled) for item in _once(item for store in found for item in store.items)]
    troubles = [trouble for store in found for trouble in store.troubles]
    if remember is not None:
        try:
            save_memory(remember, memory)
        except OSError as error:
            troubles.append(Trouble(remember, in_words(error)))
    items = with_shares(items)
    leftovers = {leftover.path: leftover for store in reversed(found) for leftover in store.leftovers}
    kept = tuple(sorted(leftovers.values(), key=lambda leftover: (leftover.origin, leftover.path)))
    disk = _disk(places, items)
    return Library(places, tuple(items), kept, tuple(troubles), disk, bytes_on_disk(items))


def _stores(places: Places, now: float) -> Iterator[Found]:
    """One after the other; what two of them see counts for the first."""
    jobs = job_ends(places.jobs)
    waiting = models_waited_for(jobs)
    yield from (scan_hub(cache, now=now, waiting=waiting) for cache in places.hub)
    yield scan_outputs(jobs, places.made, places.outputs)
    yield from (scan_ollama(store) for store in places.ollama)
    yield from (scan_folder(folder, Origin.LM_STUDIO) for folder in places.lm_studio)
    yield from (scan_folder(folder, Origin.LLAMA_CPP) for folder in places.llama_cpp)
    yield from (scan_folder(folder, Origin.FOLDER) for folder in places.added)


def _once(items: Iterable[LibraryItem]) -> Iterator[LibraryItem]:
    """The items without those that another store has shown by the same names."""
    seen: set[Path] = set()
    for item in items:
        names = {file.path.parent.resolve() / file.path.name for file in item.weights}
        if not names or not names <= seen:
            seen |= names
            yield item


def _read(item: LibraryItem, memory: HeaderMemory, cancelled: Callable[[], bool]) -> LibraryItem:
    if cancelled():
        raise Cancelled
    return with_summary(item, memory)


def _disk(places: Places, items: list[LibraryItem]) -> DiskUse | None:
    """Of the disk that most of it is on: the Hugging Face cache's, or that of the first place there is."""
    folders = [*places.hub, *places.outputs, *places.ollama, *places.lm_studio, *places.llama_cpp, *places.added]
    for folder in [*folders, Path.home()]:
        try:
            usage, device = shutil.disk_usage(folder), folder.stat().st_dev
        except OSError:
            continue
        sizes = {file.inode: file.size for item in items for file in item.files if file.inode[0] == device}
        return DiskUse(folder, usage.total, usage.free, sum(sizes.values()))
    return None
