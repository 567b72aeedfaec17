"""`snug reproduce`: what it prints, and its exit code."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from app import report, words

_MOST = 10


def show(found: dict[str, Any]) -> None:
    """A sentence first, then what differs and why that may be."""
    console = report.out()
    console.print(Text(_verdict(found), "green" if found["equal"] else "bold red"), soft_wrap=True)
    for entry in found["differing"][:_MOST]:
        console.print(Text(f"  {entry['name']} ({_formats(entry)})"), soft_wrap=True)
    if len(found["differing"]) > _MOST:
        console.print(f"  and {len(found['differing']) - _MOST} more")
    if found["keys"]:
        console.print(Text(f"Keys of the header that differ: {', '.join(found['keys'])}"), soft_wrap=True)
    for reason in found["reasons"]:
        console.print(Text(reason), soft_wrap=True)
    if found["differing"] and not found["reasons"]:
        console.print("The card gives no reason: source, recipe and Snug are the same, as far as it tells.")
    table = report.facts()
    for name, key in (("SHA-256", "sha256"), ("Before", "sha256_before"), ("File", "target")):
        if found[key]:
            table.add_row(name, Text(found[key]))
    console.print(table)


def _verdict(found: dict[str, Any]) -> str:
    count = words.count(found["tensors"], "tensor")
    if not found["equal"]:
        return f"Not the same: {len(found['differing'])} of {count} differ."
    if found["file_equal"]:
        return f"The same file, byte for byte: {count} and the header."
    if found["file_equal"] is None:
        return f"The same tensors, byte for byte: {count}. The headers cannot be compared."
    return f"The same tensors, byte for byte: {count}. The header is another one."


def _formats(entry: dict[str, Any]) -> str:
    was, now = entry["format_before"], entry["format"]
    if was and now:
        return now if was == now else f"{was} before, {now} now"
    return "not there before" if now else "not there now"


def exit_code(found: dict[str, Any]) -> int:
    return 0 if found["equal"] else 1
