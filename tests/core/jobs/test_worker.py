"""The worker process: JSON lines in and out, whatever else prints, whoever goes away."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

import core
from core import Owner, Stop
from core.jobs.worker import BUSY, WINDOW_GONE
from core.jobs.worker import Worker as InProcess
from core.running.output import part_path
from tests.models import SAMPLE, make_llama

ROOT = Path(core.__file__).parent.parent
Worker = subprocess.Popen[str]


@contextmanager
def second_worker() -> Iterator[Worker]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "worker"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    with second_worker() as process:
        yield process


def line_of(job: core.Job, folder: core.JobFolder | None = None, *, resume: bool = False) -> bytes:
    return core.assignment_line(core.Assignment(job, folder, resume, window=77))


def create_folder(tmp_path: Path) -> core.JobFolder:
    return core.create(tmp_path / "jobs", core.QuantizeJob("s", "Q8_0", "t"))


def send(process: Worker, line: bytes | str) -> None:
    assert process.stdin
    process.stdin.write(line if isinstance(line, str) else line.decode())
    process.stdin.flush()


def events(process: Worker) -> list[core.Event]:
    assert process.stdout
    return [core.from_json(json.loads(line)) for line in process.stdout]


def long_job(tmp_path: Path) -> core.QuantizeJob:
    folder = make_llama(tmp_path / "m", num_hidden_layers=60)
    return core.QuantizeJob(str(folder), "Q4_K_M", str(tmp_path / "o.gguf"), backend="reference")


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_goes_in_and_its_events_come_out(worker: Worker, tmp_path: Path) -> None:
    send(worker, line_of(core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf"))))
    *_, last = events(worker)
    assert isinstance(last, core.Done)
    assert worker.wait(10) == 0
    assert (tmp_path / "o.gguf").stat().st_size == last.result["file_bytes"]


def test_a_refused_job_ends_with_words_and_its_exit_code(worker: Worker, tmp_path: Path) -> None:
    send(worker, line_of(core.QuantizeJob(str(tmp_path / "no"), "Q8_0", str(tmp_path / "o.gguf"))))
    (last,) = events(worker)
    assert isinstance(last, core.Failed)
    assert "does not exist" in last.message
    assert worker.wait(10) == 2


@pytest.mark.parametrize("line", ["\n", "{}\n", "[]\n", "garbage\n", '{"source": 1, "unknown": 2}\n'])
def test_a_line_that_is_no_job_is_refused(worker: Worker, line: str) -> None:
    send(worker, line)
    (last,) = events(worker)
    assert isinstance(last, core.Failed)
    assert worker.wait(10) == 1


def test_when_stdin_closes_the_worker_stops_and_what_is_done_stays(worker: Worker, tmp_path: Path) -> None:
    job, folder = long_job(tmp_path), create_folder(tmp_path)
    send(worker, line_of(job, folder))
    wait_for(part_path(job.target))
    assert worker.stdin
    worker.stdin.close()
    started = time.monotonic()
    worker.wait(10)
    assert time.monotonic() - started < 5
    assert not Path(job.target).exists()
    assert part_path(job.target).exists()
    *_, last = folder.events()
    assert last[1] == WINDOW_GONE


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal to a process")
def test_sigterm_does_the_same(worker: Worker, tmp_path: Path) -> None:
    job = long_job(tmp_path)
    send(worker, line_of(job))
    wait_for(part_path(job.target))
    started = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    *_, last = events(worker)
    assert time.monotonic() - started < 1.5
    assert last == WINDOW_GONE
    assert part_path(job.target).exists()


@pytest.mark.parametrize(("stop", "kind", "stays"), [
    (Stop.PAUSE, core.Paused, True), (Stop.THROW_AWAY, core.Failed, False),
    pytest.param(Stop.KEEP, core.Failed, True, marks=pytest.mark.slow),
])  # fmt: skip
@pytest.mark.parametrize("by_folder", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_stops_as_it_is_told_to(
    worker: Worker, tmp_path: Path, stop: Stop, kind: type, *, stays: bool, by_folder: bool
) -> None:
    job, folder = long_job(tmp_path), create_folder(tmp_path)
    send(worker, line_of(job, folder))
    wait_for(part_path(job.target))
    started = time.monotonic()
    order = core.stop_order(stop)
    folder.order(order) if by_folder else send(worker, core.order_line(order))
    *_, last = events(worker)
    assert time.monotonic() - started < 1.5
    assert isinstance(last, kind)
    assert part_path(job.target).exists() == stays
    assert folder.events()[-1][1] == last


@pytest.mark.parametrize("levels", [("Q8_0",), ("Q8_0", "F16")])
def test_until_its_first_progress_a_job_has_written_nothing(tmp_path: Path, levels: tuple[str, ...]) -> None:
    folder, out = make_llama(tmp_path / "m"), tmp_path / "out"
    out.mkdir()
    first, *further = [(level, str(out / f"{level}.gguf")) for level in levels]
    job = core.QuantizeJob(str(folder), *first, also=tuple(further), card=False)

    def until_first_progress(*, resume: bool) -> dict[str, bytes]:
        with closing(core.run(job, resume=resume)) as events:
            next(event for event in events if isinstance(event, core.Progress))
            return {path.name: path.read_bytes() for path in out.iterdir()}

    assert until_first_progress(resume=False) == {}
    control = core.Control()
    for event in core.run(job, control=control):
        if isinstance(event, core.Progress):
            control.ask(Stop.PAUSE)
    paused = {path.name: path.read_bytes() for path in out.iterdir()}
    assert until_first_progress(resume=True) == paused


def test_it_owns_its_folder_while_it_works(worker: Worker, tmp_path: Path) -> None:
    job, folder = long_job(tmp_path), create_folder(tmp_path)
    send(worker, line_of(job, folder))
    wait_for(part_path(job.target))
    assert folder.owner() == Owner(worker.pid, 77)
    progress = folder.shown_progress()
    assert progress is not None
    assert progress.tensors_total > 0
    with second_worker() as second:
        send(second, line_of(job, folder))
        assert events(second) == [BUSY]
    send(worker, core.order_line(core.stop_order(Stop.THROW_AWAY)))
    events(worker)
    assert worker.wait(10) == 1
    assert folder.owner() is None


def test_a_job_that_somebody_has_ended_meanwhile_is_not_begun(worker: Worker, tmp_path: Path) -> None:
    folder = create_folder(tmp_path)
    ended = core.Failed("Cancelled.", cancelled=True)
    folder.append(ended)
    send(worker, line_of(long_job(tmp_path), folder))
    assert events(worker) == [ended]
    assert [event for _, event in folder.events()] == [ended]


def test_a_detached_worker_works_on_when_nobody_listens(worker: Worker, tmp_path: Path) -> None:
    job = core.QuantizeJob(str(SAMPLE), "Q4_K_M", str(tmp_path / "o.gguf"), backend="reference")
    folder = create_folder(tmp_path)
    send(worker, line_of(job, folder) + core.order_line(core.DETACH))
    assert worker.stdin
    assert worker.stdout
    worker.stdin.close()
    worker.stdout.close()
    wait_for(folder.path / "now.json")
    assert folder.owner() in (Owner(worker.pid, 0), None)
    assert worker.wait(30) == 0
    assert isinstance(folder.events()[-1][1], core.Done)
    assert Path(job.target).is_file()


def test_garbage_and_new_limits_while_it_works_are_taken_as_they_are(worker: Worker, tmp_path: Path) -> None:
    job = core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf"))
    garbage = b'{\n[]\n{"stop": "gently"}\n{"limits": 5}\n{"limits": {"threads": "x"}}\n'
    send(worker, line_of(job) + garbage + core.order_line(core.limits_order(core.Limits(threads=1, niceness=15))))
    *_, last = events(worker)
    assert isinstance(last, core.Done)


def test_a_machine_that_slept_is_noted_whatever_the_calendar_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_folder(tmp_path)
    slept = iter([100.0, 100.5, 100.5, 700.5])
    monkeypatch.setattr("core.jobs.worker.seconds_asleep", lambda: next(slept))
    monkeypatch.setattr("core.jobs.worker.LOOK_SECONDS", 0)
    monkeypatch.setattr(time, "time", lambda: 5.0)
    with pytest.raises(StopIteration):
        at_work(folder)._look()
    assert [event for _, event in folder.events()] == [
        core.Note("The machine slept for 10 min; the work went on after it.")
    ]


def test_on_battery_the_work_waits_if_that_is_wished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, mains = at_work(create_folder(tmp_path)), [False]
    monkeypatch.setattr("core.jobs.worker.on_mains", lambda: mains[0])
    worker._look_at_power()
    assert not worker.control.hold
    worker.control.limits = core.Limits(only_on_mains=True)
    worker._look_at_power()
    assert worker.control.hold
    mains[0] = True
    worker._look_at_power()
    assert not worker.control.hold


def at_work(folder: core.JobFolder) -> InProcess:
    return InProcess(folder, io.StringIO())


def test_a_stray_print_does_not_break_the_protocol(tmp_path: Path) -> None:
    code = (
        "import os, core.jobs.worker, core.running.quantize\n"
        "real = core.running.quantize.run\n"
        "def noisy(*a, **k):\n"
        "    print('stray'); os.write(1, b'from C\\n')\n"
        "    yield from real(*a, **k)\n"
        "core.running.quantize.run = noisy\n"
        "core.jobs.worker.main()\n"
    )
    line = line_of(core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf")))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    with process:
        send(process, line)
        assert isinstance(events(process)[-1], core.Done)
        assert process.stderr
        noise = process.stderr.read()
    assert "stray" in noise
    assert "from C" in noise
