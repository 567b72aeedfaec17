"""The tables of the page Find: models found, well-known models, files, GGUF files of others, levels with verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app import words
from app.tables.row_model import Column

_ORDER = ("fits", "tight", "splits", "no", "unsupported", "")
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HubRow:
    """A model in a list. `glance` is None until it is known; `note` is what a well-known one is good at."""

    id: str
    parameters: int = 0
    active_parameters: int = 0
    downloads: int = 0
    likes: int = 0
    updated: str = ""
    licence: str = ""
    gated: str = ""
    private: bool = False
    has_gguf: bool = False
    commit: str = ""
    note: str = ""
    glance: Values | None = None
    trouble: str = ""

    @property
    def source(self) -> str:
        """What to ask a verdict of: the commit where it is known, so that what is kept can answer."""
        return f"{self.id}@{self.commit}" if self.commit else self.id

    @property
    def verdict(self) -> str:
        """A key of CHIPS, "" while it is not known."""
        if self.glance is None:
            return ""
        return str(self.glance["verdict"]) if self.glance["supported"] else "unsupported"


def row_from(values: Values) -> HubRow:
    """The row of an answer to a search."""
    names = HubRow.__dataclass_fields__
    return HubRow(**{name: value for name, value in values.items() if name in names})


def amount(number: int) -> str:
    """8.0B, 494M; "" for 0."""
    for unit, scale in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= scale * 0.9995:
            return f"{number / scale:.1f}{unit}" if number < 99.95 * scale else f"{number / scale:.0f}{unit}"
    return str(number) if number else ""


def parameters_of(row: HubRow) -> tuple[int, int]:
    """(all, those one token meets), from the headers where they are known. The second is 0 where it is the same."""
    found = row.glance or {}
    total = found.get("parameters") or row.parameters
    active = found.get("active_parameters") or row.active_parameters
    return total, active if 0 < active < 0.9 * total else 0


def parameters_in_short(row: HubRow) -> str:
    total, active = parameters_of(row)
    return f"{amount(total)}, {amount(active)} active" if active else amount(total)


def parameters_in_words(row: HubRow) -> str:
    total, active = parameters_of(row)
    if not total:
        return "The Hub does not say how many parameters it has."
    return f"{total:,} parameters" + (f", of which a token meets {active:,}" if active else "")


def best_in_short(row: HubRow) -> str:
    if row.trouble:
        return "not known"
    if row.glance is None:
        return "…"
    return f"{row.glance['level']}, {words.size(row.glance['file_bytes'])}" if row.glance["supported"] else "–"


def best_in_words(row: HubRow) -> str:
    if row.trouble or row.glance is None:
        return row.trouble or "Not looked at yet"
    if not row.glance["supported"]:
        return str(row.glance["reason"])
    if row.verdict == "no":
        return f"Even {row.glance['level']} does not fit: {row.glance['reason']}"
    return f"{row.glance['level']}, {words.size(row.glance['file_bytes'])}: {row.glance['reason']}"


def marks_of(row: HubRow) -> str:
    return "Private" if row.private else "Gated" if row.gated else ""


def _support(row: HubRow) -> str:
    return "" if row.glance is None else "Yes" if row.glance["supported"] else "Not yet"


_NAME: Column[HubRow] = Column(
    "Model",
    lambda row: row.id,
    248,
    tooltip=lambda row: f"{row.id}\n{parameters_in_words(row)}",
    spoken=lambda row: f"{row.id}, {marks_of(row).lower()}" if marks_of(row) else row.id,
    strong=lambda _: True,
    badge=marks_of,
    stretch=True,
)
_PARAMETERS: Column[HubRow] = Column(
    "Parameters",
    parameters_in_short,
    152,
    sort=lambda row: parameters_of(row)[0],
    tooltip=parameters_in_words,
    right=True,
)
_BEST: Column[HubRow] = Column("Best here", best_in_short, 136, tooltip=best_in_words, spoken=best_in_words)
_VERDICT: Column[HubRow] = Column(
    "Verdict",
    lambda row: row.verdict.capitalize(),
    96,
    sort=lambda row: _ORDER.index(row.verdict),
    tooltip=best_in_words,
    chip=lambda row: row.verdict,
)
_LICENCE: Column[HubRow] = Column("Licence", lambda row: row.licence, 96, tooltip=lambda row: row.licence)

FOUND_COLUMNS: tuple[Column[HubRow], ...] = (
    _NAME,
    _PARAMETERS,
    _BEST,
    _VERDICT,
    Column("Snug", _support, 64, tooltip=lambda row: f"Snug can convert it: {_support(row).lower() or 'looking'}"),
    Column(
        "Downloads",
        lambda row: amount(row.downloads) or "0",
        80,
        sort=lambda row: row.downloads,
        tooltip=lambda row: f"{row.downloads:,} downloads in a month, {row.likes:,} likes",
        right=True,
    ),
    Column("Updated", lambda row: row.updated[:10], 104, tooltip=lambda row: row.updated),
    _LICENCE,
)
# What goes where there is not room for all.
SPARE = ("Licence", "Updated", "Snug")
SPARE_OF_KNOWN = ("Parameters",)

KNOWN_COLUMNS: tuple[Column[HubRow], ...] = (
    Column(
        "Model",
        lambda row: row.id.rpartition("/")[2],
        264,
        tooltip=lambda row: f"{row.id}\n{parameters_in_words(row)}",
        spoken=lambda row: f"{row.id}, {marks_of(row).lower()}" if marks_of(row) else row.id,
        strong=lambda _: True,
        badge=marks_of,
    ),
    _PARAMETERS,
    _BEST,
    _VERDICT,
    Column(
        "Good at", lambda row: row.note, 200, tooltip=lambda row: f"{row.note}\nLicence: {row.licence}", stretch=True
    ),
)

FILE_COLUMNS: tuple[Column[Values], ...] = (
    Column("File", lambda file: str(file["name"]), 320, tooltip=lambda file: str(file["name"]), stretch=True),
    Column(
        "Size",
        lambda file: words.size(file["size"]),
        96,
        sort=lambda file: file["size"],
        tooltip=lambda file: words.exact(file["size"]),
        right=True,
    ),
    Column("Will be downloaded", lambda file: "Yes" if file["wanted"] else "No, not needed", 144),
)
GGUF_COLUMNS: tuple[Column[Values], ...] = (
    Column("Quantization", lambda item: str(item["label"]), 128, strong=lambda _: True),
    Column(
        "Size",
        lambda item: words.size(item["size"]),
        88,
        sort=lambda item: item["size"],
        tooltip=lambda item: words.exact(item["size"]),
        right=True,
    ),
    Column("Repository", lambda item: str(item["repo"]), 240, tooltip=lambda item: str(item["name"]), stretch=True),
)
LEVEL_COLUMNS: tuple[Column[Values], ...] = (
    Column(
        "Quantization",
        lambda item: str(item["level"]),
        176,
        strong=lambda _: True,
        badge=lambda item: "Recommended" if item["recommended"] else "",
        spoken=lambda item: f"{item['level']}, recommended" if item["recommended"] else str(item["level"]),
    ),
    Column(
        "File size",
        lambda item: words.size(item["size"]),
        88,
        sort=lambda item: item["size"],
        tooltip=lambda item: words.exact(item["size"]),
        right=True,
    ),
    Column(
        "Memory",
        lambda item: words.size(item["memory"]),
        88,
        sort=lambda item: item["memory"],
        tooltip=lambda item: words.exact(item["memory"]),
        right=True,
    ),
    Column(
        "Verdict",
        lambda item: str(item["verdict"]).capitalize(),
        96,
        sort=lambda item: _ORDER.index(item["verdict"]),
        tooltip=lambda item: str(item["reason"]),
        chip=lambda item: str(item["verdict"]),
    ),
    Column("Why", lambda item: str(item["reason"]), 200, tooltip=lambda item: str(item["reason"]), stretch=True),
)
