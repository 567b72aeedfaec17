"""A report fit for a bug tracker: what Snug, the system and the machine are, and what could not be read.

Nobody should have to read it before it is sent: paths are told from the home folder on or not at all, and there are no
names of users, hosts or other programs, no serial numbers and no tokens in it.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from core.hardware import Disk, Gpu, Hardware, Sources, detect, measure, source_of, with_measured
from core.paths import cache_folder, data_folder

_PACKAGES = (
    *("PySide6-Essentials", "numpy", "numba", "llvmlite", "gguf", "nvidia-ml-py", "psutil", "sentencepiece", "rich"),
    *("typer", "huggingface_hub", "safetensors", "torch", "triton", "transformers", "xllamacpp"),
)
# Shown with their value; of the others that count, only whether they are set.
_SHOWN = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "QT_QPA_PLATFORM", "LANG")
_NAMED = (
    *("HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY"),
    *("XDG_DATA_HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "QT_SCALE_FACTOR", "WAYLAND_DISPLAY", "DISPLAY"),
)
_TOKEN = re.compile(r"\b(?:hf|api|sk|ghp|gho|github_pat)_[A-Za-z0-9_]{8,}")
_SERIAL = re.compile(r"\b(GPU|MIG)-[0-9a-f]{2,}[0-9a-f-]*", re.IGNORECASE)
_MOST_FILES = 20_000
_UNTOLD = {"sources", "holders", "id", "path"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with where it comes from and how sure it is; the last two are empty where that goes without saying."""

    value: Any
    source: str = ""
    confidence: str = ""


Report = dict[str, Any]


def examine() -> Report:
    """Everything, in about a second: sections of names and figures, in the order to be read. Raises nothing."""
    started = time.perf_counter()
    hardware = detect()
    looked = time.perf_counter() - started
    started = time.perf_counter()
    hardware = with_measured(hardware, measure(hardware, cache_folder()))
    measured = time.perf_counter() - started
    report: Report = {
        "snug": _versions(),
        "system": _system(hardware),
        "libraries": {name: _version(name) for name in _PACKAGES},
        **_machine(hardware),
        "caches": dict(_caches()),
        "kernels": _kernels(),
        "environment": dict(_environment(os.environ)),
        "unread": list(hardware.notes) + list(_unread(hardware)),
        "seconds": {"detection": round(looked, 3), "measurement": round(measured, 3)},
    }
    cleaned: Report = cleaned_of(report, home=Path.home(), user=_user())
    return cleaned


def cleaned_of(value: Any, *, home: Path, user: str) -> Any:
    """`value` with nothing in its texts that is the user's own business; keys stay."""
    if isinstance(value, str):
        return _clean(value, str(home), user)
    if isinstance(value, Mapping):
        return {key: cleaned_of(item, home=home, user=user) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned_of(item, home=home, user=user) for item in value]
    return value


def _clean(text: str, home: str, user: str) -> str:
    text = _SERIAL.sub(r"\1-...", _TOKEN.sub("<token>", text.replace(home, "~") if len(home) > 1 else text))
    # A short name is a part of too many words.
    return re.sub(rf"\b{re.escape(user)}\b", "<user>", text) if len(user) > 2 and user != "root" else text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _versions() -> dict[str, str]:
    return {"version": _version("snug"), "python": platform.python_version(), "kind": _kind()}


def _kind() -> str:
    return "packaged application" if getattr(sys, "frozen", False) else platform.python_implementation()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _system(hardware: Hardware) -> dict[str, str]:
    place = hardware.surroundings
    return {
        "name": place.system,
        "kernel": platform.release(),
        "machine": place.machine,
        "container": place.container or "none",
        "wsl": place.wsl or "no",
    }


def _machine(hardware: Hardware) -> Report:
    memory = _figures(hardware.memory, hardware.memory.sources)
    held = sum(holder.memory for holder in hardware.memory.holders)
    memory["held by the largest programs"] = asdict(Figure(held, f"{len(hardware.memory.holders)} names, not told"))
    return {
        "processor": _figures(hardware.cpu, hardware.cpu.sources),
        "memory": memory,
        "graphics": [_graphics(gpu) for gpu in hardware.gpus],
        "disks": [_disk(disk) for disk in hardware.disks],
    }


def _graphics(gpu: Gpu) -> Report:
    return {**_figures(gpu, gpu.sources), "programs on it": asdict(Figure(len(gpu.holders)))}


def _disk(disk: Disk) -> Report:
    return {"folder": asdict(Figure(_place(disk.path))), **_figures(disk, disk.sources)}


def _place(path: Path) -> str:
    """A folder by its place below the home folder; outside of it only that it is outside."""
    return str(path) if path.is_relative_to(Path.home()) else "outside the home folder"


def _figures(part: Any, sources: Sources) -> Report:
    return {f.name: _figure(part, f.name, sources) for f in fields(part) if f.name not in _UNTOLD}


def _figure(part: Any, name: str, sources: Sources) -> dict[str, Any]:
    source = source_of(sources, name)
    found = Figure(getattr(part, name), source.origin if source else "", source.confidence.value if source else "")
    return asdict(found)


def _unread(hardware: Hardware) -> Iterator[str]:
    """Figures that nothing gave, and why that may be."""
    if not hardware.cpu.instructions:
        yield "The processor's instruction sets: the system does not tell them."
    if not hardware.memory.bandwidth:
        yield "The bandwidth of the memory: too little of it is free to measure."
    for gpu in hardware.gpus:
        if not gpu.bandwidth:
            yield f"The bandwidth of {gpu.name}: neither the driver nor Snug's table has it."
    for disk in hardware.disks:
        if not disk.total:
            yield f"The disk of {_place(disk.path)}: the folder cannot be read."
        elif not disk.read:
            yield f"The speed of the disk of {_place(disk.path)}: it could not be read past the system's cache."


def _caches() -> Iterator[tuple[str, dict[str, Any]]]:
    table = (
        ("data", data_folder()),
        ("cache", cache_folder()),
        ("compiled kernels", Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "kernels")),
        ("Hugging Face", _hub_cache(os.environ)),
    )
    for name, folder in table:
        count, size, complete = _size_of(folder)
        yield name, {"folder": _place(folder), "files": count, "bytes": size, "complete": complete}


def _hub_cache(environ: Mapping[str, str]) -> Path:
    """Where Hugging Face's tools keep models: HF_HUB_CACHE, else hub in HF_HOME, else below ~/.cache."""
    home = Path(environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface")
    return Path(environ.get("HF_HUB_CACHE") or home / "hub")


def _size_of(folder: Path) -> tuple[int, int, bool]:
    """(files, bytes, whether all were counted). Links count nothing: what they name is counted where it is."""
    count = size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            count, size = count + 1, size + (0 if os.path.islink(os.path.join(place, name)) else status.st_size)
            if count >= _MOST_FILES:
                return count, size, False
    return count, size, True


def _kernels() -> dict[str, Any]:
    import kernels

    names = [name for name in kernels.FORMATS if kernels.encodable(name)]
    ready = [name for name in names if kernels.is_prepared([name], "uint16")]
    return {"for": "bf16 weights", "prepared": ready, "to be compiled": [name for name in names if name not in ready]}


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in (*_SHOWN, *_NAMED):
        if name in environ:
            yield name, environ[name] if name in _SHOWN else "set"
