"""Keeps Qt for Python 6.12 from ending the program under Python 3.11 and older."""

from __future__ import annotations

import ctypes
import sys

FAR_AWAY = 1 << (40 if sys.maxsize > 1 << 40 else 29)


def keep_none() -> None:
    """Makes None last for ever, as Python 3.12 does of itself.

    PySide6 6.12.0 counts on that: each call of a Qt method without a result takes one reference to None that was
    never given, and after some 4,000 of them an older Python aborts with "deallocating None".
    """
    if sys.version_info >= (3, 12):
        return
    references = ctypes.c_ssize_t.from_address(id(None))
    references.value = max(references.value, FAR_AWAY)
