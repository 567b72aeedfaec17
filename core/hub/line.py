"""How fast the line to the Hub is: a few seconds of a model's weights over several connections, thrown away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.errors import Cancelled, SnugError
from core.hub.choose import gguf_choices, no_weights
from core.hub.connection import Hub, connect
from core.hub.ranges import RangeReader
from core.hub.repo import RepoFile, RepoInfo

SECONDS = 3.0
MOST_BYTES = 64 << 20
CONNECTIONS = 4


def line_speed(info: RepoInfo, *, hub: Hub | None = None, cancelled: Callable[[], bool] = lambda: False) -> float:
    """Bytes a second of a download, measured in three seconds or 64 MiB. Raises SnugError when nothing comes."""
    file = _largest(info)
    share = min(file.size, MOST_BYTES) // CONNECTIONS
    began = time.monotonic()
    reader = RangeReader(hub or connect(), info, file, cancelled=lambda: cancelled() or _is_over(began))
    counts, errors = [0] * CONNECTIONS, list[SnugError]()

    def read(number: int) -> None:
        try:
            for piece in reader.stream(number * share, (number + 1) * share):
                counts[number] += len(piece)
        except Cancelled:
            pass
        except SnugError as error:
            errors.append(error)

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors and not any(counts):
        raise errors[0]
    return sum(counts) / max(time.monotonic() - began, 1e-3)


def _is_over(began: float) -> bool:
    return time.monotonic() - began > SECONDS


def _largest(info: RepoInfo) -> RepoFile:
    files = [file for file in info.files if file.name.endswith(".safetensors") and file.size]
    files += [file for choice in gguf_choices(info) for file in choice.files]
    if not files:
        raise no_weights(info)
    return max(files, key=lambda file: file.size)
