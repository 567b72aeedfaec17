"""core.hardware.nvidia with a stand-in for NVML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.hardware.machine import Gpu, Memory
from core.hardware.nvidia import read_nvidia

RAM = Memory(128_000, 100_000, "system")


class NvmlError(Exception):
    pass


class NotSupported(NvmlError):
    pass


@dataclass(frozen=True)
class Card:
    """One device; `error` is raised instead of its memory. `instances` make it a card cut by MIG."""

    uuid: str
    total: int = 24_000
    free: int = 20_000
    name: str | bytes = "Card"
    error: Exception | None = None
    instances: tuple[Card, ...] = ()


@dataclass
class FakeNvml:
    """The part of pynvml that is used. `closed` tells whether it was shut down."""

    cards: tuple[Card, ...] = ()
    init_error: Exception | None = None
    closed: bool = field(default=False)
    NVMLError: type[Exception] = NvmlError
    NVMLError_NotSupported: type[Exception] = NotSupported

    def nvmlInit(self) -> None:  # noqa: N802
        if self.init_error:
            raise self.init_error

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.closed = True

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.86"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:  # noqa: N802
        return self.cards[index]

    def nvmlDeviceGetName(self, card: Card) -> str | bytes:  # noqa: N802
        return card.name

    def nvmlDeviceGetUUID(self, card: Card) -> str:  # noqa: N802
        return card.uuid

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Any:  # noqa: N802
        if card.error:
            raise card.error
        return SimpleNamespace(total=card.total, free=card.free)

    def nvmlDeviceGetMigMode(self, card: Card) -> tuple[int, int]:  # noqa: N802
        if not card.instances:
            raise NotSupported
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, index: int) -> Card:  # noqa: N802
        if index >= len(card.instances):
            raise NvmlError
        return card.instances[index]


THREE = (Card("GPU-aaa"), Card("GPU-bbb"), Card("GPU-ccc"))


def read(
    *cards: Card, environ: Mapping[str, str] | None = None, root: Path = Path("/nowhere")
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    return read_nvidia(RAM, root=root, nvml=FakeNvml(cards), environ=environ or {})


def test_every_gpu_is_read_with_what_others_use_of_it() -> None:
    expected = Gpu("RTX 4090", "NVIDIA", "GPU-aaa", 24_000, 20_000, used_by_others=4_000, driver="570.86")
    assert read(Card("GPU-aaa", name=b"RTX 4090")) == ((expected,), ())


def test_the_library_is_shut_down_again() -> None:
    nvml = FakeNvml(THREE)
    read_nvidia(RAM, nvml=nvml, environ={})
    assert nvml.closed


def test_a_machine_without_a_driver_is_said_to_be_so(tmp_path: Path) -> None:
    nvml = FakeNvml(init_error=NvmlError("Library not found"))
    gpus, notes = read_nvidia(RAM, root=tmp_path, nvml=nvml, environ={})
    assert gpus == ()
    assert notes == ("No NVIDIA driver found; models are judged without an NVIDIA GPU.",)


@pytest.mark.parametrize(("device_class", "present"), [("0x030200", True), ("0x040300", False)])
def test_a_card_without_a_driver_is_named(tmp_path: Path, device_class: str, present: bool) -> None:
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text(device_class + "\n")
    nvml = FakeNvml(init_error=NvmlError("Driver not loaded"))
    _, notes = read_nvidia(RAM, root=tmp_path, nvml=nvml, environ={})
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
    assert notes == (() if expected else ("CUDA_VISIBLE_DEVICES hides every NVIDIA GPU.",))


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
