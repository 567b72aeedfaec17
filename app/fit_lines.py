"""The lines between the window and the process that judges models: values of both, as they are, one a line."""

from __future__ import annotations

import base64
import pickle
from typing import Any


def packed(*said: Any) -> bytes:
    """One line with `said`."""
    return base64.b64encode(pickle.dumps(said, pickle.HIGHEST_PROTOCOL)) + b"\n"


def unpacked(line: bytes) -> Any:
    """What `packed` was given. Only for lines of the other half of this program: a pickle can run code."""
    return pickle.loads(base64.b64decode(line))
