"""A model's card as a stranger wrote it, made into plain Markdown: nothing in it runs, nothing is fetched by itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MOST_CARD = 30_000
MOST_PICTURES = 24
_FRONT_MATTER = re.compile(r"\A---\s*\n.*?\n---\s*(?:\n|\Z)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,2000}>")
_IMAGE_TAG = re.compile(r"<img\b([^<>]{0,2000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(src|alt)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_IMAGE = re.compile(r"!\[([^\]]{0,300})\]\(\s*<?([^)\s>]{0,2000})>?[^)]{0,300}\)")
_MARK = re.compile(r"!\[([^\]]*)\]\(picture:(\d+)\)")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """`text` has a mark for each of `pictures`, which are files of the model; `elsewhere` counts those that are not."""

    text: str
    pictures: tuple[str, ...] = ()
    elsewhere: int = 0


def nothing(_: str) -> str:
    return ""


def read_model_card(text: str, own: Callable[[str], str] = nothing) -> ModelCard:
    """No front matter, no HTML, only so much of it. `own` gives the file of the model that an address means, or ""."""
    found: list[str] = []
    elsewhere = 0

    def mark(match: re.Match[str]) -> str:
        nonlocal elsewhere
        name = own(match[2]) if len(found) < MOST_PICTURES else ""
        if not name:
            elsewhere += bool(match[2])
            return _words(match[1])
        if name not in found:
            found.append(name)
        return f"![{match[1]}](picture:{found.index(name)})"

    text = _COMMENT.sub("", _FRONT_MATTER.sub("", text[: 4 * MOST_CARD]))
    text = _TAG.sub("", _IMAGE.sub(mark, _IMAGE_TAG.sub(_as_markdown, text)))
    text = re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n\n", text).strip()
    if len(text) > MOST_CARD:
        text = text[:MOST_CARD].rstrip() + "\n\n*The card goes on on its page.*"
    return ModelCard(text, tuple(found), elsewhere)


def _as_markdown(match: re.Match[str]) -> str:
    found = {name.lower(): double or single for name, double, single in _ATTRIBUTE.findall(match[1])}
    alt = re.sub(r"[\[\]\n]", " ", found.get("alt", "")).strip()[:300]
    return f"![{alt}]({found.get('src', '').strip()})"


def _words(alt: str) -> str:
    return f"[{alt}]" if alt else ""


def without_pictures(text: str, there: frozenset[int] = frozenset()) -> str:
    """The text with the marks of pictures that are not `there` as their words."""
    return _MARK.sub(lambda match: match[0] if int(match[2]) in there else _words(match[1]), text)
