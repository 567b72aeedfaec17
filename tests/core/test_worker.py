"""The worker process: JSON lines in and out, whatever else prints, whoever goes away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import core
from core.output import part_path
from tests.models import SAMPLE, make_llama

ROOT = Path(core.__file__).parent.parent


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "worker"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        yield process
        process.kill()


def send(process: subprocess.Popen[str], line: bytes | str) -> None:
    assert process.stdin
    process.stdin.write(line if isinstance(line, str) else line.decode())
    process.stdin.flush()


def events(process: subprocess.Popen[str]) -> list[core.Event]:
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


def test_a_job_goes_in_and_its_events_come_out(worker: subprocess.Popen[str], tmp_path: Path) -> None:
    send(worker, core.job_line(core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf"))))
    *_, last = events(worker)
    assert isinstance(last, core.Done)
    assert worker.wait(10) == 0
    assert (tmp_path / "o.gguf").stat().st_size == last.result["file_bytes"]


def test_a_refused_job_ends_with_words_and_its_exit_code(worker: subprocess.Popen[str], tmp_path: Path) -> None:
    send(worker, core.job_line(core.QuantizeJob(str(tmp_path / "no"), "Q8_0", str(tmp_path / "o.gguf"))))
    (last,) = events(worker)
    assert isinstance(last, core.Failed)
    assert "does not exist" in last.message
    assert worker.wait(10) == 2


@pytest.mark.parametrize("line", ["\n", "{}\n", "[]\n", "garbage\n", '{"source": 1, "unknown": 2}\n'])
def test_a_line_that_is_no_job_is_refused(worker: subprocess.Popen[str], line: str) -> None:
    send(worker, line)
    (last,) = events(worker)
    assert isinstance(last, core.Failed)
    assert worker.wait(10) == 1


def test_when_stdin_closes_the_worker_stops_and_sweeps_up(worker: subprocess.Popen[str], tmp_path: Path) -> None:
    job = long_job(tmp_path)
    send(worker, core.job_line(job))
    wait_for(part_path(job.target))
    assert worker.stdin
    worker.stdin.close()
    started = time.monotonic()
    worker.wait(10)
    assert time.monotonic() - started < 5
    assert not Path(job.target).exists()
    assert not part_path(job.target).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal to a process")
def test_sigterm_cancels_in_under_a_second_and_says_so(worker: subprocess.Popen[str], tmp_path: Path) -> None:
    job = long_job(tmp_path)
    send(worker, core.job_line(job))
    wait_for(part_path(job.target))
    started = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    *_, last = events(worker)
    assert time.monotonic() - started < 1
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert not part_path(job.target).exists()


def test_a_stray_print_does_not_break_the_protocol(tmp_path: Path) -> None:
    code = (
        "import os, core.worker, core.quantize\n"
        "real = core.worker.run\n"
        "def noisy(*a, **k):\n"
        "    print('stray'); os.write(1, b'from C\\n')\n"
        "    yield from real(*a, **k)\n"
        "core.worker.run = noisy\n"
        "core.worker.main()\n"
    )
    line = core.job_line(core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf")))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    with process:
        send(process, line)
        assert isinstance(events(process)[-1], core.Done)
        assert process.stderr
        noise = process.stderr.read()
    assert "stray" in noise
    assert "from C" in noise
