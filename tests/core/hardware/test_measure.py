"""Measured speeds: plausible, bounded, laid over a machine."""

from __future__ import annotations

from pathlib import Path

from core.hardware import Cpu, Disk, Hardware, Measured, Memory, source_of, with_measured
from core.hardware.measure import disk_speed, last_cache_bytes, memory_bandwidth
from core.hardware.system import System

GIB = 1024**3


def test_memory_is_faster_than_a_disk_and_slower_than_light() -> None:
    assert 10**8 < memory_bandwidth(1, available=2 * GIB, seconds=0.02) < 10**13


def test_too_little_memory_is_not_measured() -> None:
    assert memory_bandwidth(2, available=16 * 1024**2) == 0


def test_the_largest_cache_counts(tmp_path: Path) -> None:
    for number, size in enumerate(("48K", "1024K", "96M")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{number}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(size + "\n")
    assert last_cache_bytes(System(root=tmp_path)) == 96 * 1024**2
    assert last_cache_bytes(System(root=tmp_path / "nothing")) == 32 * 1024**2


def test_a_disk_is_tried_and_nothing_is_left_behind(tmp_path: Path) -> None:
    read, write = disk_speed(tmp_path, seconds=0.05)
    assert write > 0
    assert read >= 0
    assert list(tmp_path.iterdir()) == []


def test_what_was_measured_is_laid_over_the_machine_with_its_source(tmp_path: Path) -> None:
    hardware = Hardware(Cpu("Processor", 2, 2, 2.0, ()), Memory(GIB, GIB, "system"), disks=(Disk(tmp_path, 10, 5),))
    measured = with_measured(hardware, Measured(20 * 10**9, 500, 400, tmp_path))
    assert (measured.memory.bandwidth, measured.disks[0].read, measured.disks[0].write) == (20 * 10**9, 500, 400)
    assert source_of(measured.memory.sources, "bandwidth") is not None
    assert with_measured(hardware, Measured()) == hardware
