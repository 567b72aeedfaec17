"""Making a file again from its recipe card, and saying whether the result is the same: a generator of events."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kernels
from core.cards.card_reader import RecipeCard, read_card
from core.cards.card_source import CardSource, header_hashes
from core.cards.recipe_card import file_hash, snug_version, source_in
from core.errors import Cancelled, JobFailed, SnugError
from core.events import Done, Event, Failed, Note, Paused, Progress
from core.gguf import read_header
from core.gguf_split import SPLIT_KEYS, SplitGguf, read_split
from core.jobs.job import QuantizeJob, ReproduceJob
from core.model import ModelInfo, TensorInfo
from core.paths import expanded
from core.plan import Plan
from core.running.control import Control, Stop
from core.running.output import check_target, in_words
from core.running.quantize import plan_job, run

_CHUNK = 4 << 20
_PROGRESS_SECONDS = 0.1
_PLACE = ".snug-reproduce-"
# A tensor as the card or the file has it: format, shape, SHA-256 of its bytes.
_Tensor = tuple[str, tuple[int, ...], str]


def rebuild(
    file: Path | str,
    *,
    source: str = "",
    imatrix: str = "",
    target: str = "",
    threads: int = 0,
    overwrite: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """Events of making again what the card in `file` (a GGUF, or the JSON beside one) describes; the last one is Done
    or Failed. Without a `target` the new file is only compared.

    Done's result: `equal` (every tensor, byte for byte), `file_equal` (the header too; None where that cannot be told),
    `differing` (tensors), `keys` (of the header that differ), `reasons`, `sha256` of the new file and `sha256_before`.
    """
    try:
        yield from _rebuild(read_card(file), _Wanted(source, imatrix, target, threads, overwrite), cancelled)
    except Cancelled:
        yield Failed("Cancelled. Nothing was written.", cancelled=True)
    except SnugError as error:
        yield Failed(error.message, error.hint, exit_code=error.exit_code)


def reproduction_of(file: Path | str, *, source: str = "", imatrix: str = "", threads: int = 0) -> ReproduceJob:
    """The job that does so and only compares. Raises SnugError where a card is missing or says too little."""
    card = read_card(file)
    folder = _writable(card.path.absolute().parent) or Path(tempfile.gettempdir())
    place = str(folder / f"{_PLACE}{secrets.token_hex(6)}")
    job = job_of(card, source, imatrix, place)
    return ReproduceJob(str(card.path.absolute()), job.source, place, job.imatrix, threads)


def reproduce(job: ReproduceJob, control: Control, *, resume: bool) -> Generator[Event, None, None]:
    """As `rebuild`, for a job that can be paused and gone on with: what is done stays in its place until its end."""
    wanted = _Wanted(job.source, job.imatrix, "", job.threads, overwrite=True, place=job.place)
    try:
        for event in _rebuild(read_card(job.file), wanted, control.is_stopped, control=control, resume=resume):
            if isinstance(event, Done) or (isinstance(event, Failed) and not event.resumable):
                drop_reproduction(job)
            yield event
    except Cancelled:  # the new file is whole, and was about to be compared
        if control.stop is Stop.PAUSE:
            yield Paused("Paused before all was compared.", "It is made once more when it goes on.")
            return
        drop_reproduction(job)
        yield Failed("Cancelled. Nothing was kept.", cancelled=True)
    except SnugError as error:
        drop_reproduction(job)
        yield Failed(error.message, error.hint, exit_code=error.exit_code)


def drop_reproduction(job: ReproduceJob) -> None:
    """Removes what such a job has left of the new file."""
    if Path(job.place).name.startswith(_PLACE):  # whatever a spoiled job.json may say
        shutil.rmtree(job.place, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is not in a card: where things are on this machine. `place`: a folder of the caller's for the new file."""

    source: str
    imatrix: str
    target: str
    threads: int
    overwrite: bool
    place: str = ""


def _rebuild(
    card: RecipeCard,
    wanted: _Wanted,
    cancelled: Callable[[], bool],
    *,
    control: Control | None = None,
    resume: bool = False,
) -> Iterator[Event]:
    with _place(card, wanted) as target:
        job = job_of(card, wanted.source, wanted.imatrix, target)
        job = replace(job, threads=wanted.threads, overwrite=wanted.overwrite)
        check_target(expanded(target), 0, sources=card.gguf.files if card.gguf else (), overwrite=wanted.overwrite)
        plan = plan_job(job)
        reasons = list(differences(card, plan, job))
        yield from (Note(reason) for reason in reasons)
        made: dict[str, Any] = {}
        running = run(job, control=control, resume=resume) if control else run(job, cancelled=cancelled)
        with closing(running) as events:  # no file of it is open when it is compared and removed
            for event in events:
                if isinstance(event, Failed | Paused):
                    yield event
                    return
                if isinstance(event, Done):
                    made = event.result
                    break
                yield event
        new = read_split(Path(made["target"]))  # its card may know more of the source by now
        reasons += _source_differences(card.source, source_in(new.metadata), plan.model)
        after = yield from _hash_all(new, cancelled)
        before = (yield from _hash_all(card.gguf, cancelled)) if card.gguf else _Hashes(_tensors_of(card))
        result = _compared(card, new, before, after) | {"reasons": list(dict.fromkeys(reasons)), "recipe": card.recipe}
        yield Done(result | {"source": job.source, "target": made["target"] if wanted.target else ""})


@contextmanager
def _place(card: RecipeCard, wanted: _Wanted) -> Iterator[str]:
    """Where the new file goes: where it is wanted, else for a while beside the card, where the first one had room."""
    if wanted.target:
        yield wanted.target
    elif wanted.place:
        with in_words(Path(wanted.place)):
            Path(wanted.place).mkdir(exist_ok=True)
        yield str(Path(wanted.place) / card.name)
    else:
        folder = _writable(card.path.absolute().parent)
        with tempfile.TemporaryDirectory(prefix=_PLACE, dir=folder, ignore_cleanup_errors=True) as place:
            yield str(Path(place) / card.name)


def _writable(folder: Path) -> Path | None:
    return folder if os.access(folder, os.W_OK) else None


def job_of(card: RecipeCard, source: str, imatrix: str, target: str) -> QuantizeJob:
    """The job that makes the file again. Raises SnugError when the card does not say where something is."""
    if card.imatrix_sha256 and not imatrix:
        beside = card.path.with_name(Path(card.imatrix).name) if card.imatrix else card.path
        if not card.imatrix or not beside.is_file():
            raise SnugError(
                f"{card.name} was made with the importance matrix {card.imatrix}, which is not beside the card.",
                "Name it: --imatrix FILE.",
            )
        imatrix = str(beside)
    return QuantizeJob(
        source=source or _on_the_hub(card),
        recipe=card.recipe,
        target=target,
        pure=card.pure,
        effort=card.effort,
        imatrix=imatrix if card.imatrix_sha256 else "",
        allow_requantize=True,
        split_max_size=card.split_max_size,
        hash_source=card.source.is_whole and bool(source),
    )


def _on_the_hub(card: RecipeCard) -> str:
    names = [file.name for file in card.source.files]
    if not card.source.repo:
        told = ", ".join(names[:2]) + (f" and {len(names) - 2} more files" if len(names) > 2 else "")
        raise SnugError(
            f"{card.name} was made of a model on somebody's disk ({told}); its card names no repository.",
            "Name the model: --source FOLDER, or --source hub:ORG/NAME.",
        )
    choice = f":{names[0]}" if names and names[0].endswith(".gguf") else ""
    return f"hub:{card.source.repo}@{card.source.commit}{choice}"


def differences(card: RecipeCard, plan: Plan, job: QuantizeJob) -> Iterator[str]:
    """What is other than when the file was made, as far as the card tells: reasons for other bytes."""
    if card.version != snug_version():
        yield f"It was made by Snug {card.version}; this is {snug_version()}."
    if card.kernels != kernels.version():
        yield "It was made with other sources of the kernels than these."
    yield from _source_differences(card.source, source_in(plan.metadata), plan.model)
    if card.imatrix_sha256 and file_hash(job.imatrix) != card.imatrix_sha256:
        yield f"{Path(job.imatrix).name} is not the importance matrix that it was made with."


def _source_differences(before: CardSource, now: CardSource, model: ModelInfo) -> Iterator[str]:
    if before.commit and now.commit and before.commit != now.commit:
        yield f"It was made of commit {before.commit[:12]}; this source is commit {now.commit[:12]}."
    hashes = [file.sha256 for file in now.files]
    if not before.is_whole and now.is_whole:
        hashes = list(header_hashes(model))
    comparable = before.is_whole == now.is_whole or not before.is_whole
    ours = {_last_name(file.name): (file.size, sha256) for file, sha256 in zip(now.files, hashes, strict=True)}
    if len(before.files) == len(now.files) == 1:  # a single file may have been renamed
        ours = {_last_name(before.files[0].name): next(iter(ours.values()))}
    for file in before.files:
        size, sha256 = ours.get(_last_name(file.name), (-1, ""))
        if size != file.size or (comparable and sha256 != file.sha256):
            yield f"The source's {file.name} is not the one that it was made of."


def _last_name(name: str) -> str:
    """Of a name in a repository: a copy elsewhere need not be in the same folder."""
    return name.rpartition("/")[2]


@dataclass(frozen=True)
class _Hashes:
    """Every tensor by its name, and the SHA-256 of the whole file where there is one file."""

    tensors: Mapping[str, _Tensor]
    file: str = ""


def _tensors_of(card: RecipeCard) -> dict[str, _Tensor]:
    return {tensor.name: (tensor.format, tensor.shape, tensor.sha256) for tensor in card.tensors}


def _hash_all(found: SplitGguf, cancelled: Callable[[], bool]) -> Generator[Progress, None, _Hashes]:
    """Reads all of a GGUF once, for the hashes of its tensors and of itself."""
    tensors: dict[str, _Tensor] = {}
    reading, whole = _Reading(found, cancelled), ""
    for path in found.files:
        digest = hashlib.sha256()
        inside = sorted((t for t in found.tensors if t.file == path), key=lambda t: t.offset)
        for tensor, data in reading.pieces(path, inside):
            digest.update(data)
            if tensor is not None:
                reading.digests[tensor.name].update(data)
            if event := reading.due():
                yield event
        whole = digest.hexdigest()
    for info in found.tensors:
        tensors[info.name] = (info.dtype, info.shape, reading.digests[info.name].hexdigest())
    return _Hashes(tensors, whole if len(found.files) == 1 else "")


class _Reading:
    """The bytes of a GGUF in order, and how far they are read."""

    def __init__(self, found: SplitGguf, cancelled: Callable[[], bool]) -> None:
        self.cancelled = cancelled
        self.digests = {tensor.name: hashlib.sha256() for tensor in found.tensors}
        self.started = self.said = time.monotonic()
        self.total = sum(path.stat().st_size for path in found.files)
        self.done = self.begun = 0
        self.name = ""

    def pieces(self, path: Path, tensors: list[TensorInfo]) -> Iterator[tuple[TensorInfo | None, bytes]]:
        """Pieces of a file with the tensor that each is of; None for what is between. Raises JobFailed."""
        try:
            with path.open("rb") as file:
                at = 0
                for tensor in tensors:
                    yield from ((None, data) for data in self._read(file, tensor.offset - at))
                    self.name, self.begun = tensor.name, self.begun + 1
                    yield from ((tensor, data) for data in self._read(file, tensor.nbytes))
                    at = tensor.offset + tensor.nbytes
                yield from ((None, data) for data in self._read(file, None))
        except OSError as error:
            raise JobFailed(
                f"{path} cannot be read: {error.strerror or error}.", "Check the disk, then start again."
            ) from error

    def _read(self, file: Any, length: int | None) -> Iterator[bytes]:
        """So many bytes, or all that are left."""
        while length is None or length > 0:
            if self.cancelled():
                raise Cancelled
            data = file.read(_CHUNK if length is None else min(_CHUNK, length))
            if not data:
                return
            self.done += len(data)
            length = None if length is None else length - len(data)
            yield data

    def due(self) -> Progress | None:
        now = time.monotonic()
        if now - self.said < _PROGRESS_SECONDS:
            return None
        self.said, elapsed = now, now - self.started
        rate = self.done / elapsed
        eta = (self.total - self.done) / rate
        total = len(self.digests)
        return Progress("compare", self.name, self.begun - 1, total, self.done, self.total, rate, eta, elapsed)


def _compared(card: RecipeCard, new: SplitGguf, before: _Hashes, after: _Hashes) -> dict[str, Any]:
    names = dict.fromkeys([*before.tensors, *after.tensors])
    differing = [name for name in names if before.tensors.get(name) != after.tensors.get(name)]
    return {
        "card": str(card.path),
        "equal": not differing,
        "file_equal": not differing and _same_headers(card, new, before, after),
        "tensors": len(names),
        "differing": [_difference(name, before, after) for name in differing],
        "keys": _differing_keys(card.gguf, new) if card.gguf else [],
        "sha256": after.file,
        "sha256_before": before.file,
    }


def _difference(name: str, before: _Hashes, after: _Hashes) -> dict[str, Any]:
    """Of a tensor: its format then and now, "" where there was none."""
    was, now = before.tensors.get(name), after.tensors.get(name)
    return {"name": name, "format_before": was[0] if was else "", "format": now[0] if now else ""}


def _same_headers(card: RecipeCard, new: SplitGguf, before: _Hashes, after: _Hashes) -> bool | None:
    """Whether all but the tensors is the same too; None where a file in parts was made again in one."""
    if card.headers:
        return card.headers == tuple(hashlib.sha256(_header(path)).hexdigest() for path in new.files)
    return before.file == after.file if before.file and after.file else None


def _header(path: Path) -> bytes:
    length = read_header(path).data_offset
    with path.open("rb") as file:
        return file.read(length)


def _differing_keys(old: SplitGguf, new: SplitGguf) -> list[str]:
    was, now = ({item.key: (item.type, item.value) for item in found.metadata} for found in (old, new))
    return [key for key in dict.fromkeys([*was, *now]) if key not in SPLIT_KEYS and was.get(key) != now.get(key)]
