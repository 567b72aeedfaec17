"""`snug check` for people: one screen about a model."""

from __future__ import annotations

import core
from app import report, words


def check(found: core.Check) -> None:
    table = report.facts()
    for name, value in _rows(found):
        table.add_row(name, value)
    report.out().print(table)


def _rows(found: core.Check) -> list[tuple[str, str]]:
    rows = [
        ("Model", found.name),
        ("Family", f"{found.family} (GGUF architecture {found.architecture})"),
        ("Parameters", _parameters(found)),
        ("Layers", f"{found.layers:,}"),
        ("Context", words.tokens(found.context) if found.context else "not said"),
        ("Vocabulary", f"{found.vocabulary:,} tokens" if found.vocabulary else "none"),
        ("Tokenizer", found.tokenizer),
        ("Stored as", f"{found.dtype}, {words.size(found.source_bytes)}"),
        ("Licence", found.licence or "not said in the files"),
        ("Converted", f"{found.tensors:,} tensors"),
    ]
    rows += [("Left out", _left_out(item)) for item in found.left_out]
    return rows + [("Note", note) for note in found.notes]


def _parameters(found: core.Check) -> str:
    total = words.parameters(found.parameters)
    if found.active_parameters == found.parameters:
        return total
    return f"{total}, of which a token meets {words.parameters(found.active_parameters)} ({found.experts} experts)"


def _left_out(item: core.LeftOut) -> str:
    tensors = f"{item.first} and {item.tensors - 1:,} more" if item.tensors > 1 else item.first
    return f"{tensors}: {item.reason}"
