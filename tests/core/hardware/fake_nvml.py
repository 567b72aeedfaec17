"""A stand-in for pynvml: as much of it as Snug asks, with cards as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NvmlError(Exception):
    pass


class NotSupported(NvmlError):
    pass


@dataclass(frozen=True)
class Card:
    """One device; `error` is raised instead of its memory. `instances` make it a card cut by MIG.

    `processes` are (pid, bytes or None where the driver does not tell). `clock` in MHz and `bits` 0: not supported.
    """

    uuid: str
    total: int = 24_000
    free: int = 20_000
    name: str | bytes = "Card"
    error: Exception | None = None
    instances: tuple[Card, ...] = ()
    reserved: int = 0
    v2: bool = True
    compute: tuple[int, int] | None = None
    clock: int = 0
    bits: int = 0
    processes: tuple[tuple[int, int | None], ...] = ()


@dataclass
class FakeNvml:
    """The part of pynvml that is used. `closed` tells whether it was shut down."""

    cards: tuple[Card, ...] = ()
    init_error: Exception | None = None
    driver: str = "570.86"
    closed: bool = field(default=False)
    NVMLError: type[Exception] = NvmlError
    NVMLError_NotSupported: type[Exception] = NotSupported
    nvmlMemory_v2: int = 33554472  # noqa: N815
    NVML_CLOCK_MEM: int = 2

    def nvmlInit(self) -> None:  # noqa: N802
        if self.init_error:
            raise self.init_error

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.closed = True

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return self.driver

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:  # noqa: N802
        return self.cards[index]

    def nvmlDeviceGetName(self, card: Card) -> str | bytes:  # noqa: N802
        return card.name

    def nvmlDeviceGetUUID(self, card: Card) -> str:  # noqa: N802
        return card.uuid

    def nvmlDeviceGetMemoryInfo(self, card: Card, version: int | None = None) -> Any:  # noqa: N802
        if card.error:
            raise card.error
        if version and not card.v2:
            raise NvmlError("Function Not Found")
        return SimpleNamespace(total=card.total, free=card.free, reserved=card.reserved)

    def nvmlDeviceGetCudaComputeCapability(self, card: Card) -> tuple[int, int]:  # noqa: N802
        if card.compute is None:
            raise NotSupported
        return card.compute

    def nvmlDeviceGetMaxClockInfo(self, card: Card, kind: int) -> int:  # noqa: N802
        if not card.clock:
            raise NotSupported
        return card.clock

    def nvmlDeviceGetMemoryBusWidth(self, card: Card) -> int:  # noqa: N802
        if not card.bits:
            raise NotSupported
        return card.bits

    def nvmlDeviceGetComputeRunningProcesses(self, card: Card) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in card.processes]

    def nvmlDeviceGetGraphicsRunningProcesses(self, card: Card) -> list[Any]:  # noqa: N802
        raise NotSupported

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
