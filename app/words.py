"""Numbers and errors for people: sizes, times, rates, and what went wrong."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from pathlib import Path

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, what to do about it, and what a bug report would need."""

    message: str
    hint: str = ""
    details: str = ""


def size(count: float) -> str:
    """Bytes with one decimal: 4.9 GB."""
    for unit, scale in _UNITS:
        if count >= scale * 0.99995:
            return f"{count / scale:.1f} {unit}"
    return f"{int(count)} B"


def exact(count: int) -> str:
    """Every byte counted: 4,920,734,912 bytes."""
    return f"{count:,} byte" + ("" if count == 1 else "s")


def rate(bytes_per_second: float) -> str:
    return f"{size(bytes_per_second)}/s"


def count(number: int, thing: str, things: str = "") -> str:
    """1 tensor, 2 tensors."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def parameters(number: int) -> str:
    """8.0 billion, 1.4 million."""
    for word, scale in (("trillion", 10**12), ("billion", 10**9), ("million", 10**6)):
        if number >= scale:
            return f"{number / scale:.1f} {word}"
    return f"{number:,}"


def tokens(number: int) -> str:
    """A context length: 4,096 tokens."""
    return f"{number:,} tokens"


def short_tokens(number: int) -> str:
    """A context length where room is short, in the thousands that models count by: 131,072 is 128K."""
    return f"{number // 1024}K" if number % 1024 == 0 else f"{number:,}"


def about(seconds: float | None) -> str:
    """A time still to come: about 3 min. Empty when it is not known."""
    if seconds is None:
        return ""
    if seconds < 1:
        return "less than a second"
    return f"about {span(seconds)}"


def span(seconds: float) -> str:
    """A time that has passed: 0.4 s, 12 s, 3 min, 1 h 20 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def moment(epoch: float | None) -> str:
    """When it was: 14:05 today, else 2026-03-01 14:05."""
    if epoch is None:
        return ""
    then, today = time.localtime(epoch), time.localtime()
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def path(value: str | Path) -> str:
    """A path with the home folder as ~."""
    text, home = str(value), str(Path.home())
    return "~" + text[len(home) :] if text == home or text.startswith(home + "/") else text


def problem(error: BaseException) -> Problem:
    """An error in words: the user's to put right, the system's, or a bug of ours that says so."""
    from core import SnugError

    if isinstance(error, SnugError):
        return Problem(error.message, error.hint)
    if isinstance(error, MemoryError):
        return Problem("The computer ran out of memory.", "Close other programs, then try again.")
    details = "".join(traceback.format_exception(error))
    if isinstance(error, OSError):
        return Problem(f"The system refused: {error.strerror or error}.", str(error.filename or ""), details)
    return Problem(
        f"This is a bug in Snug: {type(error).__name__}: {error}",
        "Please report it with the details from the terminal.",
        details,
    )
