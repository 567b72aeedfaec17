"""The system as it is asked: files below a root, and the calls of libraries. Tests give one with recorded answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.hardware.calls_mac import MetalDevice, read_metal, sysctl
from core.hardware.calls_windows import Adapter, MemoryStatus, graphics_adapters, memory_status
from core.hardware.drm import Region, query_regions


@dataclass(frozen=True)
class System:
    """`kind` is sys.platform's word. `cores` is how many this process is bound to; 0 asks the operating system.

    `nvml` is pynvml or something that behaves like it; None imports it. `live` tells whether this is the machine
    that Snug runs on, so that psutil may be asked where files do not say.
    """

    root: Path = Path("/")
    kind: str = sys.platform
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    nvml: Any | None = None
    cores: int = 0
    sysctl: Callable[[str], str] = sysctl
    metal: Callable[[], tuple[MetalDevice, ...]] = read_metal
    adapters: Callable[[], tuple[Adapter, ...]] = graphics_adapters
    memory_status: Callable[[], MemoryStatus | None] = memory_status
    regions: Callable[[Path, str], tuple[Region, ...]] = query_regions

    @property
    def live(self) -> bool:
        return self.root == Path("/") and self.kind == sys.platform

    def text(self, path: str | Path) -> str:
        """A file's text without the white space around it; empty where it cannot be read."""
        return read_text(self.root / path)

    def number(self, path: str | Path) -> int:
        """A file's number, decimal or 0x...; 0 where there is none."""
        return number_of(self.text(path))


def read_text(path: Path) -> str:
    """A file's text without the white space around it; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return ""


def number_of(text: str) -> int:
    """A whole number in decimal or 0x...; 0 for anything else, and for what is below it."""
    try:
        return max(0, int(text, 16 if text.startswith("0x") else 10))
    except ValueError:
        return 0
