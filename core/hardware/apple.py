"""Apple's processors: the GPU works in the RAM, up to a limit that Metal gives and that a person can raise.

https://developer.apple.com/documentation/metal/mtldevice/recommendedmaxworkingsetsize
`sysctl iogpu.wired_limit_mb` (0: the system's own limit) raises it until the next start.
"""

from __future__ import annotations

from core.hardware.calls_mac import MetalDevice
from core.hardware.known_gpus import find_gpu
from core.hardware.machine import Confidence, Gpu, Memory, Sources, say
from core.hardware.system import System

_TRANSLATED = "Snug runs translated by Rosetta: install Python for Apple silicon, for speed and the right figures."
_MIB = 1024**2
_SMALL_MACHINE = 36 * 1024**3
_LIMIT_NAMES = ("iogpu.wired_limit_mb", "debug.iogpu.wired_limit")


def read_apple(ram: Memory, system: System) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """(the GPUs of a Mac, notes); both empty on any other machine."""
    if system.kind != "darwin":
        return (), ()
    devices = system.metal()
    chip = _chip(devices, system)
    if chip.startswith("Apple"):
        translated = (_TRANSLATED,) if system.sysctl("sysctl.proc_translated") == "1" else ()
        return (_unified(chip, devices[0] if devices else None, ram, system),), _notes(devices) + translated
    cards = tuple(_card(device) for device in devices if not device.unified)
    return cards, () if cards else ("This Mac has no GPU with memory of its own.",)


def default_working_set(ram: int) -> int:
    """Bytes that Metal grants by itself: two thirds of the RAM up to 36 GB, three quarters above."""
    return ram * 2 // 3 if ram <= _SMALL_MACHINE else ram * 3 // 4


def _chip(devices: tuple[MetalDevice, ...], system: System) -> str:
    """The processor's name; a program for Intel under Rosetta is told VirtualApple, and Metal knows better."""
    brand = system.sysctl("machdep.cpu.brand_string")
    named = next((device.name for device in devices if device.unified and device.name.startswith("Apple")), "")
    return brand if brand.startswith("Apple") else named or brand


def _notes(devices: tuple[MetalDevice, ...]) -> tuple[str, ...]:
    shared = "The GPU shares the RAM, up to a limit of its own: models are judged by the RAM and by that limit."
    return (shared,) if devices else (shared, "Metal could not be asked: the limit is the usual share of the RAM.")


def _unified(chip: str, device: MetalDevice | None, ram: Memory, system: System) -> Gpu:
    limit, origin = _limit(device, ram, system)
    known = find_gpu(chip)
    free = max(0, min(limit - (device.used if device else 0), ram.available))
    sources = say("sysctl machdep.cpu.brand_string", "name") + origin
    sources += say("the limit, at most the RAM that is available", "free", confidence=Confidence.MEDIUM)
    if known:
        sources += say("Snug's table of GPUs", "bandwidth", "formats", confidence=Confidence.MEDIUM)
    return Gpu(
        chip,
        "Apple",
        "metal:0",
        limit,
        free,
        used_by_others=limit - free,
        driver=f"Metal, macOS {system.sysctl('kern.osproductversion')}".removesuffix(", macOS "),
        unified=True,
        bandwidth=known.bandwidth if known else 0,
        formats=known.formats if known else (),
        sources=sources,
    )


def _limit(device: MetalDevice | None, ram: Memory, system: System) -> tuple[int, Sources]:
    """The most that the GPU may hold: what a person set, what Metal says, or the usual share."""
    for name in _LIMIT_NAMES:
        if (text := system.sysctl(name)).isdigit() and int(text):
            # The older name counts in bytes.
            wanted = int(text) if name.startswith("debug") else int(text) * _MIB
            return min(wanted, ram.total), say(f"sysctl {name}, set by a person", "total")
    if device and device.working_set:
        return min(device.working_set, ram.total), say("Metal: recommendedMaxWorkingSetSize", "total")
    share = "two thirds" if ram.total <= _SMALL_MACHINE else "three quarters"
    return default_working_set(ram.total), say(f"{share} of the RAM, as is usual", "total", confidence=Confidence.LOW)


def _card(device: MetalDevice) -> Gpu:
    """A card in an Intel Mac, whose memory Metal calls its working set."""
    known = find_gpu(device.name, memory=device.working_set)
    free = max(0, device.working_set - device.used)
    sources = say("Metal", "name") + say("Metal: recommendedMaxWorkingSetSize", "total", confidence=Confidence.MEDIUM)
    sources += say("Metal, this program's part only", "free", confidence=Confidence.LOW)
    return Gpu(
        device.name,
        "AMD" if "AMD" in device.name or "Radeon" in device.name else "Apple",
        "metal:0",
        device.working_set,
        free,
        used_by_others=device.working_set - free,
        driver="Metal",
        bandwidth=known.bandwidth if known else 0,
        formats=known.formats if known else (),
        sources=sources,
    )
