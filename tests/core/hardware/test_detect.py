"""core.hardware as a whole, on the machine that runs the tests."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from core.hardware import detect, disk_of
from core.hardware.disk import disks_of


def test_this_machine_is_read_without_an_exception() -> None:
    hardware = detect()
    assert 0 < hardware.memory.available <= hardware.memory.total
    assert 0 < hardware.cpu.usable_cores <= hardware.cpu.logical_cores
    assert hardware.disks[0].total > 0


def test_an_empty_machine_is_read_without_an_exception(tmp_path: Path) -> None:
    assert detect(root=tmp_path).memory.total > 0


def test_looking_is_quick() -> None:
    detect()
    start = time.perf_counter()
    detect()
    assert time.perf_counter() - start < 0.15


def test_looking_does_not_load_torch() -> None:
    code = "import sys; from core.hardware import detect; detect(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


def test_the_disk_of_a_file_to_be_is_that_of_its_folder(tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "not" / "yet" / "model.gguf")
    assert disk.total == disk_of(tmp_path).total
    assert 0 < disk.free <= disk.total


def test_two_folders_of_one_volume_are_one_disk(tmp_path: Path) -> None:
    assert [disk.path for disk in disks_of((tmp_path / "data", tmp_path / "cache"))] == [tmp_path / "data"]
