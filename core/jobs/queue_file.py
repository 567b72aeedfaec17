"""What a window keeps of its queue between two starts: the order of the jobs, and whether they wait for a word."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class KeptQueue:
    """`order`: ids of open jobs; `waiting`: of those that are paused, which go on in their turn; `held`: nothing starts
    by itself, because the window was closed with all work paused."""

    order: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    held: bool = False


def read_queue(root: Path) -> KeptQueue:
    """What is kept under `root`; an empty queue where nothing is, or nothing that makes sense."""
    try:
        values = json.loads((root / "queue.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return KeptQueue()
    if not isinstance(values, dict):
        return KeptQueue()
    return KeptQueue(_names(values.get("order")), _names(values.get("waiting")), values.get("held") is True)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in value if isinstance(name, str))) if isinstance(value, list) else ()


def write_queue(root: Path, kept: KeptQueue) -> None:
    """Keeps it whole or not at all. Raises OSError."""
    part = root / f"queue.json.{os.getpid()}.part"
    part.write_text(json.dumps({"order": kept.order, "waiting": kept.waiting, "held": kept.held}), encoding="utf-8")
    os.replace(part, root / "queue.json")
