"""Files of the system that are empty, cut short or nonsense: something is always said, and nothing raises."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from core.hardware import Hardware, detect
from tests.core.hardware.recorded import MACHINES, load, system_of

LINUX = [path for path in MACHINES if load(path)["kind"] == "linux"]
NONSENSE = (b"", b"\0", b"-1\n", b"\xff\xfe\n", b"0x\n", b"max\n", b"99999999999999999999999\n", b"a: b: c\n\n\n", b" ")


def is_sane(hardware: Hardware) -> bool:
    memory = hardware.memory
    gpus = all(0 <= gpu.free <= gpu.total for gpu in hardware.gpus)
    return 0 <= memory.available <= memory.total and hardware.cpu.usable_cores > 0 and gpus


@pytest.mark.parametrize("path", LINUX, ids=lambda path: path.stem)
def test_one_spoiled_file_after_another_never_raises(path: Path, tmp_path: Path) -> None:
    chance = random.Random(path.stem)
    record = load(path)
    system = system_of(record, tmp_path)
    files = sorted(file for file in tmp_path.rglob("*") if file.is_file() and not file.is_symlink())
    for file in chance.sample(files, min(8, len(files))):
        before = file.read_bytes()
        for nonsense in chance.sample(NONSENSE, 3):
            file.write_bytes(nonsense)
            assert is_sane(detect(system=system)), (file.relative_to(tmp_path), nonsense)
        file.write_bytes(before)


@pytest.mark.parametrize("kind", ["linux", "darwin", "win32", "freebsd14"])
def test_a_system_that_answers_nothing_is_still_a_machine(kind: str, tmp_path: Path) -> None:
    system = system_of({"kind": kind, "nvml": {"init_error": "Library Not Found"}}, tmp_path)
    assert is_sane(detect(system=replace(system, cores=0)))


def test_sysctls_of_nonsense_do_not_raise(tmp_path: Path) -> None:
    system = system_of({"kind": "darwin", "nvml": {"init_error": "x"}}, tmp_path)
    assert is_sane(detect(system=replace(system, sysctl=lambda _: "Apple nonsense")))
    assert is_sane(detect(system=replace(system, sysctl=lambda _: "99999999999")))
