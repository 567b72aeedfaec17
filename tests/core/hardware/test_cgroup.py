"""core.hardware.cgroup and memory: containers and services of cgroup v1 and v2, as small trees of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.hardware.cgroup import MemoryLimit, cpu_limit, memory_limits
from core.hardware.machine import Memory
from core.hardware.memory import within_limits

MACHINE = (64_000, 50_000)


def limited(root: Path) -> Memory:
    return within_limits(root, *MACHINE, origin="system")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def v2(root: Path, files: dict[str, str], *, path: str = "/user/app") -> Path:
    (root / "sys/fs/cgroup/user/app").mkdir(parents=True)
    write(root, {"proc/self/cgroup": f"0::{path}\n", "sys/fs/cgroup/cgroup.controllers": "cpu memory\n"})
    write(root / "sys/fs/cgroup", files)
    return root


def test_without_cgroups_the_system_decides(tmp_path: Path) -> None:
    assert limited(tmp_path) == Memory(64_000, 50_000, "system", installed=64_000)
    assert cpu_limit(root=tmp_path) is None


def test_v2_counts_file_cache_that_can_be_dropped_as_free(tmp_path: Path) -> None:
    files = {"memory.max": "10000\n", "memory.current": "7000\n", "memory.stat": "anon 3000\ninactive_file 2500\n"}
    v2(tmp_path, {f"user/app/{name}": text for name, text in files.items()})
    assert memory_limits(root=tmp_path) == (MemoryLimit(10_000, left=5_500),)
    assert limited(tmp_path) == Memory(10_000, 5_500, "container limit", installed=64_000)


def test_v2_takes_the_tightest_of_all_groups_above(tmp_path: Path) -> None:
    v2(tmp_path, {
        "user/app/memory.max": "max\n", "user/app/memory.current": "10\n",
        "user/memory.max": "9000\n", "user/memory.current": "8000\n",
    })  # fmt: skip
    assert limited(tmp_path).available == 1_000


def test_a_limit_above_what_the_system_has_left_changes_nothing_but_the_total(tmp_path: Path) -> None:
    v2(tmp_path, {"user/app/memory.max": "60000", "user/app/memory.current": "100"})
    assert limited(tmp_path) == Memory(60_000, 50_000, "system", installed=64_000)


def test_a_group_named_from_outside_the_container_falls_back_to_the_mounts_root(tmp_path: Path) -> None:
    v2(tmp_path, {"memory.max": "4000", "memory.current": "1000"}, path="/docker/0123")
    assert limited(tmp_path).available == 3_000


def test_v1_reads_its_own_names(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory/job"
    write(tmp_path, {
        "proc/self/cgroup": "9:name=systemd:/\n4:memory:/job\n0::/\n",
        f"{folder}/memory.limit_in_bytes": "8000\n",
        f"{folder}/memory.usage_in_bytes": "5000\n",
        f"{folder}/memory.stat": "inactive_file 1\ntotal_inactive_file 700\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "60000\n",
    })  # fmt: skip
    assert limited(tmp_path) == Memory(8_000, 3_700, "container limit", installed=64_000)


def test_v2_beside_v1_is_found_in_its_own_folder(tmp_path: Path) -> None:
    write(tmp_path, {
        "proc/self/cgroup": "4:memory:/\n0::/app\n",
        "sys/fs/cgroup/unified/cgroup.controllers": "",
        "sys/fs/cgroup/unified/app/memory.max": "5000",
        "sys/fs/cgroup/unified/app/memory.current": "1000",
    })  # fmt: skip
    assert memory_limits(root=tmp_path) == (MemoryLimit(5_000, left=4_000),)


@pytest.mark.parametrize("text", ["", "garbage", "0::\n", "0::relative\n", "0::/../../etc\n", "::::\n"])
def test_an_unreadable_group_sets_no_limit(tmp_path: Path, text: str) -> None:
    v2(tmp_path, {"user/app/memory.max": "?", "user/app/memory.current": "x"})
    write(tmp_path, {"proc/self/cgroup": text})
    assert memory_limits(root=tmp_path) == ()


@pytest.mark.parametrize(("text", "cores"), [("150000 100000", 1.5), ("max 100000", None), ("", None), ("1 0", None)])
def test_v2_gives_the_cores_of_a_quota(tmp_path: Path, text: str, cores: float | None) -> None:
    v2(tmp_path, {"user/app/cpu.max": text})
    assert cpu_limit(root=tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("50000", 0.5), ("-1", None)])
def test_v1_gives_the_cores_of_a_quota(tmp_path: Path, quota: str, cores: float | None) -> None:
    write(tmp_path, {
        "proc/self/cgroup": "2:cpu,cpuacct:/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota,
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    })  # fmt: skip
    assert cpu_limit(root=tmp_path) == cores


def test_v2_counts_the_limit_that_only_slows_down_too(tmp_path: Path) -> None:
    v2(
        tmp_path,
        {"user/app/memory.max": "max\n", "user/app/memory.high": "9000\n", "user/app/memory.current": "1000\n"},
    )
    assert memory_limits(root=tmp_path) == (MemoryLimit(9_000, left=8_000),)
