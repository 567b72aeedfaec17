"""`snug doctor`: the report of core.doctor as text for people, or as JSON."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from app import report, words

_BYTES = {"total", "available", "installed", "free", "used_by_others", "shared", "reserved", "bytes"}
_BYTES |= {"held by the largest programs"}
_RATES = {"bandwidth", "read", "write"}


def show(found: dict[str, Any]) -> None:
    """One heading a section, one line a figure: value, source, confidence."""
    for section, content in found.items():
        entries = content if isinstance(content, list) and content and isinstance(content[0], dict) else [content]
        for number, entry in enumerate(entries):
            title = f"{section} {number + 1}" if len(entries) > 1 else section
            _show_section(title.capitalize(), entry)


def _show_section(title: str, content: Any) -> None:
    console = report.out()
    console.print(Text(title, "bold"))
    if not isinstance(content, dict):
        for line in content or ["nothing"]:
            console.print(f"  {line}", soft_wrap=True)
        return
    table = report.facts()
    for name, value in content.items():
        table.add_row(f"  {name.replace('_', ' ')}", _line(name, value))
    console.print(table)


def _line(name: str, value: Any) -> str:
    if isinstance(value, dict) and "value" in value:
        told = f"{value['source']}, {value['confidence']}" if value["confidence"] else value["source"]
        return f"{_plain(name, value['value'])}{f'  [{told}]' if told else ''}"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(key, item)}" for key, item in value.items())
    return _plain(name, value)


def _plain(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value) or "none"
    if name in _RATES:
        return words.rate(value) if value else "unknown"
    if name in _BYTES:
        return f"{words.size(value)} ({value:,})"
    return str(value) or "none"
