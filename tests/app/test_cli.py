"""The command line as people and programs use it: words, JSON and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import core
import core.running.quantize
from app import report
from app.cli import _signals, main
from core.running.output import part_path
from tests.app.commands import answered, spoken
from tests.imatrix import seeded_means, write_imatrix
from tests.models import SAMPLE, make_llama

ROOT = Path(core.__file__).parent.parent


def test_machine_names_processor_memory_and_disk(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = spoken(capsys, "machine")
    assert "Processor" in out
    assert "Memory" in out
    assert "Disk" in out
    found = answered(capsys, "machine")
    assert found["memory"]["total"] >= found["memory"]["available"] > 0
    assert found["cpu"]["logical_cores"] >= 1


def test_plan_lists_every_tensor_and_the_exact_size(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = answered(capsys, "plan", str(SAMPLE), "--type", "Q4_K_M")
    assert len(plan["tensors"]) == 29
    assert sum(tensor["bytes"] for tensor in plan["tensors"]) == plan["tensor_bytes"]
    assert main(["quantize", str(SAMPLE), "-t", "q4_k_m", "-o", str(tmp_path / "o.gguf")]) == 0
    assert (tmp_path / "o.gguf").stat().st_size == plan["file_bytes"]
    out, _ = spoken(capsys, "plan", str(SAMPLE), "--type", "Q4_K_M")
    assert f"{plan['file_bytes']:,} bytes" in out


def test_plan_pure_uses_the_base_format_alone(capsys: pytest.CaptureFixture[str]) -> None:
    plan = answered(capsys, "plan", str(SAMPLE), "--type", "Q4_K_M", "--pure")
    assert {tensor["format"] for tensor in plan["tensors"]} == {"Q4_K", "F32"}


def test_fit_shows_every_recipe_and_recommends_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = answered(capsys, "fit", str(SAMPLE), "--ctx", "2048")
    assert [recipe["recipe"] for recipe in found["recipes"]] == [recipe.name for recipe in core.RECIPES]
    assert sum(recipe["recommended"] for recipe in found["recipes"]) == 1
    assert all(recipe["context"] == 2048 and recipe["reason"] for recipe in found["recipes"])
    out, _ = spoken(capsys, "fit", str(SAMPLE))
    assert "is recommended" in out


def test_quantize_verify_and_the_errors_of_each_tensor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = str(tmp_path / "o.gguf")
    result = answered(capsys, "quantize", str(SAMPLE), "--type", "Q6_K", "--out", file, "--threads", "1")
    assert result["file_bytes"] == Path(file).stat().st_size
    found = answered(capsys, "verify", file, "--source", str(SAMPLE))
    assert found["ok"]
    assert len(found["errors"]) == 29
    assert 0.01 < found["errors"][0]["rmse"] < 0.03
    out, _ = spoken(capsys, "verify", file)
    assert "Whole and sane" in out


def test_verify_a_damaged_file_fails_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "o.gguf"
    main(["quantize", str(SAMPLE), "-t", "Q8_0", "-o", str(file)])
    data = bytearray(file.read_bytes())
    tensor = next(t for t in core.open_model(file).tensors if t.name == "blk.1.attn_q.weight").sources[0]
    data[tensor.offset : tensor.offset + 2] = b"\x00\x7e"
    file.write_bytes(data)
    capsys.readouterr()
    out, _ = spoken(capsys, "verify", str(file), code=1)
    assert "blk.1.attn_q.weight" in out
    assert "NaN or infinite" in out


def test_verify_against_the_wrong_source_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["quantize", str(SAMPLE), "-t", "Q8_0", "-o", str(tmp_path / "o.gguf")])
    other = make_llama(tmp_path / "other")
    capsys.readouterr()
    out, _ = spoken(capsys, "verify", str(tmp_path / "o.gguf"), "--source", str(other), code=1)
    assert "blk.2" in out


def test_verify_what_is_no_gguf_is_bad_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("hello, I am a text file of some length")
    _, err = spoken(capsys, "verify", str(tmp_path / "x.gguf"), code=2)
    assert "not a GGUF" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "nowhere"], "does not exist"),
        (["plan", "SAMPLE", "--type", "Q4_K_X"], "Q4_K_"),
        (["plan", "SAMPLE"], "--type"),
        (["fit", "SAMPLE", "--ctx", "0"], "--ctx"),
        (["quantize", "SAMPLE", "-t", "Q8_0", "-o", "/nowhere/o.gguf"], "does not exist"),
        (["quantize", "SAMPLE", "-t", "Q8_0", "-o", "o.gguf", "--backend", "magic"], "magic"),
        (["verify", "nowhere.gguf"], "nowhere.gguf"),
        (["conjure"], "conjure"),
        (["machine", "--fast"], "--fast"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    out, err = spoken(capsys, *(str(SAMPLE) if a == "SAMPLE" else a for a in arguments), code=2)
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_bad_input_with_json_is_an_object_with_error_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    found = answered(capsys, "fit", "nowhere", code=2)
    assert "does not exist" in found["error"]
    assert found["hint"]


@pytest.mark.parametrize("arguments", [["conjure"], ["machine", "--fast"], ["quantize", "m", "-t", "Q8_0"]])
def test_a_wrong_command_line_with_json_is_such_an_object_too(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    found = answered(capsys, *arguments, code=2)
    assert found["error"]
    assert "--help" in found["hint"]


@pytest.mark.parametrize(
    "command",
    [["machine"], ["check", str(SAMPLE)], ["fit", str(SAMPLE)], ["ls"], ["gc"], ["jobs"], ["logout"]],
    ids=" ".join,
)
def test_the_answer_to_a_program_is_one_object(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(answered(capsys, *command), dict)


def test_a_dry_run_says_what_it_takes_and_writes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["quantize", str(SAMPLE), "-t", "Q4_K_M", "-o", str(tmp_path / "o.gguf"), "--dry-run"]
    out, _ = spoken(capsys, *command)
    for word in ("File", "Disk", "Memory", "Time", "Nothing was written"):
        assert word in out
    found = answered(capsys, *command)
    assert found["ok"]
    assert found["needs"][0]["needed"] > found["file_bytes"] > 0
    assert found["time"]["low"] <= found["time"]["likely"] <= found["time"]["high"]
    assert list(tmp_path.iterdir()) == []
    spoken(capsys, "quantize", str(SAMPLE), "-t", "Q4_K_M", "-o", str(tmp_path / "no" / "o.gguf"), "--dry-run", code=2)


def test_a_dry_run_of_what_cannot_work_offers_what_would(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=3_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    command = ["quantize", str(SAMPLE), "-t", "F16", "-o", str(tmp_path / "o.gguf")]
    found = answered(capsys, *command, "--dry-run", code=2)
    assert not found["ok"]
    other = next(way for way in found["alternatives"] if way["kind"] == "recipe")
    assert other["job"]["recipe"] == other["value"]
    out, _ = spoken(capsys, *command, "--dry-run", code=2)
    assert "are missing" in out
    assert f"take {other['value']}" in out
    _, err = spoken(capsys, *command, code=2)
    assert f"take {other['value']}" in err
    spoken(capsys, *command[:3], other["value"], *command[4:])


def test_with_json_the_events_are_lines_on_stderr_and_the_result_one_object(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["quantize", str(SAMPLE), "-t", "Q8_0", "-o", str(tmp_path / "o.gguf"), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["file_bytes"] > 0
    events = [core.from_json(json.loads(line)) for line in captured.err.splitlines()]
    assert isinstance(events[0], core.Note)
    assert "of memory" in events[0].text
    stages = [event.stage for event in events if isinstance(event, core.Progress)]
    assert list(dict.fromkeys(stages)) == ["encode", "write", "verify"]


def test_progress_says_stage_amount_tensors_rate_and_times() -> None:
    event = core.Progress("encode", "blk.0.ffn_up.weight", 3, 29, 4 * 10**9, 16 * 10**9, 2e9, 130.0, 40.0, 0.25)
    said = report.progress_words(event)
    assert (
        said == "4.0 GB of 16.0 GB · 3 of 29 tensors · 2.0 GB/s · 40 s so far · about 2 min left · blk.0.ffn_up.weight"
    )
    assert "2 of 3 files" in report.progress_words(replace(event, stage="download", tensors_done=2, tensors_total=3))
    assert "GB/s" not in report.progress_words(replace(event, stage="verify"))


def test_no_file_is_overwritten_without_being_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "o.gguf"
    file.write_text("precious")
    command = ["quantize", str(SAMPLE), "-t", "Q8_0", "-o", str(file)]
    _, err = spoken(capsys, *command, code=2)
    assert "--overwrite" in err
    assert file.read_text() == "precious"
    spoken(capsys, *command, "--overwrite")
    assert file.read_bytes()[:4] == b"GGUF"


def test_demo_runs_the_whole_loop(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, _ = spoken(capsys, "demo", "--out", str(tmp_path / "demo.gguf"))
    for title in ("This machine", "What fits", "The plan", "Quantize", "Verify", "Next"):
        assert title in out
    assert (tmp_path / "demo.gguf").exists()
    found = answered(capsys, "demo")
    assert found["verify"]["ok"]
    assert answered(capsys, "demo")["verify"]["ok"], "a second time replaces its own file"


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal to a process")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(getattr(signal, "SIGHUP", signal.SIGTERM), marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_cancels_with_130_and_resume_goes_on_with_what_is_done(number: signal.Signals, tmp_path: Path) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("this signal is ignored here, as nohup does, and children inherit that")
    folder, out = make_llama(tmp_path / "m", num_hidden_layers=200), tmp_path / "o.gguf"
    command = [sys.executable, "-m", "app", "quantize", str(folder), "-t", "Q4_K_M", "-o", str(out)]
    process = subprocess.Popen(
        [*command, "--backend", "reference"], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not _rows_are_noted(out) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Cancelled. What is done stays." in err
    assert "--resume" in err
    assert not out.exists()
    ran = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "Going on with what an earlier run left" in ran.stdout + ran.stderr
    assert out.exists()
    assert not part_path(out).exists()


def _rows_are_noted(out: Path) -> bool:
    left = core.leftovers(out)
    return left is not None and left.bytes_done > 0


def test_help_costs_no_heavy_import() -> None:
    heavy = ("numba", "torch", "PySide6", "numpy")
    code = f"import sys; from app.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


def test_names_are_never_taken_for_markup(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "a [bold]b :smile:"
    shutil.copytree(SAMPLE, folder)
    (folder / "o.gguf").write_bytes(b"")
    spoken(capsys, "quantize", str(folder), "-t", "F16", "-o", str(folder / "o.gguf"), "--overwrite")
    out, _ = spoken(capsys, "fit", str(folder))
    assert "a [bold]b :smile:" in out.lower()


@pytest.mark.parametrize("encoding", ["ascii", *(pytest.param(e, marks=pytest.mark.slow) for e in ("cp1252", "utf-8"))])
@pytest.mark.parametrize("json_too", [False, True])
def test_any_name_can_be_printed_in_any_encoding(encoding: str, json_too: bool, tmp_path: Path) -> None:
    folder = tmp_path / "mödel 模型"
    shutil.copytree(SAMPLE, folder)
    command = [sys.executable, "-m", "app", "plan", str(folder), "-t", "F16", *(["--json"] if json_too else [])]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert ran.returncode == 0, ran.stderr
    if json_too:
        assert "模型" in json.loads(ran.stdout)["model"]


@pytest.fixture
def matrix(tmp_path: Path) -> str:
    return str(write_imatrix(tmp_path / "imatrix.gguf", seeded_means(core.open_model(SAMPLE))))


@pytest.mark.slow
def test_an_importance_matrix_goes_all_the_way(matrix: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = (str(SAMPLE), "-t", "Q2_K_S", "--imatrix", matrix)
    plan = answered(capsys, "plan", *arguments)
    result = answered(capsys, "quantize", *arguments, "-o", str(tmp_path / "o.gguf"))
    assert (result["imatrix"], result["effort"], result["notes"]) == (matrix, "exact", [])
    assert result["file_bytes"] == plan["file_bytes"]
    assert core.open_model(tmp_path / "o.gguf").keys["quantize.imatrix.entries_count"] == 21
    out, _ = spoken(capsys, "quantize", *arguments, "-o", str(tmp_path / "o2.gguf"))
    assert f"Importance {matrix}" in out


@pytest.mark.slow
def test_the_effort_best_gives_other_bytes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for effort in ("exact", "best"):
        out = str(tmp_path / f"{effort}.gguf")
        assert (
            answered(capsys, "quantize", str(SAMPLE), "-t", "Q8_0", "-o", out, "--effort", effort)["effort"] == effort
        )
    assert (tmp_path / "exact.gguf").read_bytes() != (tmp_path / "best.gguf").read_bytes()


@pytest.mark.parametrize("verb", ["plan", "quantize"])
def test_what_lacks_importance_is_refused(verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    more = ["-o", str(tmp_path / "o.gguf")] if verb == "quantize" else []
    _, error = spoken(capsys, verb, str(SAMPLE), "-t", "IQ2_XS", *more, code=2)
    assert "IQ2_XS needs an importance matrix" in error
    assert "--imatrix FILE" in error
    _, error = spoken(capsys, verb, str(SAMPLE), "-t", "Q4_0", "--imatrix", str(SAMPLE / "config.json"), *more, code=2)
    assert "is no importance matrix" in error
    assert not (tmp_path / "o.gguf").exists()


def test_fit_says_what_needs_an_importance_matrix(matrix: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = spoken(capsys, "fit", str(SAMPLE))
    assert "IQ2_XS, with --imatrix" in out
    out, _ = spoken(capsys, "fit", str(SAMPLE), "--imatrix", matrix)
    assert "with --imatrix" not in out


def test_an_unknown_effort_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, error = spoken(
        capsys, "quantize", str(SAMPLE), "-t", "Q8_0", "-o", str(tmp_path / "o"), "--effort", "more", code=2
    )
    assert "Efforts: exact, best." in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_sentence() -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run([sys.executable, "-m", "app", "machine"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 1
    assert b"No space left" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_a_sentence_is_one_line_for_those_who_search_in_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["fit", str(tmp_path / ("long name " * 20))]) == 2
    assert capsys.readouterr().err.splitlines()[0].endswith("does not exist.")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_signal_that_was_to_be_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _signals(threading.Event()):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_while_kernels_compile_does_not_wait_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    went_on = []

    def prepare(*_: object) -> Iterator[core.Event]:
        yield core.Note("Preparing kernels for this CPU (once).")
        signal.raise_signal(signal.SIGINT)
        went_on.append(True)

    monkeypatch.setattr(core.running.quantize, "_prepare", prepare)
    assert main(["quantize", str(SAMPLE), "-t", "Q8_0", "-o", str(tmp_path / "o.gguf")]) == 130
    assert not went_on
    assert list(tmp_path.iterdir()) == []
