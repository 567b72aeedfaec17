"""Recorded machines as small fake trees: machines/*.json -> a System to be asked, and what Snug must say of it.

A record has `kind` (linux, darwin, win32), `files` below a root and `links` there, `cpuinfo` in short, `nvml` with its
cards, and the answers of the calls of macOS (`sysctl`, `metal`), of Windows (`adapters`, `memory_status`) and of
Intel's drivers (`driver_answers`, as bytes in base64).
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from core.hardware.calls_mac import MetalDevice
from core.hardware.calls_windows import Adapter, MemoryStatus
from core.hardware.drm import Region, xe_regions
from core.hardware.system import System
from tests.core.hardware.fake_nvml import Card, FakeNvml, NotSupported, NvmlError

MACHINES = sorted((Path(__file__).parent / "machines").glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def system_of(record: dict[str, Any], root: Path) -> System:
    """The System that answers as recorded, its files made below `root`."""
    files = dict(record.get("files", {}))
    if cpuinfo := record.get("cpuinfo"):
        files["proc/cpuinfo"] = _cpuinfo(cpuinfo)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, target in record.get("links", {}).items():
        _link(root / name, root, target)
    (root / "proc").mkdir(exist_ok=True)
    status = record.get("memory_status")
    answers = {name: base64.b64decode(text) for name, text in record.get("driver_answers", {}).items()}
    return System(
        root=root,
        kind=record["kind"],
        environ=record.get("environ", {}),
        nvml=_nvml(record["nvml"]),
        cores=record.get("cores", 0) or _cores(record),
        sysctl=lambda name: record.get("sysctl", {}).get(name, ""),
        metal=lambda: tuple(MetalDevice(**device) for device in record.get("metal", ())),
        adapters=lambda: tuple(Adapter(**adapter) for adapter in record.get("adapters", ())),
        memory_status=lambda: MemoryStatus(**status) if status else None,
        regions=lambda node, driver: _regions(answers, driver),
    )


def _regions(answers: dict[str, bytes], driver: str) -> tuple[Region, ...]:
    return xe_regions(answers[driver]) if driver in answers else ()


def _link(path: Path, root: Path, target: str) -> None:
    """A link as the kernel has it; one to /dev points out of the tree and need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not target.startswith("/dev/"):
        (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        target = str(root / target.lstrip("/"))
    os.symlink(target, path)


def _cores(record: dict[str, Any]) -> int:
    cpuinfo = record.get("cpuinfo", {})
    return int(cpuinfo.get("cores", 1)) * int(cpuinfo.get("threads", 1))


def _cpuinfo(short: dict[str, Any]) -> str:
    """Linux's text for `cores` cores of `threads` threads; an ARM one names neither model nor core."""
    if "arm" in short:
        return "".join(f"processor\t: {n}\nFeatures\t: {short['arm']}\n\n" for n in range(short["cores"]))
    count = short["cores"] * short["threads"]
    lines = "processor\t: {}\nmodel name\t: {}\nphysical id\t: 0\ncore id\t\t: {}\nflags\t\t: {}\n\n"
    return "".join(lines.format(n, short["model"], n % short["cores"], short["flags"]) for n in range(count))


def _nvml(record: dict[str, Any]) -> FakeNvml:
    error = NvmlError(record["init_error"]) if "init_error" in record else None
    cards = tuple(_card(card) for card in record.get("cards", ()))
    return FakeNvml(cards, init_error=error, driver=record.get("driver", ""))


def _card(record: dict[str, Any]) -> Card:
    fields = {name: value for name, value in record.items() if name not in ("instances", "not_supported", "error")}
    fields["compute"] = tuple(fields["compute"]) if "compute" in fields else None
    fields["processes"] = tuple((pid, used) for pid, used in fields.get("processes", ()))
    error = NotSupported("Not Supported") if record.get("not_supported") else None
    error = NvmlError(record["error"]) if "error" in record else error
    return Card(**fields, error=error, instances=tuple(_card(part) for part in record.get("instances", ())))
