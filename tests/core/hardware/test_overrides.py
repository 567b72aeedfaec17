"""Another machine by a person's figures."""

from __future__ import annotations

import pytest

from core.errors import SnugError
from core.hardware import Confidence, Cpu, Gpu, Hardware, Memory, override, read_override, read_size, source_of
from core.hardware.overrides import GivenGpu, Override

GIB = 1024**3
CARD = Gpu("Card", "NVIDIA", "GPU-0", 8 * GIB, 6 * GIB, 2 * GIB, "570")
CHIP = Gpu("Chip", "Intel", "0000:00:02.0", 32 * GIB, 20 * GIB, 12 * GIB, "i915", unified=True)


def machine(*gpus: Gpu) -> Hardware:
    return Hardware(
        Cpu("Processor", 8, 16, 16.0, ("AVX2",)), Memory(32 * GIB, 20 * GIB, "system"), gpus, notes=("A note.",)
    )


def ask(ram: str = "", *gpus: str, of: Hardware | None = None) -> Hardware:
    return override(of or machine(CARD), read_override(ram, gpus))


def confidence(sources: object, name: str) -> Confidence | None:
    source = source_of(sources, name)  # type: ignore[arg-type]
    return source.confidence if source else None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16G", 16 * GIB),
        ("16", 16 * GIB),
        ("16 GiB", 16 * GIB),
        ("16gb", 16 * GIB),
        ("1.5T", 1536 * GIB),
        ("512M", GIB // 2),
    ],
)
def test_sizes_count_in_1024s_as_memory_is_sold(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0G", "lots", "-4G", "16X", "4G 4G"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SnugError) as caught:
        read_size(text)
    assert "16G" in caught.value.hint


def test_nothing_given_changes_nothing() -> None:
    assert ask() == machine(CARD)
    assert ask().given == ()


def test_another_ram_keeps_the_card_and_guesses_what_is_free() -> None:
    asked = ask("16G")
    assert (asked.memory.total, asked.memory.available, asked.gpus) == (16 * GIB, 13 * GIB, (CARD,))
    assert asked.given == ("memory",)
    assert confidence(asked.memory.sources, "available") == Confidence.LOW
    assert confidence(asked.memory.sources, "total") == Confidence.HIGH


def test_free_memory_can_be_given_too() -> None:
    assert ask("16G:12G").memory.available == 12 * GIB
    (gpu,) = ask("", "RTX 4070:12G:11G").gpus
    assert (gpu.total, gpu.free, gpu.used_by_others) == (12 * GIB, 11 * GIB, GIB)


def test_a_known_card_needs_no_memory() -> None:
    (gpu,) = ask("", "4070").gpus
    assert (gpu.name, gpu.vendor, gpu.total, gpu.bandwidth) == ("GeForce RTX 4070", "NVIDIA", 12 * GIB, 504 * 10**9)
    assert gpu.formats == ("FP16", "BF16", "FP8", "INT8")
    assert confidence(gpu.sources, "total") == Confidence.MEDIUM


def test_a_card_may_have_another_memory_than_the_table_says() -> None:
    (gpu,) = ask("", "RTX 3090:48G").gpus
    assert (gpu.total, gpu.bandwidth) == (48 * GIB, 936 * 10**9)


def test_several_cards_are_several_and_of_two_memories_the_given_one_is_taken() -> None:
    gpus = ask("64G", "RTX 3090", "RTX 4060 Ti:16G").gpus
    assert [(gpu.name, gpu.total // GIB) for gpu in gpus] == [
        ("GeForce RTX 3090", 24),
        ("GeForce RTX 4060 Ti 16GB", 16),
    ]
    assert len({gpu.id for gpu in gpus}) == 2


def test_none_takes_the_gpus_away_and_the_notes_about_them() -> None:
    asked = ask("", "none")
    assert (asked.gpus, asked.notes, asked.given) == ((), (), ("no GPU",))


def test_an_unknown_card_is_taken_with_its_memory_only() -> None:
    (gpu,) = ask("", "Frobnicator 3000:24G").gpus
    assert (gpu.name, gpu.total, gpu.bandwidth) == ("Frobnicator 3000", 24 * GIB, 0)
    with pytest.raises(SnugError, match="Frobnicator 3000 is not a GPU that Snug knows"):
        read_override("", ["Frobnicator 3000"])


def test_a_misspelt_card_is_answered_with_similar_ones() -> None:
    with pytest.raises(SnugError) as caught:
        read_override("", ["RTX 4075"])
    assert "GeForce RTX 4070" in caught.value.hint


@pytest.mark.parametrize("gpus", [["none", "RTX 4070"], ["RTX 4070:12G:13G"]])
def test_what_contradicts_itself_is_refused(gpus: list[str]) -> None:
    with pytest.raises(SnugError):
        read_override("", gpus)


def test_a_size_alone_is_a_card_of_that_size() -> None:
    (gpu,) = ask("", "24G").gpus
    assert (gpu.name, gpu.total) == ("GPU", 24 * GIB)


def test_an_apple_chip_has_its_part_of_the_ram() -> None:
    asked = ask("36G", "M3 Max")
    (gpu,) = asked.gpus
    assert (gpu.unified, gpu.total, asked.memory.total) == (True, 24 * GIB, 36 * GIB)
    assert ask("", "M3 Max:36G").memory.total == 36 * GIB


def test_a_gpu_in_the_ram_never_has_more_than_the_ram() -> None:
    (gpu,) = ask("16G", of=machine(CHIP)).gpus
    assert (gpu.total, gpu.free) == (16 * GIB, 13 * GIB)


def test_every_figure_can_be_given() -> None:
    given = Override(16 * GIB, 10 * GIB, 50 * 10**9, 4, 5 * GIB, (GivenGpu("RTX 4090", bandwidth=900 * 10**9),))
    asked = override(machine(), given)
    assert (asked.memory.bandwidth, asked.cpu.usable_cores, asked.gpus[0].bandwidth) == (50 * 10**9, 4.0, 900 * 10**9)
    assert asked.given == ("memory", "memory bandwidth", "cores", "disk", "GPU")
