"""Which vendors' display devices sit on the PCI bus, driver or not (Linux)."""

from __future__ import annotations

from pathlib import Path

NVIDIA = 0x10DE
AMD = 0x1002
_DISPLAY = 0x03


def has_display_device(vendor: int, *, root: Path = Path("/")) -> bool:
    """Whether a graphics or 3D controller of `vendor` is there."""
    try:
        devices = list((root / "sys/bus/pci/devices").iterdir())
    except OSError:
        return False
    return any(_hex(d / "vendor") == vendor and (_hex(d / "class") >> 16) == _DISPLAY for d in devices)


def _hex(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii").strip(), 16)
    except (OSError, ValueError):
        return 0
