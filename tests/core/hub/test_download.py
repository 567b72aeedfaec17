"""Downloads against a Hub where things go wrong: each ends in the right file or in a clear error."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.events import Done, Event, Failed, Note, Progress
from core.hub import Hub, PullJob, cache, fetch, part, pull, ranges
from core.hub.cache import RepoCache
from core.hub.repo import RepoFile
from tests.core.hub.conftest import Start, noise
from tests.fake_hub import FakeRepo, Fault, blob_id, sha256, sibling

pytestmark = pytest.mark.slow

BIG = noise(5 << 20)
FILES = {"config.json": b'{"a": 1}', "README.md": b"# Hello", "model.safetensors": BIG}
JOB = PullJob("org/model")
WEIGHTS = "/storage/*model.safetensors*"


class Pulled(NamedTuple):
    events: list[Event]
    last: Any


def run(hub: Hub, job: PullJob = JOB, **wishes: Any) -> Pulled:
    events = list(pull(job, hub=hub, **wishes))
    return Pulled(events, events[-1])


def content(hub: Hub, name: str = "model.safetensors") -> bytes:
    (file,) = hub.cache.glob(f"models--org--model/snapshots/*/{name}")
    return file.read_bytes()


def check_whole(hub: Hub) -> None:
    """All files are right, nothing is left over, and nothing lies outside the model's own folders."""
    assert {name: content(hub, name) for name in FILES} == FILES
    assert list(hub.cache.rglob("*incomplete*")) == []
    assert list(hub.cache.rglob("*.tmp")) == []
    assert sorted(path.name for path in hub.cache.iterdir()) == [".locks", "models--org--model"]


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "SEGMENT", 1 << 18)
    monkeypatch.setattr(part, "NOTE_BYTES", 1 << 16)


def test_files_land_where_every_tool_of_the_cache_looks(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    found = run(hub)
    assert isinstance(found.last, Done), found.last
    check_whole(hub)
    folder = Path(found.last.result["folder"])
    assert folder == hub.cache / "models--org--model" / "snapshots" / fake.repos["org/model"].commit
    assert os.readlink(folder / "config.json").startswith("../../blobs/")
    assert (hub.cache / "models--org--model/refs/main").read_text() == fake.repos["org/model"].commit
    assert found.last.result["bytes"] == found.last.result["fetched"] == sum(map(len, FILES.values()))


def test_hugging_faces_own_library_finds_them(start: Start) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    _, hub = start(FakeRepo("org/model", FILES))
    run(hub)
    found = try_to_load_from_cache("org/model", "model.safetensors", cache_dir=hub.cache)
    assert isinstance(found, str)
    assert Path(found).read_bytes() == BIG
    scanned = scan_cache_dir(hub.cache)
    assert scanned.warnings == []
    assert [repo.nb_files for repo in scanned.repos] == [3]


def test_what_is_in_the_cache_is_never_fetched_again(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    run(hub)
    fake.log.clear()
    found = run(hub)
    assert found.last.result["fetched"] == 0
    assert [record.path for record in fake.log] == ["/api/models/org/model/revision/main?blobs=true"]


def test_the_same_content_at_another_commit_is_only_linked(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    run(hub)
    fake.log.clear()
    fake.repos["org/model"].push({**FILES, "README.md": b"# Other"})
    assert run(hub).last.result["fetched"] == len(b"# Other")
    assert len(list(hub.cache.glob("models--org--model/snapshots/*/model.safetensors"))) == 2
    assert len(list(hub.cache.glob("models--org--model/blobs/*"))) == 4


def test_a_large_file_comes_over_several_connections(start: Start, small_segments: None) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    run(hub)
    check_whole(hub)
    requests = [record for record in fake.log if record.path.startswith("/storage/")]
    assert len(requests) == 20
    assert fake.sent(WEIGHTS) == len(BIG)


FAULTS: dict[str, list[Fault]] = {
    "reset": [Fault(WEIGHTS, cut_after=900_000, reset=True), Fault(WEIGHTS, cut_after=0, reset=True)],
    "closed early": [Fault(WEIGHTS, cut_after=800_001), Fault(WEIGHTS, cut_after=1)],
    "stall": [Fault(WEIGHTS, stall_after=70_000)],
    "stall before the answer": [Fault(WEIGHTS, delay=1.0)],
    "slow": [Fault(WEIGHTS, rate=5_000_000)],
    "503": [Fault(WEIGHTS, status=503), Fault("*/resolve/*", status=503)],
    "429": [Fault("*/resolve/*", status=429, headers={"Retry-After": "0"}), Fault("/api/*", status=429)],
    "403 at the storage": [Fault(WEIGHTS, status=403)],
    "flipped byte": [Fault(WEIGHTS, flip_at=700_000)],
    "another range": [Fault(WEIGHTS, shift=1)],
    "damaged small file": [Fault("*resolve-cache*config.json", flip_at=2)],
    "small file cut": [Fault("*resolve-cache*config.json", cut_after=2)],
    "no ranges": [Fault("/storage/*", times=-1, no_range=True)],
    "no ranges and a cut": [Fault(WEIGHTS, no_range=True, cut_after=900_000), Fault(WEIGHTS, no_range=True)],
}


@pytest.mark.parametrize("segment", [32 << 20, 1 << 20], ids=["one segment", "several"])
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_a_fault_that_passes_does_no_harm(
    faults: list[Fault], segment: int, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "STALL_SECONDS", 0.6)
    monkeypatch.setattr(part, "SEGMENT", segment)
    fake, hub = start(FakeRepo("org/model", FILES))
    fake.faults = [Fault(**vars(fault)) for fault in faults]
    found = run(hub)
    assert isinstance(found.last, Done), found.last
    check_whole(hub)
    assert all(fault.times < 1 for fault in fake.faults)


LASTING: dict[str, tuple[Fault, str]] = {
    "reset": (Fault(WEIGHTS, -1, cut_after=100, reset=True), "the connection to 127.0.0.1 broke"),
    "trickle": (Fault(WEIGHTS, -1, rate=1000), "bytes came in"),
    "503": (Fault(WEIGHTS, -1, status=503), "status 503"),
    "429": (Fault("*/resolve/*", -1, status=429), "too many requests"),
    "429 for an hour": (Fault("*/resolve/*", -1, status=429, headers={"Retry-After": "3600"}), "too many requests"),
    "403": (Fault(WEIGHTS, -1, status=403), "refuses its own signed address"),
    "flipped": (Fault(WEIGHTS, -1, flip_at=77), "arrived damaged twice"),
    "larger": (Fault(WEIGHTS, -1, declare=5), f"should have {len(BIG):,} bytes, but the server has {len(BIG) + 5:,}"),
    "smaller": (Fault(WEIGHTS, -1, declare=-5), f"but the server has {len(BIG) - 5:,}"),
    "packed": (Fault(WEIGHTS, -1, headers={"Content-Encoding": "gzip"}), "came packed as gzip"),
    "redirects": (Fault("*/resolve/*safetensors", -1, location="/org/model/resolve/x.safetensors"), "without end"),
    "another scheme": (Fault("*/resolve/*", -1, location="file:///etc/passwd"), "not on the web"),
    "no address": (Fault("*/resolve/*", -1, location="http://[oops"), "an address that is none"),
    "no JSON": (Fault("/api/*", -1, status=200, body=b"<html>"), "is no JSON"),
    "other JSON": (Fault("/api/*", -1, status=200, body=b"[1]"), "makes no sense"),
}


@pytest.mark.parametrize(("fault", "message"), LASTING.values(), ids=LASTING)
def test_a_fault_that_stays_is_a_clear_error(
    fault: Fault, message: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "STALL_SECONDS", 0.6)
    monkeypatch.setattr(ranges, "TRIES", 3)
    fake, hub = start(FakeRepo("org/model", FILES))
    fake.faults = [Fault(**vars(fault))]
    failed = run(hub).last
    assert isinstance(failed, Failed)
    assert message in failed.message
    assert failed.hint
    assert list(hub.cache.glob("**/snapshots/*/model.safetensors")) == []
    names = [path.name for path in hub.cache.glob("**/blobs/*")]
    assert not any(name in (sha256(BIG), blob_id(BIG)) for name in names)


def test_after_an_error_only_what_is_missing_is_fetched(start: Start, small_segments: None) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    fake.faults = [Fault(WEIGHTS, times=14, cut_after=1 << 17, reset=True), Fault(WEIGHTS, -1, status=503)]
    assert isinstance(run(hub).last, Failed)
    kept = sum(end - begin for begin, end in kept_ranges(hub))
    assert kept > 1 << 20
    fake.faults, before = [], fake.sent(WEIGHTS)
    assert isinstance(run(hub).last, Done)
    assert fake.sent(WEIGHTS) - before == len(BIG) - kept
    check_whole(hub)


def kept_ranges(hub: Hub) -> list[tuple[int, int]]:
    (found,) = hub.cache.rglob("*.snug.incomplete")
    blob = found.with_name(found.name.removesuffix(".snug.incomplete"))
    return part._kept(*part.part_files(blob), len(BIG), blob.name)


def stop_at(count: int) -> tuple[Callable[[Progress], None], Callable[[], bool]]:
    reached = threading.Event()

    def see(event: Event) -> None:
        if isinstance(event, Progress) and event.bytes_done >= count:
            reached.set()

    return see, reached.is_set


def test_cancel_keeps_what_is_there_and_the_next_try_goes_on(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES), rate=2_000_000)
    see, reached = stop_at(2 << 20)
    for event in pull(JOB, hub=hub, cancelled=reached):
        see(event)
    assert event == Failed(
        "Cancelled. What has been downloaded is kept: the next try goes on from there.", cancelled=True
    )
    time.sleep(0.3)
    before, fake.rate = fake.sent(WEIGHTS), 0
    assert isinstance(run(hub).last, Done)
    check_whole(hub)
    assert fake.sent(WEIGHTS) < len(BIG) + (1 << 20)
    assert before > 1 << 20


@pytest.mark.parametrize(
    "fault",
    [
        Fault(WEIGHTS, -1, stall_after=1 << 18),
        Fault(WEIGHTS, -1, delay=3),
        Fault("*/resolve/*", -1, status=503, headers={"Retry-After": "9"}),
        Fault("/api/*", -1, delay=3),
    ],
    ids=["amid a file", "before a file", "in a pause", "at the start"],
)
def test_cancel_is_heeded_while_the_server_says_nothing(fault: Fault, start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    fake.faults = [Fault(**vars(fault))]
    wished, asked = threading.Event(), []
    threading.Timer(0.4, lambda: (asked.append(time.monotonic()), wished.set())).start()
    assert run(hub, cancelled=wished.is_set).last.cancelled
    assert time.monotonic() - asked[0] < 1.0


def test_pause_closes_the_connections_and_resume_goes_on(start: Start, small_segments: None) -> None:
    fake, hub = start(FakeRepo("org/model", FILES), rate=4_000_000)
    see, reached = stop_at(1 << 20)
    paused, seen = threading.Event(), 0
    for event in pull(JOB, hub=hub, paused=paused.is_set):
        see(event)
        if reached() and not seen:
            paused.set()
        if isinstance(event, Progress) and event.stage == "paused":
            seen += 1
            if seen == 2:
                requests = len(fake.log)
            if seen == 5:
                assert len(fake.log) == requests
                paused.clear()
                fake.rate = 0
    assert isinstance(event, Done)
    assert seen >= 5
    check_whole(hub)


def test_signed_addresses_that_expire_are_asked_for_again(start: Start, small_segments: None) -> None:
    fake, hub = start(FakeRepo("org/model", FILES), rate=4_000_000)
    expired = 0
    for event in pull(PullJob("org/model", connections=2), hub=hub):
        if isinstance(event, Progress) and event.bytes_done > (expired + 1) * (1 << 20):
            fake.expire()
            expired += 1
    assert isinstance(event, Done)
    assert expired >= 3
    check_whole(hub)


def test_a_commit_made_in_the_middle_changes_nothing(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    repo = fake.repos["org/model"]
    commit = repo.commit
    events = pull(JOB, hub=hub)
    next(event for event in events if isinstance(event, Progress))
    repo.push({"config.json": b"other", "model.safetensors": noise(3 << 20, 2)})
    *_, last = events
    assert last.result["commit"] == commit
    check_whole(hub)


def test_a_commit_that_is_taken_away_in_the_middle_is_a_clear_error(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    events = pull(JOB, hub=hub)
    next(event for event in events if isinstance(event, Progress))
    fake.repos["org/model"].files = {"config.json": b"other"}
    *_, last = events
    assert "has no such revision" in last.message


@pytest.mark.parametrize(
    "name",
    [
        "../outside", "/etc/outside", "a/../../outside", "..", "a//b", "./a", "C:\\outside", "a\\..\\b", "new\nline",
        "bell\x07", "turn\u202earound", "", "x" * 300, "nul\x00",
    ],
)  # fmt: skip
def test_no_listed_name_leads_out_of_the_cache(name: str, start: Start, tmp_path: Path) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    evil = {**sibling(name, b"evil"), "rfilename": name}
    fake.repos["org/model"].listed = [evil, *(sibling(*item) for item in FILES.items())]
    assert isinstance(run(hub).last, Done)
    check_whole(hub)
    failed = run(hub, PullJob("org/model", name or " ")).last
    assert isinstance(failed, Failed) or not name
    assert [path.name for path in tmp_path.rglob("*outside*")] == []


@pytest.mark.parametrize("name", ["模型.json", "ünïcödé name.json", "a b/c #?%.json", "100% & more+.json", "é.json"])
def test_any_honest_name_is_written_as_it_is(name: str, start: Start) -> None:
    _, hub = start(FakeRepo("org/model", {**FILES, name: b"[1]"}))
    assert isinstance(run(hub, PullJob("org/model", name)).last, Done)
    assert content(hub, name) == b"[1]"


def test_a_hash_that_is_a_path_is_refused(start: Start, tmp_path: Path) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    entry = sibling("model.safetensors", BIG)
    fake.repos["org/model"].listed = [{**entry, "lfs": {"sha256": "../../../../outside"}}]
    assert isinstance(run(hub, PullJob("org/model", "model.safetensors")).last, Failed)
    assert not list(tmp_path.rglob("*outside*"))


def test_a_commit_that_is_a_path_is_refused(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    fake.faults = [Fault("/api/*", status=200, body=b'{"id": "org/model", "sha": "../../x", "siblings": []}')]
    assert "makes no sense" in run(hub).last.message


def test_nothing_is_written_through_a_link_that_leads_out(start: Start, tmp_path: Path) -> None:
    fake, hub = start(FakeRepo("org/model", {"sub/a.json": b"1"}))
    (tmp_path / "elsewhere").mkdir()
    snapshot = RepoCache(hub.cache, "org/model", fake.repos["org/model"].commit).snapshot
    snapshot.mkdir(parents=True)
    (snapshot / "sub").symlink_to(tmp_path / "elsewhere")
    failed = run(hub, PullJob("org/model", "sub/a.json")).last
    assert "something else is in its place" in failed.message
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_nothing_is_written_through_links_in_place_of_what_snug_writes(start: Start, tmp_path: Path) -> None:
    _, hub = start(FakeRepo("org/model", FILES))
    outside = tmp_path / "elsewhere"
    outside.write_bytes(b"precious")
    blob = RepoCache(hub.cache, "org/model", "").folder / "blobs" / sha256(BIG)
    blob.parent.mkdir(parents=True)
    own = part.part_files(blob)
    for link in (*own, own[1].with_name(own[1].name.replace(".journal.", ".journal-new.")), blob):
        link.symlink_to(outside)
    assert isinstance(run(hub).last, Done)
    check_whole(hub)
    assert outside.read_bytes() == b"precious"


def test_a_link_in_a_repository_is_its_text(start: Start) -> None:
    _, hub = start(FakeRepo("org/model", {**FILES, "link.json": b"../../../../etc/passwd"}))
    assert isinstance(run(hub, PullJob("org/model", "link.json")).last, Done)
    assert content(hub, "link.json") == b"../../../../etc/passwd"


def test_a_file_and_a_folder_of_one_name_are_a_clear_error(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", {"a": b"1"}))
    fake.repos["org/model"].files = {"a": b"1", "a/b": b"2"}
    failed = run(hub, PullJob("org/model", "a,a/b")).last
    assert "something else is in its place" in failed.message


def test_a_full_disk_is_said_before_the_start(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage._replace(free=30 << 20))
    failed = run(hub).last
    assert "5.2 MB are missing" in failed.message
    assert "has 31.5 MB free, 40.9 MB too little" in failed.message
    assert len(fake.log) == 1


def test_a_disk_that_fills_up_in_the_middle_is_a_clear_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _, hub = start(FakeRepo("org/model", FILES))
    monkeypatch.setattr(part.Part, "write", full)
    failed = run(hub).last
    assert "No space left on device" in failed.message
    assert failed.exit_code == 1


def test_two_downloads_at_once_fetch_every_byte_once(start: Start, small_segments: None) -> None:
    fake, hub = start(FakeRepo("org/model", FILES), rate=2_000_000)
    results: list[Pulled] = []
    threads = [threading.Thread(target=lambda: results.append(run(hub))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(found.last) for found in results] == [Done] * 3
    check_whole(hub)
    assert fake.sent(WEIGHTS) == len(BIG)
    notes = [event.text for found in results for event in found.events if isinstance(event, Note)]
    assert any("Another program downloads" in text for text in notes)


def test_progress_counts_all_files_as_one(start: Start) -> None:
    _, hub = start(FakeRepo("org/model", FILES), rate=5_000_000)
    events = [event for event in run(hub).events if isinstance(event, Progress)]
    assert {event.bytes_total for event in events} == {sum(map(len, FILES.values()))}
    counts = [event.bytes_done for event in events]
    assert counts == sorted(counts)
    assert events[-1].tensors_total == 3


def test_offline_says_so_and_asks_nobody(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    failed = run(Hub(hub.endpoint, hub.cache, offline=True)).last
    assert "HF_HUB_OFFLINE" in failed.message
    assert fake.log == []


def test_an_empty_file_needs_no_request(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", {**FILES, "empty.txt": b""}))
    assert isinstance(run(hub, PullJob("org/model", "empty.txt")).last, Done)
    assert content(hub, "empty.txt") == b""
    assert len(fake.log) == 1


def test_a_damaged_file_of_the_right_name_and_wrong_size_is_fetched_anew(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    repo = RepoCache(hub.cache, "org/model", fake.repos["org/model"].commit)
    repo.make_folders()
    entry = sibling("model.safetensors", BIG)
    repo.blob(RepoFile("", 0, "", entry["lfs"]["sha256"])).write_bytes(b"cut")
    assert isinstance(run(hub).last, Done)
    check_whole(hub)


def test_without_links_the_content_lies_under_its_name(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    fake, hub = start(FakeRepo("org/model", FILES))
    monkeypatch.setattr(os, "symlink", refuse)
    assert isinstance(run(hub).last, Done)
    check_whole(hub)
    fake.log.clear()
    assert run(hub).last.result["fetched"] == 0
    assert len(fake.log) == 1


def test_the_token_goes_to_the_hub_alone_and_into_no_text(
    start: Start, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("DEBUG")
    fake, hub = start(FakeRepo("org/model", FILES, gated="auto"), token="hf_full")
    fake.faults = [Fault(WEIGHTS, status=403)]
    events = run(hub).events
    assert isinstance(events[-1], Done)
    at_hub = {record.token for record in fake.log if record.host in fake.url}
    elsewhere = {record.token for record in fake.log if record.host in fake.storage_url}
    assert (at_hub, elsewhere) == ({"hf_full"}, {""})
    assert "hf_full" not in f"{events} {hub} {caplog.text}"
    written = [path for path in tmp_path.rglob("*") if path.is_file() and b"hf_full" in path.read_bytes()]
    assert written == []


def test_a_redirect_to_another_host_gets_no_token(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES), token="hf_full")
    other, _ = start()
    fake.faults = [Fault("*/resolve/*config.json", -1, location=f"{other.url}/anything")]
    assert isinstance(run(hub).last, Failed)
    assert {record.token for record in other.log} == {""}
