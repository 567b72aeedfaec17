"""What a running job says. Each event is one JSON line between the worker and whoever listens."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. Bytes are those of the source; `rate` is bytes a second; `eta` seconds left or None.

    `share` is how much of the whole job's work is done, 0 to 1, whatever its stage; 0 where that is not known.
    """

    stage: str
    tensor: str
    tensors_done: int
    tensors_total: int
    bytes_done: int
    bytes_total: int
    rate: float
    eta: float | None
    elapsed: float
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth saying that is no error."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The job is complete; `result` is what it made, as plain JSON values."""

    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The job ended without a result; `cancelled`: because the user wished so. `exit_code` is the command line's.

    `resumable`: what was done is still there, and the job can go on with it. `result`: what it made all the same, as
    in Done; of a job of several targets some may be good.
    """

    message: str
    hint: str = ""
    cancelled: bool = False
    exit_code: int = 1
    details: str = ""
    resumable: bool = False
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paused:
    """The job stopped, and what is done stays, to go on with later. `message` says why and how much that is."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """A worker took the job up; `resume`: to go on with what an earlier one left. Only a job's folder says so."""

    resume: bool = False


Event = Progress | Note | Done | Failed | Paused | Begun
_KINDS: dict[str, type[Event]] = {kind.__name__.lower(): kind for kind in (Progress, Note, Done, Failed, Paused, Begun)}


def to_json(event: Event) -> dict[str, Any]:
    """A plain dictionary with the key `event`: progress, note, done, failed, paused or begun."""
    return {"event": type(event).__name__.lower(), **asdict(event)}


def from_json(data: dict[str, Any]) -> Event:
    """The event of such a dictionary; ValueError or TypeError when it is none."""
    values = dict(data)
    kind = _KINDS.get(str(values.pop("event", "")))
    if kind is None:
        raise ValueError(f"not an event: {data!r}")
    return checked(kind, values)


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "dict[str, Any]": (dict,),
    "tuple[tuple[str, str], ...]": (tuple,),
}


def checked(kind: type[T], values: dict[str, Any]) -> T:
    """A dataclass of plain values, as read from a file. ValueError or TypeError when a value is of another type."""
    made = kind(**values)
    for field_ in fields(made):  # type: ignore[arg-type]
        if not isinstance(getattr(made, field_.name), _TYPES[str(field_.type)]):
            raise ValueError(f"{field_.name} is no {field_.type}")
    return made
