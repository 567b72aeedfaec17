"""What `snug quantize --dry-run` prints: what the job would take, and whether it can work."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import core
from app import report, words

_NAMES = {"disk": "Disk", "temporary": "Disk", "memory": "Memory", "vram": "GPU"}


def show(found: core.Preflight) -> None:
    table = report.facts()
    files = f" in {words.count(found.files, 'part')}" if found.files > 1 else ""
    table.add_row("File", f"{words.exact(found.file_bytes)} ({words.size(found.file_bytes)}){files}")
    for need in found.needs:
        where = "" if need.kind == "memory" else f" in {need.place}" if need.kind != "vram" else f" on {need.place}"
        items = " + ".join(f"{item.name} {words.size(item.nbytes)}" for item in need.items if item.nbytes)
        figures = f"{words.size(need.needed)} of {words.size(need.available)} free{where}"
        table.add_row(_NAMES[need.kind], f"{figures}: {items}")
    table.add_row("Time", f"{found.time.words}, by {found.time.source}")
    for text in found.warnings:
        table.add_row("Warning", text)
    for text in found.problems:
        table.add_row("Problem", text)
    for other in found.alternatives:
        table.add_row("Instead", other.words)
    report.out().print(table)
    report.out().print("Nothing was written." if found.ok else "This cannot work. Nothing was written.")


def values(found: core.Preflight) -> dict[str, Any]:
    """The same for programs: each alternative with the whole job that it would be."""
    needs = [asdict(need) | {"needed": need.needed, "missing": need.missing} for need in found.needs]
    return asdict(found) | {"ok": found.ok, "needs": needs}
