from __future__ import annotations

from pathlib import Path

from app.machine_cards import cards_of, summary
from core import Hardware
from core.hardware import Confidence, Cpu, Disk, Gpu, Holder, Memory
from core.hardware.machine import say

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


def test_facts_say_where_they_come_from() -> None:
    sources = say("NVML", "bandwidth", "formats") + say("the table", "free", confidence=Confidence.LOW)
    gpu = Gpu(
        "RTX", "NVIDIA", "0", 24 * GB, 20 * GB, 4 * GB, "570", bandwidth=1008 * GB, formats=("FP16",), sources=sources
    )
    card = cards_of(hardware(gpu))[2]
    assert ("Bandwidth", "1,008 GB/s") in card.facts
    assert ("Bandwidth", "Source: NVML. Confidence: high.") in card.tips
    assert "Source: the table. Confidence: low." in card.tip


def test_who_holds_memory_is_named() -> None:
    memory = Memory(32 * GB, 20 * GB, "system", holders=(Holder("firefox", 2 * GB, 8), Holder("ollama", GB)))
    card = cards_of(hardware(memory=memory))[1]
    assert ("Most held by", "firefox 2.0 GB (8 processes), ollama 1.0 GB") in card.facts


def test_memory_that_a_processors_gpu_has_besides_is_not_added() -> None:
    gpu = Gpu("8060S", "AMD", "0", 96 * GB, 94 * GB, 2 * GB, "amdgpu", shared=14 * GB)
    card = cards_of(hardware(gpu))[2]
    assert (card.figure, card.caption) == ("94.0 GB", "of 96.0 GB free")
    assert ("Memory", "14.0 GB of RAM besides, not on top of it") in card.facts


def test_a_machine_in_a_few_words_counts_as_memory_is_sold() -> None:
    gpu = Gpu("RTX 4070", "NVIDIA", "0", 12 * 1024**3, 11 * 1024**3, 1024**3, "")
    assert summary(hardware(gpu, memory=Memory(16 * 1024**3, 1, "given by you"))) == (
        "16 GiB of RAM, RTX 4070 with 12 GiB"
    )
    assert summary(hardware()).endswith(", no GPU")
