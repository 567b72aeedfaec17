"""What came of making a file again, in words: for the window and for the command line."""

from __future__ import annotations

from typing import Any

from app import words


def verdict_of(found: dict[str, Any]) -> str:
    """Whether it is the same, in a sentence."""
    count = words.count(found["tensors"], "tensor")
    if not found["equal"]:
        return f"Not the same: {len(found['differing'])} of {count} differ."
    if found["file_equal"]:
        return f"The same file, byte for byte: {count} and the header."
    if found["file_equal"] is None:
        return f"The same tensors, byte for byte: {count}. The headers cannot be compared."
    return f"The same tensors, byte for byte: {count}. The header is another one."


def difference_of(entry: dict[str, Any]) -> str:
    """A tensor that differs, with its format then and now."""
    was, now = entry["format_before"], entry["format"]
    if was and now:
        formats = now if was == now else f"{was} before, {now} now"
    else:
        formats = "not there before" if now else "not there now"
    return f"{entry['name']} ({formats})"


def reasons_of(found: dict[str, Any]) -> list[str]:
    """Why tensors differ, as far as the card tells."""
    if found["differing"] and not found["reasons"]:
        return ["The card gives no reason: source, recipe and Snug are the same, as far as it tells."]
    return list(found["reasons"])
