"""`snug reproduce`: what it prints, and its exit code."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from app import report
from app.reproduction import difference_of, reasons_of, verdict_of

_MOST = 10


def show(found: dict[str, Any]) -> None:
    """A sentence first, then what differs and why that may be."""
    console = report.out()
    console.print(Text(verdict_of(found), "green" if found["equal"] else "bold red"), soft_wrap=True)
    for entry in found["differing"][:_MOST]:
        console.print(Text(f"  {difference_of(entry)}"), soft_wrap=True)
    if len(found["differing"]) > _MOST:
        console.print(f"  and {len(found['differing']) - _MOST} more")
    if found["keys"]:
        console.print(Text(f"Keys of the header that differ: {', '.join(found['keys'])}"), soft_wrap=True)
    for reason in reasons_of(found):
        console.print(Text(reason), soft_wrap=True)
    table = report.facts()
    for name, key in (("SHA-256", "sha256"), ("Before", "sha256_before"), ("File", "target")):
        if found[key]:
            table.add_row(name, Text(found[key]))
    console.print(table)


def exit_code(found: dict[str, Any]) -> int:
    return 0 if found["equal"] else 1
