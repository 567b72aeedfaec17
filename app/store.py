"""Reading back what was kept of the window: an ini file gives strings, one string for a list of one, or nothing."""

from __future__ import annotations

from PySide6.QtCore import QSettings


def stored_list(store: QSettings, key: str) -> list[str]:
    """The strings kept under `key`."""
    value = store.value(key)
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def stored_number(store: QSettings, key: str, default: int) -> int:
    """The number kept under `key`, or `default` when there is none."""
    value = str(store.value(key, default))
    return int(value) if value.lstrip("-").isdecimal() else default


def stored_widths(store: QSettings, key: str) -> list[int]:
    """The widths in pixels kept under `key`; empty when one of them makes no sense."""
    texts = stored_list(store, key)
    widths = [int(text) for text in texts if text.isdecimal() and len(text) < 5]
    return widths if len(widths) == len(texts) else []
