"""Rows of models: filters out, pages in, and nothing that a stranger writes gets through as it is."""

from __future__ import annotations

import itertools
import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from core.errors import JobFailed, SnugError
from core.hub import Filters, gguf_repos_of, search_models
from tests.core.hub.conftest import Start
from tests.fake_hub import FakeRepo, Fault

TAGS = ("safetensors", "license:apache-2.0", "base_model:org/base", "base_model:finetune:org/base")


def repos(count: int) -> list[FakeRepo]:
    return [FakeRepo(f"org/model-{n:02}", {}, row={"downloads": n, "likes": -n}) for n in range(count)]


def test_a_row_says_what_the_hub_knows(start: Start) -> None:
    row = {
        "author": "org", "pipeline_tag": "text-generation", "library_name": "transformers", "downloads": 12, "likes": 3,
        "lastModified": "2026-01-02T03:04:05.000Z", "safetensors": {"parameters": {"BF16": 7}, "total": 7},
    }  # fmt: skip
    _, hub = start(FakeRepo("org/model", {}, tags=TAGS, gated="manual", row=row))
    (found,) = search_models(Filters(), hub=hub)
    assert (found.id, found.author, found.task, found.library) == (
        "org/model",
        "org",
        "text-generation",
        "transformers",
    )
    assert (found.downloads, found.likes, found.updated[:10], found.parameters) == (12, 3, "2026-01-02", 7)
    assert (found.licence, found.gated, found.base_model) == ("apache-2.0", "manual", "org/base")
    assert (found.has_gguf, found.has_safetensors, found.private) == (False, True, False)


def test_every_filter_is_asked_for(start: Start) -> None:
    fake, hub = start()
    filters = Filters(
        text="llama 8b", author="org", task="text-generation", library="transformers", licence="MIT", gated=False,
        has_gguf=True, smallest=10**9, largest=8 * 10**9, base_model="org/base",
    )  # fmt: skip
    assert list(search_models(filters, sort="recent", limit=5, hub=hub)) == []
    asked = parse_qsl(urlsplit(fake.paths()[0]).query)
    assert [pair for pair in asked if pair[0] != "expand"] == [
        ("filter", "transformers"), ("filter", "license:mit"), ("filter", "gguf"),
        ("filter", "base_model:quantized:org/base"), ("search", "llama 8b"), ("author", "org"),
        ("pipeline_tag", "text-generation"), ("gated", "false"), ("num_parameters", "min:1000000000,max:8000000000"),
        ("sort", "lastModified"), ("limit", "5"),
    ]  # fmt: skip


def test_pages_are_fetched_as_rows_are_taken(start: Start) -> None:
    fake, hub = start(*repos(50), page_rows=10)
    rows = search_models(Filters(), sort="downloads", hub=hub)
    assert fake.log == []
    assert [row.id for row in itertools.islice(rows, 10)] == [f"org/model-{n:02}" for n in range(49, 39, -1)]
    assert len(fake.log) == 1
    assert len(list(rows)) == 40
    assert len(fake.log) == 5


def test_a_limit_ends_the_rows(start: Start) -> None:
    fake, hub = start(*repos(50), page_rows=10)
    assert len(list(search_models(Filters(), limit=15, hub=hub))) == 15
    assert len(fake.log) == 2


def test_gguf_files_of_a_model_are_found(start: Start) -> None:
    tags = ("gguf", "base_model:quantized:org/base")
    _, hub = start(FakeRepo("a/x-GGUF", {}, tags), FakeRepo("b/x-GGUF", {}, tags), FakeRepo("c/other", {}))
    assert {row.id for row in gguf_repos_of("org/base", hub=hub)} == {"a/x-GGUF", "b/x-GGUF"}


def test_an_unknown_order_is_refused(start: Start) -> None:
    _, hub = start()
    with pytest.raises(SnugError, match="no order"):
        search_models(Filters(), sort="beauty", hub=hub)


@pytest.mark.parametrize(
    "row",
    [
        None, 3, [], {}, {"id": None}, {"id": "../../etc/passwd"}, {"id": "a/b/c"}, {"id": "a/b\n"}, {"id": "a--b/c"},
        {"id": "/absolute"}, {"id": "a/.."},
    ],
)  # fmt: skip
def test_what_is_no_model_is_no_row(row: object, start: Start) -> None:
    fake, hub = start()
    fake.faults = [Fault("/api/models*", status=200, body=json.dumps([row]).encode())]
    assert list(search_models(Filters(), hub=hub)) == []


def test_values_of_the_wrong_kind_are_left_out(start: Start) -> None:
    odd = {
        "id": "a/b", "author": 7, "downloads": "many", "likes": -3, "tags": [1, None, "license:\x1b[31mred\nx"],
        "gated": "perhaps", "safetensors": {"total": 1e300}, "gguf": [], "lastModified": ["now"], "sha": {},
    }  # fmt: skip
    fake, hub = start()
    fake.faults = [Fault("/api/models*", status=200, body=json.dumps([odd]).encode())]
    (row,) = search_models(Filters(), hub=hub)
    assert (row.author, row.downloads, row.likes, row.parameters, row.updated) == ("a", 0, 0, 0, "")
    assert (row.gated, row.has_gguf, row.commit) == ("", False, "")
    assert row.licence.isprintable()


def test_a_next_page_on_another_server_is_not_asked_for(start: Start) -> None:
    fake, hub = start(token="hf_full")
    other, _ = start()
    link = {"Link": f'<{other.url}/api/models?cursor=2>; rel="next"'}
    fake.faults = [Fault("/api/models*", status=200, body=b"[]", headers=link)]
    assert list(search_models(Filters(), hub=hub)) == []
    assert other.log == []


def test_pages_that_lead_in_a_circle_end(start: Start) -> None:
    fake, hub = start()
    link = {"Link": f'<{fake.url}/api/models?cursor=2>; rel="next"'}
    fake.faults = [Fault("/api/models*", -1, status=200, body=b'[{"id": "a/b"}]', headers=link)]
    assert len(list(search_models(Filters(), hub=hub))) == 2


def test_a_failing_search_is_a_clear_error(start: Start) -> None:
    fake, hub = start()
    fake.faults = [Fault("/api/*", -1, status=503)]
    with pytest.raises(JobFailed, match="status 503"):
        list(search_models(Filters(), hub=hub))
