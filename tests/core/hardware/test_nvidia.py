"""core.hardware.nvidia with a stand-in for NVML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from core.hardware.machine import Gpu, Holder, Memory
from core.hardware.nvidia import read_nvidia
from core.hardware.system import System
from tests.core.hardware.fake_nvml import Card, FakeNvml, NotSupported, NvmlError

RAM = Memory(128_000, 100_000, "system")
THREE = (Card("GPU-aaa"), Card("GPU-bbb"), Card("GPU-ccc"))


def read(
    *cards: Card, environ: Mapping[str, str] | None = None, root: Path = Path("/nowhere")
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    return read_nvidia(RAM, System(root=root, nvml=FakeNvml(cards), environ=environ or {}))


def test_every_gpu_is_read_with_what_others_use_of_it() -> None:
    expected = Gpu("Card 1", "NVIDIA", "GPU-aaa", 24_000, 20_000, used_by_others=4_000, driver="570.86")
    assert read(Card("GPU-aaa", name=b"Card 1")) == ((expected,), ())


def test_the_library_is_shut_down_again() -> None:
    nvml = FakeNvml(THREE)
    read_nvidia(RAM, System(nvml=nvml, environ={}))
    assert nvml.closed


def test_a_machine_without_a_driver_is_said_to_be_so(tmp_path: Path) -> None:
    nvml = FakeNvml(init_error=NvmlError("Library not found"))
    gpus, notes = read_nvidia(RAM, System(root=tmp_path, nvml=nvml, environ={}))
    assert gpus == ()
    assert notes == ("No NVIDIA driver found; models are judged without an NVIDIA GPU.",)


@pytest.mark.parametrize(("device_class", "present"), [("0x030200", True), ("0x040300", False)])
def test_a_card_without_a_driver_is_named(tmp_path: Path, device_class: str, present: bool) -> None:
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text(device_class + "\n")
    nvml = FakeNvml(init_error=NvmlError("Driver not loaded"))
    _, notes = read_nvidia(RAM, System(root=tmp_path, nvml=nvml, environ={}))
    assert notes[0].startswith("An NVIDIA GPU is present but has no driver") == present


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0,2", ["GPU-aaa", "GPU-ccc"]),
        ("2,0", ["GPU-ccc", "GPU-aaa"]),
        ("GPU-bb", ["GPU-bbb"]),
        ("1,9,0", ["GPU-bbb"]),
        ("", []),
        ("-1", []),
    ],
)
def test_cuda_visible_devices_decides_which_are_seen(value: str, expected: list[str]) -> None:
    gpus, notes = read(*THREE, environ={"CUDA_VISIBLE_DEVICES": value})
    assert [gpu.id for gpu in gpus] == expected
    shown = f"CUDA_VISIBLE_DEVICES shows {len(expected)} of 3 NVIDIA GPUs."
    assert notes == (shown if expected else "CUDA_VISIBLE_DEVICES hides every NVIDIA GPU.",)


def test_a_card_cut_into_instances_is_seen_by_its_instances() -> None:
    card = Card("GPU-aaa", instances=(Card("MIG-1", total=10_000, free=9_000), Card("MIG-2", total=10_000, free=8_000)))
    gpus, _ = read(card)
    assert [(gpu.id, gpu.free) for gpu in gpus] == [("MIG-1", 9_000), ("MIG-2", 8_000)]
    gpus, _ = read(card, environ={"CUDA_VISIBLE_DEVICES": "MIG-2"})
    assert [gpu.id for gpu in gpus] == ["MIG-2"]


def test_a_gpu_without_memory_of_its_own_shows_the_ram_once() -> None:
    (gpu,), notes = read(Card("GPU-aaa", name="Orin", error=NotSupported("Not Supported")))
    assert (gpu.unified, gpu.total, gpu.free) == (True, 128_000, 100_000)
    assert notes == ("A GPU shares the RAM: models are judged by the RAM.",)


def test_a_gpu_that_fails_does_not_hide_the_others() -> None:
    gpus, notes = read(Card("GPU-aaa", error=NvmlError("GPU is lost")), Card("GPU-bbb"))
    assert [gpu.id for gpu in gpus] == ["GPU-bbb"]
    assert notes == ("One NVIDIA GPU could not be read: GPU is lost.",)


def test_what_the_driver_reserves_is_told_apart_and_not_taken_off_twice() -> None:
    (gpu,), _ = read(Card("GPU-aaa", total=24_000, free=20_000, reserved=500))
    assert (gpu.free, gpu.used_by_others, gpu.reserved) == (20_000, 4_000, 500)


def test_an_old_driver_is_asked_in_the_old_way() -> None:
    (gpu,), _ = read(Card("GPU-aaa", v2=False, reserved=500))
    assert (gpu.free, gpu.reserved) == (20_000, 0)


def test_programs_on_the_gpu_are_named(tmp_path: Path) -> None:
    for pid, name in ((10, "chrome"), (11, "chrome"), (12, "ollama")):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/comm").write_text(name + "\n")
    card = Card("GPU-aaa", processes=((10, 100), (11, 200), (12, 900), (13, None)))
    (gpu,), _ = read(card, root=tmp_path)
    assert gpu.holders == (Holder("ollama", 900), Holder("chrome", 300, 2))


def test_the_bandwidth_is_the_drivers_clock_times_its_bus() -> None:
    (gpu,), _ = read(Card("GPU-aaa", name="NVIDIA GeForce RTX 4090", clock=10501, bits=384, compute=(8, 9)))
    assert gpu.bandwidth == 1_008_096_000_000
    assert gpu.formats == ("FP16", "BF16", "FP8", "INT8")


def test_without_the_drivers_word_the_table_knows_the_bandwidth() -> None:
    (gpu,), _ = read(Card("GPU-aaa", name="NVIDIA GeForce RTX 4090"))
    assert gpu.bandwidth == 1_008_000_000_000


def test_a_part_known_to_share_the_ram_is_not_believed_another_size() -> None:
    (gpu,), _ = read(Card("GPU-aaa", name="NVIDIA GB10", total=8_000, free=7_000))
    assert (gpu.unified, gpu.total) == (True, 128_000)
