"""The table of GPUs, and the finding of one by any of its names."""

from __future__ import annotations

import json

import pytest

from core.hardware.known_gpus import TABLE, find_gpu, gpu_of_pci, known_gpus, similar_names

GIB = 1024**3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA GeForce RTX 4070", "GeForce RTX 4070"),
        ("rtx 4070", "GeForce RTX 4070"),
        ("4070", "GeForce RTX 4070"),
        ("RTX4070Ti", "GeForce RTX 4070 Ti"),
        ("4070 ti super", "GeForce RTX 4070 Ti Super"),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", "GeForce RTX 4070 Laptop"),
        ("NVIDIA GeForce RTX 3060", "GeForce RTX 3060"),
        ("rtx 3060 8gb", "GeForce RTX 3060 8GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB"),
        ("Tesla V100-SXM2-32GB", "Tesla V100 32GB"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("Quadro RTX 6000", "Quadro RTX 6000"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
        ("7900xtx", "Radeon RX 7900 XTX"),
        ("AMD Instinct MI300X", "Instinct MI300X"),
        ("Radeon 8060S Graphics", "Radeon 8060S"),
        ("Intel(R) Arc(TM) A770 Graphics", "Arc A770"),
        ("b580", "Arc B580"),
        ("Apple M3 Max", "Apple M3 Max"),
        ("m1", "Apple M1"),
    ],
)
def test_a_card_is_found_by_any_of_its_names(name: str, expected: str) -> None:
    found = find_gpu(name)
    assert found is not None
    assert found.name == expected


@pytest.mark.parametrize(
    "name",
    ["", "RTX 9999", "arc", "max", "AMD Radeon Graphics", "NVIDIA GeForce RTX 4070 Ti Laptop GPU", "RTX 4000 SFF Ada"],
)
def test_a_card_that_is_not_in_the_table_is_not_taken_for_another(name: str) -> None:
    assert find_gpu(name) is None


def test_of_two_cards_of_one_name_the_memory_decides() -> None:
    assert [found.memory // GIB for n in (8, 16) if (found := find_gpu("RTX 4060 Ti", memory=n * GIB))] == [8, 16]


def test_every_name_in_the_table_finds_its_own_row() -> None:
    assert [gpu.name for gpu in known_gpus() if find_gpu(gpu.name, memory=gpu.memory) != gpu] == []


def test_every_row_has_a_source_and_formats_that_exist() -> None:
    assert all(gpu.sources for gpu in known_gpus())
    assert {name for gpu in known_gpus() for name in gpu.formats} == {"FP16", "BF16", "FP8", "INT8", "FP4"}


def test_a_bandwidth_is_that_of_the_bus_where_the_table_gives_it() -> None:
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["gpus"]
    checked = [row for row in rows if "bus_bits" in row]
    assert len(checked) > 100
    wrong = [r["name"] for r in checked if abs(r["bandwidth_gbs"] - r["bus_bits"] * r["gbit_per_pin"] / 8) > 0.1]
    assert wrong == []


def test_only_what_shares_the_ram_has_no_memory_in_the_table() -> None:
    assert [gpu.name for gpu in known_gpus() if not gpu.memory and not gpu.unified] == []


def test_a_pci_number_that_several_cards_share_needs_the_revision() -> None:
    assert gpu_of_pci("0x744c") is None
    found = gpu_of_pci("0x744c", "0xc8")
    assert found is not None
    assert found.name == "Radeon RX 7900 XTX"


def test_a_misspelt_name_has_similar_ones() -> None:
    assert "GeForce RTX 4070" in similar_names("rtx 4075")
