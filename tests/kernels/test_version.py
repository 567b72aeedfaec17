"""The name of the kernels changes with their sources, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import kernels
from kernels.version import LENGTH, version


def put(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}.py").write_bytes(data)
    return folder


def test_it_changes_with_a_source_and_with_a_name(tmp_path: Path) -> None:
    first = version(put(tmp_path / "a", one=b"x = 1\n", two=b""))
    assert first == version(put(tmp_path / "b", one=b"x = 1\n", two=b""))
    assert first != version(put(tmp_path / "c", one=b"x = 2\n", two=b""))
    assert first != version(put(tmp_path / "d", one=b"x = 1\n", three=b""))


def test_how_lines_end_and_what_is_no_source_does_not_count(tmp_path: Path) -> None:
    folder = put(tmp_path / "a", one=b"x = 1\ny = 2\n")
    other = put(tmp_path / "b", one=b"x = 1\r\ny = 2\r\n")
    (other / "one.pyc").write_bytes(b"machine code")
    assert version(folder) == version(other)


def test_without_sources_there_is_a_name_of_the_same_length(tmp_path: Path) -> None:
    assert version(put(tmp_path / "a")) == "0" * LENGTH
    assert len(kernels.version()) == LENGTH
    assert kernels.version() != "0" * LENGTH
