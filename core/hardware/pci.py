"""Which vendors' display devices sit on the PCI bus, driver or not (Linux)."""

from __future__ import annotations

from pathlib import Path

from core.hardware.system import number_of, read_text

NVIDIA = 0x10DE
AMD = 0x1002
INTEL = 0x8086
_DISPLAY = 0x03


def has_display_device(vendor: int, *, root: Path = Path("/")) -> bool:
    """Whether a graphics or 3D controller of `vendor` is there."""
    try:
        devices = list((root / "sys/bus/pci/devices").iterdir())
    except OSError:
        return False
    return any(_hex(d / "vendor") == vendor and (_hex(d / "class") >> 16) == _DISPLAY for d in devices)


def cards(root: Path) -> list[Path]:
    """The device folders of the graphics cards that have a driver, without their outputs (card0-HDMI-A-1)."""
    folders = sorted((root / "sys/class/drm").glob("card[0-9]*/device"), key=lambda path: path.parent.name)
    return [folder for folder in folders if "-" not in folder.parent.name]


def address(folder: Path) -> str:
    """0000:03:00.0 by the driver's uevent, or by the name of the folder that `device` points to."""
    for line in read_text(folder / "uevent").splitlines():
        if line.startswith("PCI_SLOT_NAME="):
            return line.partition("=")[2]
    return folder.resolve().name


def _hex(path: Path) -> int:
    return number_of(read_text(path))
