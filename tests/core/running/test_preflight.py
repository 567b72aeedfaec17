"""What a job needs, before it starts: the arithmetic of its disks and memory, how long it takes, and other ways."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import core
import core.running.job_needs
import core.running.preflight
from core.hardware import disk as disks
from core.hardware.machine import Cpu, Gpu, Hardware, Memory
from core.running.measured import Speeds
from core.running.output import RESERVE_BYTES, ahead_path, part_path
from core.running.preflight import Preflight, preflight_of
from core.running.quantize import parts_of, plan_job
from tests.models import SAMPLE, make_llama
from tests.sparse import MOE_235B, make_sparse

ROOT = Path(__file__).resolve().parents[3]
GB, MIB = 10**9, 1 << 20
JSON = json.JSONEncoder(default=str)


def machine(
    *, available: int = 16 * GB, total: int = 32 * GB, cores: float = 8, gpus: tuple[Gpu, ...] = ()
) -> Hardware:
    cpu = Cpu("a processor", int(cores), int(cores), cores, ("AVX2", "AVX512F"))
    return Hardware(cpu, Memory(total, available, "made up"), gpus)


def job(out: Path, recipe: str = "Q8_0", **options: Any) -> core.QuantizeJob:
    return core.QuantizeJob(str(SAMPLE), recipe, str(out), **options)


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Whether kernels were compiled before depends on the order of tests."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(core.running.job_needs, "missing_kernels", lambda asked: set())
        monkeypatch.setattr(core.running.preflight, "missing_kernels", lambda asked: set())


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the bytes that every disk has free."""
    usage = shutil.disk_usage("/")

    def say(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))

    return say


def needed(found: Preflight, kind: str) -> int:
    need = found.need(kind)
    assert need is not None
    return need.needed


def test_a_job_that_can_work_has_exact_bytes_and_no_problem(tmp_path: Path) -> None:
    found = preflight_of(job(tmp_path / "o.gguf"), machine())
    assert found.ok
    assert found.file_bytes == sum(p.file_bytes for p in parts_of(found.job, plan_job(found.job)))
    disk = found.need("disk")
    assert disk is not None
    assert found.file_bytes + RESERVE_BYTES < disk.needed < found.file_bytes + 2 * RESERVE_BYTES
    assert disk.place == str(tmp_path)
    assert found.alternatives == ()
    assert JSON.encode(asdict(found))


def test_each_part_of_a_split_file_is_counted(tmp_path: Path) -> None:
    wanted = job(tmp_path / "o.gguf", "F32", split_max_size="2M")
    found = preflight_of(wanted, machine())
    parts = parts_of(wanted, plan_job(wanted))
    assert found.files == len(parts) > 2
    disk = found.need("disk")
    assert disk is not None
    assert {item.name: item.nbytes for item in disk.items if item.name.endswith(".gguf")} == {
        part.path.name: part.file_bytes for part in parts
    }


def test_a_disk_that_is_too_small_is_refused_with_the_arithmetic(tmp_path: Path, room: Callable[[int], None]) -> None:
    room(2_000_000)
    found = preflight_of(job(tmp_path / "o.gguf"), machine())
    (problem,) = found.problems
    disk = found.need("disk")
    assert disk is not None
    assert "2,000,000 bytes free" in problem
    assert f"{disk.missing:,} bytes are missing" in problem
    assert disk.missing == disk.needed - 2_000_000
    assert found.refusal().message == problem


def test_the_largest_level_that_fits_is_offered(tmp_path: Path, room: Callable[[int], None]) -> None:
    smaller = core.make_plan(core.open_model(SAMPLE), core.find_recipe("Q5_K_M")).file_bytes
    room(smaller + RESERVE_BYTES + 100_000)
    found = preflight_of(job(tmp_path / "o.gguf"), machine())
    (other,) = found.alternatives
    assert other.kind == "recipe"
    assert other.job == replace(found.job, recipe=other.value)
    assert preflight_of(other.job, machine()).ok
    assert other.words in found.refusal().hint
    sizes = {
        r.name: core.make_plan(core.open_model(SAMPLE), r).file_bytes for r in core.RECIPES if not r.needs_importance
    }
    for trained_in in ("TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "MXFP4_MOE"):
        sizes.pop(trained_in, None)
    assert sizes[other.value] >= max(size for size in sizes.values() if size <= smaller + 90_000)


def test_another_drive_with_room_is_offered(tmp_path: Path, room: Callable[[int], None],
                                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    room(1000)
    monkeypatch.setattr(core.running.preflight, "_folders", lambda hardware: [tmp_path, other])
    monkeypatch.setattr(core.running.preflight, "volume_of", lambda path: int(path == other))
    monkeypatch.setattr(core.running.preflight, "free_bytes", lambda path: 50 * GB if path == other else 1000)
    (found,) = [way for way in preflight_of(job(tmp_path / "o.gguf"), machine()).alternatives if way.kind == "folder"]
    assert found.value == str(other)
    assert found.job.target == str(other / "o.gguf")
    assert "50.00 GB free" in found.words


@pytest.mark.parametrize("name", [part_path, ahead_path])
def test_what_an_interrupted_run_left_counts_as_free(
    name: Callable[[Path], Path], tmp_path: Path, room: Callable[[int], None]
) -> None:
    out = tmp_path / "o.gguf"
    room(2 * RESERVE_BYTES)
    assert not preflight_of(job(out), machine()).ok
    with name(out).open("wb") as file:
        file.truncate(preflight_of(job(out), machine()).file_bytes)
    assert preflight_of(job(out), machine()).ok


def test_a_disk_that_holds_no_large_files_wants_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "_file_system", lambda path, root: "vfat")
    monkeypatch.setitem(core.running.preflight._FILE_LIMITS, "vfat", 1_000_000)
    found = preflight_of(job(tmp_path / "o.gguf"), machine())
    assert "formatted as vfat" in found.problems[0]
    (way,) = found.alternatives
    assert (way.kind, way.value, way.job.split_max_size) == ("split", "4G", "4G")


def test_memory_that_is_not_there_is_refused_and_fewer_threads_are_offered(tmp_path: Path) -> None:
    make_sparse(tmp_path / "m", hidden_size=2048, intermediate_size=8192, num_attention_heads=32, num_hidden_layers=2)
    wanted = core.QuantizeJob(str(tmp_path / "m"), "Q4_K_M", str(tmp_path / "o.gguf"), threads=64)
    found = preflight_of(wanted, machine(available=450 * MIB, total=500 * MIB))
    assert "The memory is too small" in found.problems[0]
    assert "64 slabs of rows" in found.problems[0]
    (way,) = found.alternatives
    assert way.kind == "threads"
    assert 1 < way.job.threads < 64
    fine = preflight_of(way.job, machine(available=450 * MIB, total=500 * MIB))
    assert fine.ok
    assert not fine.warnings
    more = preflight_of(replace(wanted, threads=way.job.threads + 1), machine(available=450 * MIB, total=500 * MIB))
    assert more.warnings or more.problems


def test_kernels_that_must_be_compiled_first_take_memory_disk_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = preflight_of(job(tmp_path / "o.gguf", "Q4_K_M"), machine())
    for module in (core.running.job_needs, core.running.preflight):
        monkeypatch.setattr(module, "missing_kernels", lambda asked: {("Q4_K", "uint16", False), ("Q6_K", "", False)})
    cold = preflight_of(job(tmp_path / "o.gguf", "Q4_K_M"), machine())
    assert needed(cold, "memory") > needed(warm, "memory") + 100 * MIB
    assert cold.time.likely > warm.time.likely + 1
    assert "compiled kernels" in {item.name for need in cold.needs for item in need.items}


def test_memory_that_others_hold_is_only_warned_of(tmp_path: Path) -> None:
    found = preflight_of(job(tmp_path / "o.gguf"), machine(available=50 * MIB))
    assert found.ok
    assert "Memory is short" in found.warnings[0]


def test_a_gpu_without_room_is_only_warned_of(tmp_path: Path) -> None:
    gpu = Gpu("a card", "NVIDIA", "0", 8 * GB, 100 * MIB, 0, "")
    wanted = job(tmp_path / "o.gguf")
    plan = plan_job(wanted)
    found = preflight_of(replace(wanted, backend="gpu"), machine(gpus=(gpu,)), plan=plan)
    assert found.ok
    assert "done by the processor" in found.warnings[0]
    assert preflight_of(wanted, machine(gpus=(gpu,))).need("vram") is None


def test_a_model_in_one_row_or_in_stacks_of_experts_is_counted_by_its_slabs(tmp_path: Path) -> None:
    make_sparse(tmp_path / "moe", **MOE_235B | {"num_hidden_layers": 1})
    make_sparse(tmp_path / "wide", vocab_size=30_000, hidden_size=16_384, num_attention_heads=128)
    for name in ("moe", "wide"):
        wanted = core.QuantizeJob(str(tmp_path / name), "TQ2_0", str(tmp_path / "o.gguf"), threads=2)
        found = preflight_of(wanted, machine())
        memory = found.need("memory")
        assert memory is not None
        assert 8 * MIB < memory.items[-1].nbytes < 80 * MIB, "one slab a thread, not a stack or a table of gigabytes"


def test_time_comes_from_what_this_machine_did_else_from_the_table(tmp_path: Path) -> None:
    make_sparse(tmp_path / "m", hidden_size=2048, intermediate_size=8192, num_attention_heads=32, num_hidden_layers=8)
    wanted = core.QuantizeJob(str(tmp_path / "m"), "Q4_K_M", str(tmp_path / "o.gguf"), threads=2)
    table = preflight_of(wanted, machine(), speeds=Speeds())
    assert table.time.low < table.time.likely < table.time.high
    assert "another machine" in table.time.source
    slow = preflight_of(wanted, machine(), speeds=Speeds({"Q4_K": 1e6, "Q6_K": 1e6, "F32": 1e6}))
    assert "this machine" in slow.time.source
    assert slow.time.likely > 20 * table.time.likely
    assert slow.time.high / slow.time.low < table.time.high / table.time.low
    assert preflight_of(replace(wanted, threads=8), machine(), speeds=Speeds()).time.likely < table.time.likely
    assert preflight_of(wanted, machine(cores=1), speeds=Speeds()).time.likely > table.time.likely


def test_a_job_that_makes_no_sense_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(core.SnugError, match="Q4_K_X"):
        preflight_of(job(tmp_path / "o.gguf", "Q4_K_X"), machine())


_PEAK = """
import json, sys
import core
job, limit = json.loads(sys.argv[1]), int(sys.argv[2])
done = 0
for event in core.run(core.QuantizeJob(**job), cancelled=lambda: done > limit):
    if isinstance(event, core.Progress):
        done = event.bytes_done
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")))
"""
_1B: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
}
_SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "eight threads": (_1B, {"recipe": "Q4_K_M", "threads": 8}),
    "sixteen threads": (_1B | {"num_hidden_layers": 8}, {"recipe": "TQ2_0", "threads": 16}),
    "without kernels": (_1B | {"num_hidden_layers": 1}, {"recipe": "Q8_0", "backend": "reference", "threads": 2}),
    "a vocabulary of 0.5 GB": (
        {**_1B, "hidden_size": 4096, "num_hidden_layers": 1, "vocab_size": 64_000},
        {"recipe": "TQ2_0", "threads": 2},
    ),
    "30 GB of experts": (MOE_235B | {"num_hidden_layers": 6}, {"recipe": "TQ2_0", "threads": 4}),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read where Linux shows it")
@pytest.mark.parametrize("shape", _SHAPES)
def test_memory_is_what_a_process_peaks_at(shape: str, tmp_path: Path) -> None:
    """Within 15 % below and 25 % above."""
    changes, options = _SHAPES[shape]
    make_sparse(tmp_path / "model", **changes)
    values = {"source": str(tmp_path / "model"), "target": str(tmp_path / "o.gguf"), **options}
    warm = core.QuantizeJob(str(SAMPLE), options["recipe"], str(tmp_path / "small.gguf"))
    assert isinstance(list(core.run(warm))[-1], core.Done), "its kernels are compiled"
    command = [sys.executable, "-c", _PEAK, json.dumps(values), str(4 * GB if "experts" in shape else GB)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    found = preflight_of(core.QuantizeJob(**values | {"target": str(tmp_path / "p.gguf")}))
    assert 0.85 < needed(found, "memory") / int(ran.stdout) < 1.25


def test_a_checkpoint_that_must_be_unpacked_takes_more(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "m", hidden_size=1024, intermediate_size=4096)
    file = tmp_path / "q8.gguf"
    assert isinstance(list(core.run(core.QuantizeJob(str(folder), "Q8_0", str(file))))[-1], core.Done)
    plain = core.QuantizeJob(str(folder), "Q4_K_M", str(tmp_path / "o.gguf"), threads=2)
    packed = replace(plain, source=str(file), allow_requantize=True)
    slabs = [preflight_of(one, machine()).need("memory").items[-1].nbytes for one in (plain, packed)]  # type: ignore[union-attr]
    assert slabs[1] > 1.3 * slabs[0]
