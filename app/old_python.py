"""Keeps Qt for Python 6.12 from ending the program under Python 3.11 and older."""

from __future__ import annotations

import ctypes
import sys

FAR_AWAY = 1 << (40 if sys.maxsize > 1 << 40 else 29)


def keep_constants() -> None:
    """Makes None, True and False last for ever, as Python 3.12 does of itself.

    PySide6 6.12.0 counts on that: a call of a Qt method that gives one of them takes a reference that was never given,
    and after some 4,000 calls an older Python aborts with "deallocating None".
    """
    if sys.version_info >= (3, 12):
        return
    for constant in (None, True, False, NotImplemented, Ellipsis):
        references = ctypes.c_ssize_t.from_address(id(constant))
        references.value = max(references.value, FAR_AWAY)
