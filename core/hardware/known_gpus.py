"""The table of GPUs in resources/data/gpus.json, and the finding of one by any of the names it goes by."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "resources/data/gpus.json"

# Words that say nothing about which card it is.
_NOISE = {
    *("nvidia", "geforce", "tesla", "quadro", "amd", "ati", "radeon", "instinct", "intel", "apple", "graphics", "gpu"),
    *("rtx", "gtx", "rx", "arc", "generation", "edition", "workstation", "server", "data", "center", "tm", "r"),
    *("with", "design", "jetson", "the", "max", "q", "hbm3", "hbm2", "hbm2e", "hbm3e"),
}
# Words of which one more or one less makes another card.
_TELLING = {
    *("ti", "super", "xt", "xtx", "gre", "laptop", "mobile", "d", "sff"),
    *("pro", "ultra", "max", "ada", "nvl", "pcie"),
}
_SIZE = re.compile(r"\b(\d+)\s*gi?b?\b", re.IGNORECASE)
_SPLIT = re.compile(r"(?<=\d)(?=(?:ti|super|xtx|xt|gre|laptop)\b)", re.IGNORECASE)
_JOINED = re.compile(r"\b(rtx|gtx|rx|arc)(?=[ab]?\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KnownGpu:
    """A row of the table: `memory` in bytes (0: it shares the RAM), `bandwidth` in bytes/s (0: that of the RAM)."""

    name: str
    vendor: str
    memory: int
    bandwidth: int
    formats: tuple[str, ...]
    unified: bool
    aliases: tuple[str, ...]
    pci: tuple[str, ...]
    sources: tuple[str, ...]


@cache
def known_gpus() -> tuple[KnownGpu, ...]:
    """Every row of the table, in its order."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    return tuple(_row(row, table["sources"]) for row in table["gpus"])


def find_gpu(name: str, *, memory: int = 0) -> KnownGpu | None:
    """The card called `name`, by any spelling; of two with one name that whose memory is nearest, else the first.

    `memory` in bytes; 0 leaves it to a size in the name, as in "RTX 3060 8GB".
    """
    wanted = _words(name)
    if not wanted:
        return None
    size = memory or _size(name)
    exact = [gpu for gpu, words in _names() if words == wanted]
    found = exact or _contained(wanted)
    if not found:
        return None
    return min(found, key=lambda gpu: abs(gpu.memory - size)) if size else found[0]


def gpu_of_pci(device: str, revision: str = "") -> KnownGpu | None:
    """The card with this PCI device (and revision, both like 0x744c); None where several share the number."""
    number, letter = device.removeprefix("0x").lower(), revision.removeprefix("0x").lower()
    rows = [gpu for gpu in known_gpus() if {number, f"{number}:{letter}"} & {*gpu.pci}]
    return rows[0] if len(rows) == 1 else None


def similar_names(name: str, *, count: int = 3) -> list[str]:
    """Names in the table that look like `name`, for a hint."""
    names = {gpu.name.lower(): gpu.name for gpu in known_gpus()}
    short = {gpu.name.split(" ", 1)[-1].lower(): gpu.name for gpu in known_gpus()}
    close = difflib.get_close_matches(name.lower(), [*names, *short], n=2 * count, cutoff=0.5)
    return list(dict.fromkeys({**short, **names}[word] for word in close))[:count]


def _row(row: dict[str, object], sources: dict[str, str]) -> KnownGpu:
    def texts(key: str) -> tuple[str, ...]:
        value = row.get(key, ())
        return tuple(str(text) for text in value) if isinstance(value, Iterable) else ()

    return KnownGpu(
        name=str(row["name"]),
        vendor=str(row["vendor"]),
        memory=int(str(row["memory_mib"])) * 1024**2,
        bandwidth=round(float(str(row["bandwidth_gbs"])) * 1e9),
        formats=texts("formats"),
        unified=bool(row.get("unified")),
        aliases=texts("aliases"),
        pci=texts("pci"),
        sources=tuple(sources[key] for key in texts("sources")),
    )


@cache
def _names() -> tuple[tuple[KnownGpu, frozenset[str]], ...]:
    return tuple((gpu, _words(name)) for gpu in known_gpus() for name in (gpu.name, *gpu.aliases))


def _contained(wanted: frozenset[str]) -> list[KnownGpu]:
    """Cards all of whose words are in `wanted`, if what is left over makes no other card of it."""
    inside = [(words, gpu) for gpu, words in _names() if words and words < wanted and not (wanted - words) & _TELLING]
    longest = max((len(words) for words, _ in inside), default=0)
    best = [gpu for words, gpu in inside if len(words) == longest]
    return best if len({gpu.name.split(" ")[0] for gpu in best}) <= 1 else []


def _words(name: str) -> frozenset[str]:
    text = _SIZE.sub(" ", name.lower())
    text = _JOINED.sub(r"\1 ", text.replace("max-q", " ").replace("(r)", " ").replace("(tm)", " "))
    words = re.findall(r"[a-z0-9]+", _SPLIT.sub(" ", text))
    chip = _chip(words)
    return chip or frozenset(words) - _NOISE or frozenset(words)


def _chip(words: list[str]) -> frozenset[str]:
    """Apple's chips have words that are noise or numbers elsewhere: M1, M1 Max."""
    if not words or not (chip := next((word for word in words if re.fullmatch(r"m[1-9]", word)), "")):
        return frozenset()
    return frozenset({chip, *({*words} & {"pro", "max", "ultra"})})


def _size(name: str) -> int:
    match = _SIZE.search(name)
    return int(match.group(1)) * 1024**3 if match else 0
