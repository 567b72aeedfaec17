"""Whether a job can go on with what an interrupted run left, and what to say of that."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from core.errors import SnugError
from core.jobs.job import QuantizeJob
from core.running.checksum import checksum
from core.running.fingerprint import changed_file, job_hash, source_marks
from core.running.journal import Found, Head, Journal, leftovers, peek
from core.running.output import in_words, part_path
from core.running.split import SplitFile
from core.running.unfinished import Place, are_whole, is_of


def head_of(job: QuantizeJob, place: Place) -> Head:
    """The first line of the job's journal."""
    return Head(
        job_hash(job, place.plan, place.parts),
        source_marks(place.plan),
        [part.path.name for part in place.parts],
        len(place.plan.tensors),
        sum(tensor.nbytes for tensor in place.plan.tensors),
    )


def made_of(place: Place, head: Head) -> dict[str, Any]:
    """What is known of one of several targets that has its name, where others of its job have not; {} of any other."""
    found = peek(place.target)
    return found.made if is_of(found, head) and _are_there(place) else {}


def end_of(places: Sequence[Place], heads: Sequence[Head]) -> dict[str, Any]:
    """What the whole job has come to, where only the removal of its journals was left; {} of any other."""
    found = [peek(place.target) for place in places]
    ends = [each.result for each, head in zip(found, heads, strict=True) if each.result and is_of(each, head)]
    return ends[0] if ends and all(_are_there(place) for place in places) else {}


def _are_there(place: Place) -> bool:
    """Whether its parts have their names, in full length."""
    return all(part.path.is_file() and part.path.stat().st_size == part.file_bytes for part in place.parts)


def forget(place: Place) -> None:
    """Removes what is left of the journal of a file that has its name."""
    journal = Journal(place.target)
    with suppress(OSError, SnugError):
        if journal.path.is_file():
            journal.open()
            if journal.found.is_naming:
                journal.remove()
    journal.close()


def compared(place: Place, head: Head, *, resume: bool) -> Iterator[str]:
    """What to say of that which an earlier run left. Raises SnugError when its source has changed since."""
    found = peek(place.target)
    before = found.head
    if before is None or not found.written:
        if resume and (place.overwrite or not place.target.exists()):  # else it is refused, and does not start
            yield "Nothing was left to go on with: the job starts afresh."
        return
    if not resume:
        yield "What an interrupted run left is replaced; --resume would have gone on with it."
        return
    name = changed_file(before.source, head.source)
    if name and [mark.get("name") for mark in before.source] == [mark["name"] for mark in head.source]:
        raise SnugError(f"{name} has changed since the job was interrupted, so the two halves would not fit.",
                        _choice(before))  # fmt: skip
    if not is_of(found, head):
        yield "What was left is of another job, or of another version of Snug: the job starts afresh."
    elif not are_whole(place.parts) and not found.is_naming:
        yield "The unfinished file is not as it was left: the job starts afresh."
    elif left := leftovers(place.target):
        share = left.bytes_done / max(1, left.bytes_total)
        yield (
            f"Going on with what an earlier run left: {left.tensors_done} of {left.tensors_total} tensors, {share:.0%}."
        )


def _choice(before: Head) -> str:
    commit = next((str(mark["commit"]) for mark in before.source if mark.get("commit")), "")
    again = "start afresh, without --resume"
    return f"Name the commit (@{commit}) to go on, or {again}." if commit else f"Put it back as it was, or {again}."


def restore_names(place: Place, head: Head) -> None:
    """Takes from parts that got their final names, before a crash in between, those names again.

    Nothing else is touched: only what has the bytes that the journal tells.
    """
    journal = Journal(place.target)
    if not journal.path.is_file():
        return
    try:
        with in_words(place.target):
            journal.open()
            if journal.found.is_naming and is_of(journal.found, head):
                _restore(place, journal.found)
    finally:
        journal.close()


def _restore(place: Place, found: Found) -> None:
    file = SplitFile(place.plan, place.parts, overwrite=False)
    for number, part in enumerate(place.parts):
        unfinished = part_path(part.path)
        if not part.path.is_file():
            continue
        if unfinished.is_file():
            if unfinished.samefile(part.path):  # it has both names
                part.path.unlink()
        elif _is_complete(file, number, found):
            os.rename(part.path, unfinished)


def _is_complete(file: SplitFile, number: int, found: Found) -> bool:
    """Whether the file under the final name of a part holds all its tensors as the journal tells."""
    part = file.parts[number]
    names, rows = {tensor.name for tensor in part.tensors}, 0
    if part.path.stat().st_size != part.file_bytes:
        return False
    with part.path.open("rb") as stored:
        for written in found.written.values():
            if written.tensor in names:
                stored.seek(file.locate(written.offset)[1])
                rows += written.count
                if checksum(stored.read(written.length)) != written.checksum:
                    return False
    return rows == sum(tensor.tensor.rows for tensor in part.tensors)
