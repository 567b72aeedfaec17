"""A file made straight from the Hub: the bytes of one made from the downloaded folder, whatever the line does."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import core
import core.hub.download
import core.hub.headers
import core.running.stream
import kernels
from core.errors import Halted
from core.hub import Hub, close_connections, ranges, retries, web
from core.running import ahead, quantize, slabs
from core.running.output import ahead_path, part_path
from tests.fake_hub import PIECE, FakeHub, FakeRepo, Fault
from tests.models import make_llama

pytestmark = pytest.mark.slow

WEIGHTS = "/storage/*"
SLAB = 1 << 17  # weights, of two bytes


@pytest.fixture(autouse=True, scope="module")
def closed_in_the_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The kernels are loaded from where they are kept, before each test gets an empty place for that."""
    folder = tmp_path_factory.mktemp("first")
    local(make_llama(folder / "model"), folder)
    yield
    close_connections()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeHub, Path]]:
    """(server, folder with the same files); every look at the Hub goes to that server."""
    folder = make_llama(tmp_path / "model", shards=2)
    repo = FakeRepo("org/model", {path.name: path.read_bytes() for path in folder.iterdir()})
    monkeypatch.setattr(ranges, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(web, "FIRST_WAIT", 0.001)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    with FakeHub([repo]) as fake:
        use(monkeypatch, Hub(fake.url, tmp_path / "cache"))
        yield fake, folder


def use(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    for module in (core.hub.headers, core.hub.download):
        monkeypatch.setattr(module, "connect", lambda: hub)


Place = tuple[FakeHub, Path]


def run(source: str | Path, out: Path, *, resume: bool = False, **more: object) -> core.Event:
    job = core.QuantizeJob(str(source), "Q4_K_M", str(out), threads=1, card=False, **more)  # type: ignore[arg-type]
    return list(core.run(job, resume=resume))[-1]


def done(source: str | Path, out: Path, **more: Any) -> core.Done:
    last = run(source, out, **more)
    assert isinstance(last, core.Done), last
    return last


def local(folder: Path, tmp_path: Path) -> bytes:
    done(folder, tmp_path / "local.gguf")
    return (tmp_path / "local.gguf").read_bytes()


def failed(out: Path, **more: Any) -> core.Failed:
    last = run("hub:org/model", out, **more)
    assert isinstance(last, core.Failed), last
    assert not out.exists()
    assert not part_path(out).exists()
    return last


def test_a_streamed_file_is_that_of_the_downloaded_folder_and_each_byte_is_fetched_once(
    place: Place, tmp_path: Path
) -> None:
    fake, folder = place
    expected = local(folder, tmp_path)
    core.open_model("hub:org/model")
    before = fake.sent(WEIGHTS)
    out = tmp_path / "out.gguf"
    made = done("hub:org/model", out)
    assert out.read_bytes() == expected
    model = core.open_model(folder)
    samples = fake.sent(WEIGHTS) - before - model.source_bytes
    assert 0 < samples < model.source_bytes / 2, "rows of the check, whole heads where they are permuted"
    assert made.result["fetched"] == fake.sent(WEIGHTS) - before
    assert made.result["errors"]
    assert core.running.stream.UNCHECKED in made.result["notes"]
    assert not (tmp_path / "cache").exists(), "nothing of the model is stored"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(WEIGHTS, times=5, cut_after=1000),
        Fault(WEIGHTS, times=5, reset=True, cut_after=5000),
        Fault(WEIGHTS, times=5, status=503),
        Fault(WEIGHTS, times=5, status=403),
        Fault(WEIGHTS, times=2, stall_after=2000),
    ],
    ids=["cut", "reset", "503", "expired", "stall"],
)
def test_faults_of_the_line_do_not_show_in_the_file(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    fake, folder = place
    core.open_model("hub:org/model")
    monkeypatch.setattr(ranges.open_range.__wrapped__, "__kwdefaults__", {"line": None, "read_seconds": 0.3})
    fake.faults.append(fault)
    out = tmp_path / "out.gguf"
    done("hub:org/model", out)
    assert fault.times == 0
    assert out.read_bytes() == local(folder, tmp_path)


@pytest.mark.parametrize("stage", ["encode", "verify"])
def test_a_dead_line_is_told_of(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    fake, _ = place
    core.open_model("hub:org/model")
    monkeypatch.setattr(retries, "_NOTICED_SECONDS", 0.0)
    monkeypatch.setattr(retries, "_SILENT_SECONDS", 0.0)
    job, notes = core.QuantizeJob("hub:org/model", "Q4_K_M", str(tmp_path / "out.gguf"), threads=1), list[str]()
    for last in core.run(job):
        if isinstance(last, core.Progress) and last.stage == stage and not fake.faults:
            fake.faults.append(Fault(WEIGHTS, times=9 if stage == "encode" else 3, status=503))
        notes += [last.text] if isinstance(last, core.Note) else []
    assert isinstance(last, core.Done), last
    assert any("(try 2 of 8): status 503." in text for text in notes)


def test_a_silent_line_does_not_keep_a_cancelled_job(place: Place, tmp_path: Path) -> None:
    fake, _ = place
    core.open_model("hub:org/model")
    fake.faults.append(Fault(WEIGHTS, times=-1, delay=30))
    out, stop, asked = tmp_path / "out.gguf", threading.Event(), 0.0
    for last in core.run(core.QuantizeJob("hub:org/model", "Q4_K_M", str(out)), cancelled=stop.is_set):
        if isinstance(last, core.Progress) and last.elapsed > 0.3 and not asked:
            asked = time.monotonic()
            stop.set()
    assert time.monotonic() - asked < 1
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert not out.exists()
    assert not part_path(out).exists()


def test_while_the_kernels_are_busy_a_few_slabs_are_fetched_and_no_more(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, folder = place
    core.open_model("hub:org/model")
    before, slab, seen, encode = fake.sent(WEIGHTS), 1 << 14, [], kernels.encode

    def slow(*args: Any, **options: Any) -> Any:
        if not seen:
            time.sleep(0.5)
            seen.append(fake.sent(WEIGHTS) - before)
        return encode(*args, **options)

    monkeypatch.setattr(kernels, "encode", slow)
    monkeypatch.setattr(core.running.stream, "SLAB_WEIGHTS", slab)
    out = tmp_path / "out.gguf"
    done("hub:org/model", out)
    in_flight = (1 + core.running.stream.AHEAD) * slab * 2
    assert in_flight / 2 < seen[0] <= in_flight
    monkeypatch.undo()
    assert out.read_bytes() == local(folder, tmp_path)


def test_a_push_in_the_middle_changes_nothing(place: Place, tmp_path: Path) -> None:
    fake, folder = place
    out = tmp_path / "out.gguf"
    events = core.run(core.QuantizeJob("hub:org/model", "Q4_K_M", str(out), threads=1, card=False))
    next(events)
    other = make_llama(tmp_path / "other", shards=2, seed=2)
    fake.repos["org/model"].push({path.name: path.read_bytes() for path in other.iterdir()})
    *_, last = events
    assert isinstance(last, core.Done), last
    assert out.read_bytes() == local(folder, tmp_path)


def test_offline_is_said_before_anything_is_written(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, _ = place
    core.open_model("hub:org/model")
    use(monkeypatch, replace(Hub(fake.url, tmp_path / "cache"), offline=True))
    last = failed(tmp_path / "out.gguf")
    assert "HF_HUB_OFFLINE" in last.message
    assert last.exit_code == 2


def test_a_model_that_is_closed_by_then_is_refused_in_words(place: Place, tmp_path: Path) -> None:
    fake, _ = place
    core.open_model("hub:org/model")
    fake.repos["org/model"].gated = "manual"
    last = failed(tmp_path / "out.gguf")
    assert "log" in f"{last.message} {last.hint}".lower()


def test_a_download_that_is_kept_gives_the_same_file(place: Place, tmp_path: Path) -> None:
    fake, folder = place
    out = tmp_path / "out.gguf"
    made = done("hub:org/model", out, keep_download=True)
    assert "fetched" not in made.result
    assert out.read_bytes() == local(folder, tmp_path)
    before = fake.sent(WEIGHTS)
    done("hub:org/model", out, overwrite=True)
    assert fake.sent(WEIGHTS) == before, "it is in the cache now"


def test_a_kept_download_that_fails_fails_the_job(place: Place, tmp_path: Path) -> None:
    fake, _ = place
    core.open_model("hub:org/model")
    fake.faults.append(Fault("*", times=-1, status=404))
    last = failed(tmp_path / "out.gguf", keep_download=True)
    assert last.exit_code in (1, 2)
    assert last.hint


def test_a_streamed_file_is_made_again_by_its_card_alone(place: Place, tmp_path: Path) -> None:
    fake, folder = place
    out = tmp_path / "out.gguf"
    last = list(core.run(core.QuantizeJob("hub:org/model", "Q4_K_M", str(out), threads=1)))[-1]
    assert isinstance(last, core.Done), last
    card = core.read_card(out)
    assert (card.source.repo, card.source.commit) == ("org/model", fake.repos["org/model"].commit)
    assert card.source.is_whole, "the Hub lists the hashes of whole files"
    hashes = {file.name: file.sha256 for file in card.source.files}
    assert hashes == {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.glob("*.safetensors")}
    fake.repos["org/model"].push({"config.json": b"{}"})
    last = list(core.rebuild(core.card_path(out), threads=1))[-1]
    assert isinstance(last, core.Done), last
    assert last.result["file_equal"]
    assert (last.result["reasons"], last.result["source"]) == ([], f"hub:org/model@{card.source.commit}")
    list(core.pull(core.PullJob(last.result["source"])))
    last = list(core.rebuild(out))[-1]
    assert isinstance(last, core.Done), last
    assert last.result["file_equal"], "a downloaded copy gives the card of a streamed one"


def test_a_limit_of_bandwidth_is_kept_and_heeded_when_it_changes(place: Place, tmp_path: Path) -> None:
    fake, _ = place
    core.open_model("hub:org/model")
    control = core.Control(core.Limits(bandwidth=400_000))
    before, began, slow = fake.sent(WEIGHTS), time.monotonic(), 0.0
    for event in core.run(core.QuantizeJob("hub:org/model", "Q4_K_M", str(tmp_path / "o.gguf")), control=control):
        if isinstance(event, core.Progress) and not slow and time.monotonic() - began > 1.5:
            slow = (fake.sent(WEIGHTS) - before) / (time.monotonic() - began)
            control.limits = core.Limits()
            began = time.monotonic()
    assert isinstance(event, core.Done), event
    assert 0 < slow < 2_000_000, "with what the system had taken in by then"
    assert time.monotonic() - began < 5


def test_a_throttle_lets_through_what_it_should() -> None:
    throttle = core.running.stream.Throttle(lambda: 1_000_000)
    began = time.monotonic()
    for _ in range(30):
        throttle.spend(10_000, lambda: False)
    assert 0.2 < time.monotonic() - began < 1.0


def test_a_line_that_fails_for_good_leaves_what_can_be_gone_on_with(place: Place, tmp_path: Path) -> None:
    fake, folder = place
    core.open_model("hub:org/model")
    out, expected = tmp_path / "out.gguf", local(folder, tmp_path)
    for last in core.run(core.QuantizeJob("hub:org/model", "Q4_K_M", str(out), threads=1, card=False)):
        if isinstance(last, core.Progress) and last.bytes_done > 500_000 and not fake.faults:
            fake.faults.append(Fault(WEIGHTS, times=-1, status=404))
    fake.faults.clear()
    if isinstance(last, core.Failed):
        assert last.resumable
        *_, last = core.run(core.QuantizeJob("hub:org/model", "Q4_K_M", str(out), threads=1, card=False), resume=True)
    assert isinstance(last, core.Done), last
    assert out.read_bytes() == expected


def settled(fake: FakeHub) -> int:
    count = -1
    while count != (count := fake.sent(WEIGHTS)):
        time.sleep(0.05)
    return count


@pytest.mark.parametrize("way", ["one file", "parts", "several files"])
def test_what_had_come_when_a_job_broke_off_is_not_fetched_again_however_it_is_cut_then(
    way: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, _ = place
    more: dict[str, Any] = {"split_max_size": "1M"} if way == "parts" else {}
    more |= {"also": (("Q8_0", str(tmp_path / "also.gguf")),)} if way == "several files" else {}
    core.open_model("hub:org/model")
    before, out = settled(fake), tmp_path / "out.gguf"
    done("hub:org/model", out, **more)
    once, made = settled(fake) - before, {path: path.read_bytes() for path in tmp_path.glob("*.gguf")}
    for path in made:
        path.unlink()
    calls, encode = itertools.count(), kernels.encode

    def broken(*args: Any, **options: Any) -> Any:
        if next(calls) == 4:
            settled(fake)
            raise Halted("The end.", "Go on.")
        return encode(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kernels, "encode", broken)
        patch.setattr(slabs, "FIRST_WEIGHTS", SLAB)
        last = run("hub:org/model", out, **more)
    assert isinstance(last, core.Failed), last
    assert last.resumable
    assert ahead_path(out).stat().st_size > 10 * SLAB
    monkeypatch.setattr(slabs, "FIRST_WEIGHTS", SLAB * 3 // 4)
    done("hub:org/model", out, resume=True, **more)
    assert made == {path: path.read_bytes() for path in tmp_path.glob("*.gguf")}
    again = settled(fake) - before - 2 * once
    assert 0 <= again <= 2 * SLAB, "of a slab that began when the other broke off, and was cut"
    assert not list(tmp_path.glob("*.snug-*"))


def test_rows_of_the_check_are_not_fetched_again_when_a_job_broke_off_there(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, _ = place
    core.open_model("hub:org/model")
    before, verified = settled(fake), quantize.verified

    def broken(*args: Any, **options: Any) -> Any:
        verified(*args, **options)
        raise Halted("The end.", "Go on.")

    with monkeypatch.context() as patch:
        patch.setattr(quantize, "verified", broken)
        assert isinstance(run("hub:org/model", tmp_path / "out.gguf"), core.Failed)
    once = settled(fake) - before
    made = done("hub:org/model", tmp_path / "out.gguf", resume=True)
    assert (settled(fake) - before - once, made.result["fetched"]) == (0, 0)
    assert made.result["errors"]


@pytest.mark.parametrize(("rate", "weights"), [(0, 381_300), (10e6, 381_300), (40e6, 1_090_909), (1e9, 1 << 21)])
def test_the_faster_the_line_the_larger_the_pieces(rate: float, weights: int) -> None:
    assert core.running.stream.slab_weights(11, rate) == weights


@pytest.mark.parametrize("lines", [9, 10, 16, 24])
def test_what_nobody_has_read_and_what_is_not_kept_yet_are_within_what_a_kill_may_cost(lines: int) -> None:
    unread = core.running.stream.unread_bytes(lines)
    assert unread > 100_000, "less would slow down a line with a delay"
    assert lines * (unread + ahead.CELL_BYTES + PIECE) <= core.running.stream.LOST_BYTES
