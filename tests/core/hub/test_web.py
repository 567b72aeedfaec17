"""One GET: limits, redirects, retries, and the words for every refusal."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

import core
from core.errors import JobFailed, SnugError
from core.hub import Hub, card_text, close_connections, connection, hub_facts, repo_info, web
from core.hub.connection import checked_endpoint, without_password
from core.hub.problems import retry_after
from tests.core.hub.conftest import Start
from tests.fake_hub import FakeRepo, Fault, sibling

ROOT = Path(core.__file__).parent.parent
FILES = {"config.json": b"{}", "README.md": "# Ünïcödé".encode()}


def packed(data: bytes) -> Fault:
    return Fault("/api/*", -1, status=200, body=data, headers={"Content-Encoding": "gzip"})


def test_a_gzip_bomb_is_stopped_before_it_fills_the_memory(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, hub = start()
    fake.faults = [packed(gzip.compress(bytes(400 << 20), 1))]
    monkeypatch.setattr(web, "MAX_JSON", 1 << 20)
    tracemalloc.start()
    with pytest.raises(JobFailed, match="larger than"):
        web.get_bytes(hub, f"{hub.endpoint}/api/models", what="the search", most=1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_a_packed_answer_is_unpacked(start: Start) -> None:
    fake, hub = start()
    fake.faults = [packed(gzip.compress(b'{"a": 1}'))]
    assert web.get_json(hub, f"{hub.endpoint}/api/models", what="x")[0] == {"a": 1}


@pytest.mark.parametrize("body", [gzip.compress(b'{"a": 1}')[:-9], b"no gzip at all", b""])
def test_a_damaged_packed_answer_is_a_clear_error(body: bytes, start: Start) -> None:
    fake, hub = start()
    fake.faults = [packed(body)]
    with pytest.raises(JobFailed, match=r"damaged|cut short"):
        web.get_json(hub, f"{hub.endpoint}/api/models", what="x")


@pytest.mark.parametrize("body", [b"[" * 100_000, b"", b"\xff\xfe", b"9" * 5000, b'{"id": "a/b", "sha": NaN}'])
def test_json_that_is_none_is_a_clear_error(body: bytes, start: Start) -> None:
    fake, hub = start()
    fake.faults = [Fault("/api/*", -1, status=200, body=body)]
    with pytest.raises(JobFailed):
        repo_info("org/model", hub=hub)


def test_a_listing_of_a_million_files_is_refused_in_words(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    entry = json.dumps(sibling("config.json", b"{}"))
    head = f'{{"id": "org/model", "sha": "{"a" * 40}", "siblings": ['
    body = (head + ",".join([entry] * 1_000_000) + "]}").encode()
    fake.faults = [packed(gzip.compress(body, 1))]
    with pytest.raises(JobFailed, match=r"larger than|more than any model"):
        repo_info("org/model", hub=hub)


def test_a_listing_with_too_many_files_is_refused_in_words(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    fake.repos["org/model"].listed = [sibling("config.json", b"{}")] * 100_001
    with pytest.raises(JobFailed, match="100,001 files"):
        repo_info("org/model", hub=hub)


def test_a_passing_failure_is_not_seen(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    fake.faults = [Fault("/api/*", status=502), Fault("/api/*", cut_after=0, reset=True, status=0)]
    assert repo_info("org/model", hub=hub).id == "org/model"


def test_a_hub_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="localhost did not give an answer"):
        repo_info("org/model", hub=Hub("http://localhost:9", tmp_path))


def test_a_long_pause_that_the_hub_asks_for_is_said(start: Start) -> None:
    fake, hub = start()
    fake.faults = [Fault("/api/*", -1, status=429, headers={"Retry-After": "90"})]
    with pytest.raises(JobFailed, match="too many requests") as caught:
        repo_info("org/model", hub=hub)
    assert "in 90 seconds" in caught.value.hint
    assert len(fake.log) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"ratelimit": '"api";r=0;t=55'}, 55),
        ({}, None),
        ({"retry-after": "-3"}, None),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def refused(hub: Hub, name: str = "org/model") -> SnugError:
    try:
        info = repo_info(name, hub=hub)
        web.get_bytes(hub, f"{hub.endpoint}/{name}/resolve/{info.commit}/config.json", what="x", repo=name)
    except SnugError as error:
        return error
    raise AssertionError("nothing was refused")


def test_gated_models_have_a_word_for_each_case(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES, gated="manual"))
    nobody = refused(hub)
    assert "you are not logged in" in nobody.message
    assert f"{hub.endpoint}/org/model" in nobody.hint
    assert "snug login" in nobody.hint
    bob = replace(hub, token="hf_plain")
    assert "terms that you have not accepted" in refused(bob).message
    assert f"{hub.endpoint}/org/model" in refused(bob).hint
    for said, message in (
        ("Your request is awaiting a review from the repo authors.", "waits for its authors"),
        ("Your request to access model org/model has been rejected.", "You have no access"),
        ("Enable access to public gated repositories in your fine-grained token settings", "Your token may not read"),
    ):
        headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": said}
        fake.faults = [Fault("*/resolve/*", status=403, headers=headers)]
        assert message in refused(bob).message
    assert repo_info("org/model", hub=replace(hub, token="hf_full")).id == "org/model"


def test_private_and_missing_models_have_a_word_for_each_case(start: Start) -> None:
    _, hub = start(FakeRepo("org/model", FILES, private=True))
    assert "private and you are not logged in" in refused(hub).message
    assert "your account has no access" in refused(replace(hub, token="hf_plain")).message
    assert "your account has no access" in refused(replace(hub, token="hf_full"), "org/none").message
    assert "does not accept your token" in refused(replace(hub, token="hf_wrong")).message


def test_a_revision_that_is_not_there_is_named(start: Start) -> None:
    _, hub = start(FakeRepo("org/model", FILES))
    with pytest.raises(SnugError, match="org/model@v9 has no such revision"):
        repo_info("org/model@v9", hub=hub)


def test_a_card_is_text(start: Start) -> None:
    _, hub = start(FakeRepo("org/model", FILES), FakeRepo("org/bare", {}))
    assert card_text(repo_info("org/model", hub=hub), hub=hub) == "# Ünïcödé"
    assert card_text(repo_info("org/bare", hub=hub), hub=hub) == ""


def test_a_proxy_is_used_and_its_password_not_shown(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, _ = start()
    proxy.faults = [Fault("http://hub.example/*", -1, status=503)]
    close_connections()
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("http://", "http://me:secret@"))
    hub = Hub("http://hub.example", Path("x"))
    with pytest.raises(JobFailed, match="status 503"):
        repo_info("org/model", hub=hub)
    close_connections()
    assert proxy.paths()[0].startswith("http://hub.example/api/models/org/model")
    assert dict(hub_facts(hub))["Proxy"] == f"{proxy.url} (HTTP_PROXY)"
    assert without_password("socks5://u:p@h:1080") == "socks5://h:1080"


def test_certificates_of_ones_own_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(SnugError, match=r"none\.pem cannot be read"):
        connection._certificates()
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert connection._certificates() is not True


@pytest.mark.parametrize("url", ["", "huggingface.co", "file:///etc", "ftp://x", "https://"])
def test_an_endpoint_that_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(SnugError, match="HF_ENDPOINT"):
        checked_endpoint(url)


def test_the_environment_decides_as_for_hugging_faces_tools(tmp_path: Path) -> None:
    code = (
        "from core.hub import connect, hub_facts; hub = connect(); print(hub); print(hub.token, dict(hub_facts(hub)))"
    )
    environment = {
        **os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": "https://mirror.example/", "HF_HUB_OFFLINE": "1",
        "HF_TOKEN": "hf_secret", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    shown, facts = ran.stdout.splitlines()
    assert "endpoint='https://mirror.example'" in shown
    assert str(tmp_path / "hub") in shown
    assert "offline=True" in shown
    assert "hf_secret" not in shown
    assert facts.startswith("hf_secret {")
    assert "'Token': 'given (HF_TOKEN)'" in facts


def test_looking_at_a_file_costs_no_network_library(tmp_path: Path) -> None:
    code = f"import core, sys; core.open_model({str(core.sample_folder())!r}); print('httpx2' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_a_certificate_that_is_not_trusted_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Distrusting:
        def build_request(self, *_: object, **__: object) -> None: ...

        def send(self, *_: object, **__: object) -> None:
            asked.append(1)
            raise httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed (x)")

    monkeypatch.setattr(web, "client", Distrusting)
    with pytest.raises(SnugError, match=r"certificate of hub\.example") as caught:
        repo_info("org/model", hub=Hub("https://hub.example", Path("x")))
    assert "SSL_CERT_FILE" in caught.value.hint
    assert asked == [1]
