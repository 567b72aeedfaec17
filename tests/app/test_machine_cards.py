from __future__ import annotations

from pathlib import Path

from app.machine_cards import cards_of
from core import Hardware
from core.hardware import Cpu, Disk, Gpu, Memory

GB = 10**9
CPU = Cpu("Ryzen 7", 8, 16, 8.0, ("AVX2", "FMA"))


def hardware(*gpus: Gpu, memory: Memory | None = None) -> Hardware:
    disk = Disk(Path("/data"), 1000 * GB, 300 * GB)
    return Hardware(CPU, memory or Memory(32 * GB, 20 * GB, "system"), gpus, (disk,), ("No NVIDIA driver found.",))


def test_a_machine_without_a_gpu_is_a_normal_case() -> None:
    card = cards_of(hardware())[2]
    assert (card.title, card.name) == ("Graphics", "No GPU in use")
    assert card.note.startswith("No NVIDIA driver found. That is normal")


def test_every_gpu_has_a_card_with_total_and_free_memory() -> None:
    gpus = [Gpu(f"RTX {n}", "nvidia", str(n), 24 * GB, 22 * GB, 2 * GB, "580.1") for n in (1, 2)]
    cards = [card for card in cards_of(hardware(*gpus)) if card.title == "Graphics"]
    assert [(card.name, card.figure, card.caption) for card in cards] == [
        ("RTX 1", "22.0 GB", "of 24.0 GB free"),
        ("RTX 2", "22.0 GB", "of 24.0 GB free"),
    ]
    assert ("Driver", "580.1") in cards[0].facts


def test_shared_memory_is_never_added_to_the_ram() -> None:
    gpu = Gpu("Radeon 780M", "amd", "0", 32 * GB, 20 * GB, 0, "amdgpu", unified=True)
    assert ("Memory", "Shared with the RAM, not on top of it") in cards_of(hardware(gpu))[2].facts


def test_memory_says_whose_limit_it_is() -> None:
    card = cards_of(hardware(memory=Memory(8 * GB, 6 * GB, "container limit")))[1]
    assert (card.figure, card.note) == ("6.0 GB", "Figures from the limit of the container that Snug runs in.")


def test_processor_and_disk_give_the_figure_that_matters() -> None:
    cards = cards_of(hardware())
    assert (cards[0].name, cards[0].figure, cards[0].caption) == ("Ryzen 7", "8", "of 16 logical cores usable")
    assert (cards[-1].figure, cards[-1].caption) == ("300.0 GB", "of 1.0 TB free")
