"""core.hardware.amd on small trees of the amdgpu driver's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.hardware.amd import read_amd
from core.hardware.machine import Gpu, Memory
from core.hardware.system import System

GIB = 1024**3
RAM = Memory(64 * GIB, 50 * GIB, "system")


def card(root: Path, number: int, *, vram: int, used: int, gtt: int, name: str = "") -> None:
    folder = root / f"sys/class/drm/card{number}/device"
    folder.mkdir(parents=True)
    values = {"mem_info_vram_total": vram, "mem_info_vram_used": used, "mem_info_gtt_total": gtt, "device": "0x744c"}
    for file, value in {**values, "product_name": name}.items():
        (folder / file).write_text(f"{value}\n")


def test_a_machine_without_an_amd_gpu_has_none_and_says_nothing(tmp_path: Path) -> None:
    assert read_amd(RAM, System(root=tmp_path)) == ((), ())


def test_a_card_is_read_with_its_free_memory(tmp_path: Path) -> None:
    card(tmp_path, 0, vram=24 * GIB, used=4 * GIB, gtt=32 * GIB, name="Radeon RX 7900 XTX")
    (gpu,), notes = read_amd(RAM, System(root=tmp_path))
    assert replace(gpu, bandwidth=0, formats=()) == Gpu(
        "Radeon RX 7900 XTX", "AMD", "device", 24 * GIB, 20 * GIB, 4 * GIB, "amdgpu"
    )
    assert (gpu.bandwidth, gpu.formats) == (960 * 10**9, ("FP16", "BF16", "INT8"))
    assert notes == ()


def test_a_processors_own_gpu_shares_the_ram(tmp_path: Path) -> None:
    card(tmp_path, 0, vram=GIB // 2, used=0, gtt=32 * GIB)
    (gpu,), notes = read_amd(RAM, System(root=tmp_path))
    assert (gpu.name, gpu.unified, gpu.total, gpu.free) == ("AMD GPU 0x744c", True, 32 * GIB, 32 * GIB)
    assert notes == ("The AMD GPU shares the RAM: models are judged by the RAM.",)


def test_a_processors_own_gpu_is_passed_over_beside_a_card(tmp_path: Path) -> None:
    card(tmp_path, 0, vram=GIB // 2, used=0, gtt=32 * GIB)
    card(tmp_path, 1, vram=16 * GIB, used=0, gtt=32 * GIB)
    gpus, _ = read_amd(RAM, System(root=tmp_path))
    assert [gpu.total for gpu in gpus] == [16 * GIB]


def test_a_card_without_the_driver_is_named(tmp_path: Path) -> None:
    device = tmp_path / "sys/bus/pci/devices/0000:03:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x1002\n")
    (device / "class").write_text("0x030000\n")
    assert read_amd(RAM, System(root=tmp_path))[1] == (
        "An AMD GPU is present but the amdgpu driver does not report its memory.",
    )
