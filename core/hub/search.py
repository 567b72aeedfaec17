"""Searching the Hub: filters in, rows of models out, page by page as they are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from core.errors import SnugError
from core.hub.connection import Hub, connect
from core.hub.names import is_repo_id, shown
from core.hub.web import get_json, origin

SEARCH_SORTS = {"trending": "trendingScore", "downloads": "downloads", "likes": "likes", "recent": "lastModified"}
PAGE_ROWS = 30
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_EXPAND = (
    "author", "downloads", "gated", "gguf", "lastModified", "library_name", "likes", "pipeline_tag", "private",
    "safetensors", "sha", "tags",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filters:
    """What to look for; a field left at its default does not filter. Sizes count parameters."""

    text: str = ""
    author: str = ""
    task: str = ""
    library: str = ""
    licence: str = ""
    gated: bool | None = None
    has_gguf: bool = False
    smallest: int = 0
    largest: int = 0
    base_model: str = ""


@dataclass(frozen=True, slots=True)
class Repo:
    """One row of a search. `updated` is an ISO 8601 time; `parameters` is 0 and texts are "" where the Hub is silent.

    `gated`: "" for all, "auto" for who accepts terms, "manual" for whom the authors let in. `commit` is the newest.
    """

    id: str
    author: str
    task: str
    library: str
    downloads: int
    likes: int
    updated: str
    licence: str
    gated: str
    private: bool
    has_gguf: bool
    has_safetensors: bool
    parameters: int
    base_model: str
    commit: str


def search_models(
    filters: Filters, *, sort: str = "trending", limit: int = 0, hub: Hub | None = None
) -> Iterator[Repo]:
    """Rows in the order of `sort`, one of SEARCH_SORTS; a page is fetched when its first row is wanted. 0: no limit.

    Raises SnugError for an unknown sort, and while rows are taken when the Hub cannot be asked.
    """
    if sort not in SEARCH_SORTS:
        raise SnugError(f"There is no order {shown(sort)}.", f"Orders: {', '.join(SEARCH_SORTS)}.")
    hub = hub or connect()
    rows = _rows(hub, f"{hub.endpoint}/api/models?{urlencode(_query(filters, sort, limit))}")
    return (row for row, _ in zip(rows, range(limit), strict=False)) if limit else rows


def gguf_repos_of(id: str, *, limit: int = 30, hub: Hub | None = None) -> list[Repo]:
    """Repositories with GGUF files made of the model `id`, the most downloaded first."""
    return list(search_models(Filters(base_model=id, has_gguf=True), sort="downloads", limit=limit, hub=hub))


def _query(filters: Filters, sort: str, limit: int) -> list[tuple[str, str]]:
    tags = [
        filters.library,
        f"license:{filters.licence.lower()}" if filters.licence else "",
        "gguf" if filters.has_gguf and filters.library != "gguf" else "",
        f"base_model:quantized:{filters.base_model}" if filters.base_model else "",
    ]
    span = [f"{name}:{count}" for name, count in (("min", filters.smallest), ("max", filters.largest)) if count]
    values = {
        "search": filters.text.strip(),
        "author": filters.author,
        "pipeline_tag": filters.task,
        "gated": "" if filters.gated is None else str(filters.gated).lower(),
        "num_parameters": ",".join(span),
        "sort": SEARCH_SORTS[sort],
        "limit": str(min(limit, PAGE_ROWS) if limit else PAGE_ROWS),
    }
    pairs = [("filter", tag) for tag in tags if tag] + [(name, value) for name, value in values.items() if value]
    return pairs + [("expand", name) for name in _EXPAND]


def _rows(hub: Hub, url: str) -> Iterator[Repo]:
    seen: set[str] = set()
    while url and url not in seen:
        seen.add(url)
        page, headers = get_json(hub, url, what="the search")
        for values in page if isinstance(page, list) else []:
            if (row := row_of(values)) is not None:
                yield row
        url = _next_page(hub, headers)


def _next_page(hub: Hub, headers: Mapping[str, str]) -> str:
    """The address of the following page, "" after the last; never one of another server."""
    found = _NEXT.search(headers.get("link", ""))
    return found[1] if found and origin(found[1]) == origin(hub.endpoint) else ""


def row_of(values: Any) -> Repo | None:
    """The row of one of the Hub's answers; None for what is no model."""
    id = values.get("id") if isinstance(values, dict) else None
    if not isinstance(id, str) or not is_repo_id(id):
        return None
    tags = [tag for tag in _list(values.get("tags")) if isinstance(tag, str)]
    gated = values.get("gated")
    return Repo(
        id=id,
        author=_text(values.get("author")) or id.rpartition("/")[0],
        task=_text(values.get("pipeline_tag")),
        library=_text(values.get("library_name")),
        downloads=whole(values.get("downloads")),
        likes=whole(values.get("likes")),
        updated=_text(values.get("lastModified")),
        licence=_tagged(tags, "license:"),
        gated=gated if gated in ("auto", "manual") else "auto" if gated is True else "",
        private=values.get("private") is True,
        has_gguf="gguf" in tags or isinstance(values.get("gguf"), dict),
        has_safetensors="safetensors" in tags or isinstance(values.get("safetensors"), dict),
        parameters=_total(values.get("safetensors")) or _total(values.get("gguf")),
        base_model=_base_model(tags),
        commit=_text(values.get("sha")),
    )


def _base_model(tags: list[str]) -> str:
    """The model that this one was made from: the tag with a relation, base_model:quantized:ORG/NAME, says most."""
    found = [tag.rpartition(":")[2] for tag in tags if tag.startswith("base_model:")]
    return next((shown(name) for name in found if is_repo_id(name)), "")


def _tagged(tags: list[str], prefix: str) -> str:
    return next((shown(tag.removeprefix(prefix)) for tag in tags if tag.startswith(prefix)), "")


def _text(value: Any) -> str:
    return shown(value) if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def whole(value: Any) -> int:
    """A count that a stranger states; 0 for what is none."""
    return value if type(value) is int and 0 <= value < 1 << 62 else 0


def _total(values: Any) -> int:
    return whole(values.get("total")) if isinstance(values, dict) else 0
