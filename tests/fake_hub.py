"""A Hub for the tests: search, files at commits, redirects to a storage server on another origin, and faults on order.

    with FakeHub([FakeRepo("org/model", {"config.json": b"{}"})]) as fake:
        fake.faults.append(Fault("*model.safetensors*", cut_after=1000))
        ...
        assert fake.paths() == [...]

Small files are kept in git and handed out by the Hub itself, after a redirect; those of `LFS_FROM` bytes on, and all
weights, by the storage server, under signed addresses that `expire` makes worthless.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode, urlsplit

LFS_FROM = 1 << 20
WEIGHTS = (".safetensors", ".gguf", ".bin")
PIECE = 1 << 16


@dataclass
class FakeRepo:
    """A model. `files` is its newest state; `push` makes another one, and the older stays to be had by its commit."""

    id: str
    files: Mapping[str, bytes]
    tags: tuple[str, ...] = ("safetensors",)
    gated: str = ""
    private: bool = False
    row: dict[str, Any] = field(default_factory=dict)
    listed: list[dict[str, Any]] | None = None
    older: dict[str, Mapping[str, bytes]] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        return commit_of(self.files)

    def push(self, files: Mapping[str, bytes]) -> None:
        self.older[self.commit] = self.files
        self.files = files

    def at(self, revision: str) -> Mapping[str, bytes] | None:
        return self.files if revision in ("main", self.commit) else self.older.get(revision)


def commit_of(files: Mapping[str, bytes]) -> str:
    state = hashlib.sha1()
    for name, data in sorted(files.items()):
        state.update(f"{name!r}:{blob_id(data)}".encode())
    return state.hexdigest()


_HASHES: dict[tuple[int, str], tuple[bytes, str]] = {}


def _hash(data: bytes, kind: str) -> str:
    """Computed once for each object: the files of a test are large, and asked for again and again."""
    known = _HASHES.get((id(data), kind))
    if known is None or known[0] is not data:
        state = hashlib.sha256(data) if kind == "sha256" else hashlib.sha1(b"blob %d\0" % len(data) + data)
        known = _HASHES[id(data), kind] = (data, state.hexdigest())
    return known[1]


def blob_id(data: bytes) -> str:
    return _hash(data, "sha1")


def sha256(data: bytes) -> str:
    return _hash(data, "sha256")


def is_lfs(name: str, data: bytes) -> bool:
    return len(data) >= LFS_FROM or name.endswith(WEIGHTS)


def sibling(name: str, data: bytes) -> dict[str, Any]:
    """How the Hub lists a file."""
    entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob_id(data)}
    if is_lfs(name, data):
        entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
    return entry


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path matches; -1: with all. Offsets in its body."""

    path: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0
    rate: int = 0
    cut_after: int = -1
    reset: bool = False
    stall_after: int = -1
    flip_at: int = -1
    declare: int = 0
    shift: int = 0
    no_range: bool = False
    location: str = ""


@dataclass
class Record:
    """A request and what it got: `start` is the offset in the file of the first of the `sent` bytes."""

    method: str
    path: str
    host: str
    token: str
    range: str
    status: int = 0
    start: int = 0
    sent: int = 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are what these tests are about."""


class FakeHub:
    """`url` is the Hub's, `storage_url` that of the storage server. Requests are kept in `log`.

    `rate`: bytes a second of each connection; `latency`: seconds before each answer; `send_buffer`: bytes that count as
    sent while they have not left.
    """

    def __init__(
        self,
        repos: Iterable[FakeRepo] = (),
        *,
        rate: int = 0,
        latency: float = 0,
        page_rows: int = 20,
        send_buffer: int = 0,
    ) -> None:
        self.repos = {repo.id: repo for repo in repos}
        self.tokens = {"hf_full": ("ada", True), "hf_plain": ("bob", False)}
        self.rate, self.latency, self.page_rows, self.send_buffer = rate, latency, page_rows, send_buffer
        self.faults: list[Fault] = []
        self.log: list[Record] = []
        self.signature = 1
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._servers = [_Server(("127.0.0.1", 0), handler), _Server(("127.0.0.1", 0), handler)]
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def __enter__(self) -> FakeHub:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def expire(self) -> None:
        """From here on no address signed so far is good any more."""
        self.signature += 1

    def take_fault(self, path: str) -> Fault:
        with self.lock:
            for fault in self.faults:
                if fault.times and fnmatchcase(path, fault.path):
                    fault.times -= 1
                    return fault
        return Fault("")

    def paths(self) -> list[str]:
        return [record.path for record in self.log]

    def sent(self, pattern: str = "*") -> int:
        """Bytes of bodies sent for the paths that match."""
        return sum(record.sent for record in list(self.log) if fnmatchcase(record.path, pattern))


class _Done(Exception):
    """The answer is out."""


class _Handler(BaseHTTPRequestHandler):
    fake: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        if size := self.fake.send_buffer:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        super().setup()

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        host, range_ = self.headers.get("Host", ""), self.headers.get("Range", "")
        self.record = Record(self.command, self.path, host, token, range_)
        self.fake.log.append(self.record)
        self.fault = self.fake.take_fault(self.path)
        time.sleep(self.fault.delay or self.fake.latency)
        try:
            if self.fault.location:
                self.answer(302, headers={"Location": self.fault.location})
            if self.fault.status:
                self.answer(self.fault.status, self.fault.body, self.fault.headers)
            self.route(urlsplit(self.path).path)
            self.answer(404)
        except _Done:
            pass

    do_HEAD = do_GET  # noqa: N815 - what http.server calls

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.record.status = status
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.record.sent = len(body)
        raise _Done

    def json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        body, headers = json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers = gzip.compress(body, 1), {**headers, "Content-Encoding": "gzip"}
        self.answer(200, body, headers)

    def refuse(self, status: int, code: str, message: str = "") -> None:
        self.answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def route(self, path: str) -> None:
        name = r"(?P<id>[^/]+/[^/]+)"
        for pattern, action in (
            (r"/api/whoami-v2", self.whoami),
            (r"/api/models", self.search),
            (rf"/api/models/{name}/revision/(?P<rev>[^/]+)", self.info),
            (rf"/api/models/{name}/safetensors-metadata/(?P<file>.+)", self.headers_of_all),
            (rf"/{name}/resolve/(?P<rev>[^/]+)/(?P<file>.+)", self.resolve),
            (rf"/api/resolve-cache/models/{name}/(?P<rev>[^/]+)/(?P<file>.+)", self.small),
            (r"/storage/(?P<hash>[0-9a-f]{64})", self.stored),
        ):
            if match := re.fullmatch(pattern, path):
                action(**{key: unquote(value) for key, value in match.groupdict().items()})
                return

    # ---- who may see what

    @property
    def account(self) -> tuple[str, bool] | None:
        if self.record.token and self.record.token not in self.fake.tokens:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        return self.fake.tokens.get(self.record.token)

    def visible(self, id: str, *, content: bool = False) -> FakeRepo:
        repo, account = self.fake.repos.get(id), self.account
        may = bool(account and account[1])
        if repo is None or (repo.private and not may):
            self.refuse(404 if account else 401, "RepoNotFound", "Repository not found")
        assert repo is not None
        if content and repo.gated and not may:
            what = "you are not in the authorized list" if account else "You must be authenticated"
            self.refuse(403 if account else 401, "GatedRepo", f"Access to model {id} is restricted. {what}.")
        return repo

    def files(self, repo: FakeRepo, rev: str) -> Mapping[str, bytes]:
        found = repo.at(rev)
        if found is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        assert found is not None
        return found

    def whoami(self) -> None:
        account = self.account
        if account is None:
            self.refuse(401, "", "Invalid username or password.")
        assert account is not None
        token = {"displayName": "of the tests", "role": "read"}
        self.json({"name": account[0], "orgs": [{"name": "org"}], "auth": {"accessToken": token}})

    # ---- models

    def search(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        rows = [repo for repo in self.fake.repos.values() if not repo.private]
        text, author = asked.get("search", [""])[0].lower(), asked.get("author", [""])[0]
        rows = [repo for repo in rows if text in repo.id.lower() and (not author or repo.id.startswith(author + "/"))]
        rows = [repo for repo in rows if all(tag in repo.tags for tag in asked.get("filter", []))]
        order = asked.get("sort", ["trendingScore"])[0]
        rows.sort(key=lambda repo: (repo.row.get(order, 0), repo.id), reverse=True)
        at, count = int(asked.get("cursor", ["0"])[0]), min(int(asked["limit"][0]), self.fake.page_rows)
        headers = {}
        if at + count < len(rows):
            rest = [pair for pair in parse_qsl(urlsplit(self.path).query) if pair[0] != "cursor"]
            more = urlencode([*rest, ("cursor", at + count)])
            headers["Link"] = f'<{self.fake.url}/api/models?{more}>; rel="next"'
        self.json([self.row(repo) for repo in rows[at : at + count]], headers)

    def row(self, repo: FakeRepo) -> dict[str, Any]:
        own = {"id": repo.id, "sha": repo.commit, "tags": list(repo.tags), "private": repo.private}
        return {**own, "gated": repo.gated or False, **repo.row}

    def info(self, id: str, rev: str) -> None:
        repo = self.visible(id)
        files = self.files(repo, rev)
        listed = repo.listed if repo.listed is not None else [sibling(*item) for item in files.items()]
        self.json({**self.row(repo), "sha": commit_of(files), "siblings": listed})

    def headers_of_all(self, id: str, file: str) -> None:
        files = self.visible(id, content=True).files
        if file not in files:
            self.refuse(404, "EntryNotFound")
        index = json.loads(files[file])
        names = sorted(set(index["weight_map"].values()))
        self.json({"index": {"metadata": {}}, "headers": {name: json.loads(_header(files[name])) for name in names}})

    # ---- files

    def resolve(self, id: str, rev: str, file: str) -> None:
        files = self.files(self.visible(id, content=True), rev)
        if file not in files:
            self.refuse(404, "EntryNotFound", "Entry not found")
        data, commit = files[file], {"X-Repo-Commit": commit_of(files)}
        if is_lfs(file, data):
            place = f"{self.fake.storage_url}/storage/{sha256(data)}?name={quote(file)}&signature={self.fake.signature}"
            self.answer(302, headers={**commit, "Location": place, "X-Linked-Etag": f'"{sha256(data)}"'})
        self.answer(307, headers={**commit, "Location": f"/api/resolve-cache/models/{id}/{rev}/{quote(file)}"})

    def small(self, id: str, rev: str, file: str) -> None:
        self.send(self.files(self.visible(id, content=True), rev)[file])

    def stored(self, hash: str) -> None:
        if self.record.token:
            self.answer(400, b"a token at the storage server")
        if parse_qs(urlsplit(self.path).query).get("signature") != [str(self.fake.signature)]:
            self.answer(403, b"expired")
        for repo in self.fake.repos.values():
            for files in (repo.files, *repo.older.values()):
                for name, data in files.items():
                    if is_lfs(name, data) and sha256(data) == hash:
                        self.send(data)

    def send(self, data: bytes) -> None:
        fault, start, end = self.fault, 0, len(data)
        match = None if fault.no_range else re.fullmatch(r"bytes=(\d+)-(\d*)", self.record.range)
        if match:
            start, end = int(match[1]), min(int(match[2] or end - 1) + 1, end)
            if start >= len(data):
                self.answer(416, headers={"Content-Range": f"bytes */{len(data)}"})
        self.record.status, self.record.start = 206 if match else 200, start
        self.send_response(self.record.status)
        if match:
            at = start + fault.shift
            self.send_header("Content-Range", f"bytes {at}-{end - 1 + fault.shift}/{len(data) + fault.declare}")
        self.send_header("Content-Length", str(end - start + fault.declare))
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.pour(memoryview(data)[start:end], fault)
        if fault.declare:
            self.hang_up(reset=False)
        raise _Done

    def pour(self, data: memoryview, fault: Fault) -> None:
        rate, began = fault.rate or self.fake.rate, time.monotonic()
        most = PIECE if self.fake.send_buffer else len(data)  # what is about to be sent counts as sent
        step = min(PIECE, max(1, rate // 50)) if rate else most
        stop = min(count for count in (fault.cut_after, fault.stall_after, len(data)) if count >= 0)
        for at in range(0, stop, step or 1):
            piece = data[at : min(at + step, stop)]
            if at <= fault.flip_at < at + len(piece):
                flipped = bytearray(piece)
                flipped[fault.flip_at - at] ^= 1
                piece = memoryview(flipped)
            self.record.sent += len(piece)
            self.wfile.write(piece)
            if rate and (ahead := began + (at + len(piece)) / rate - time.monotonic()) > 0:
                time.sleep(ahead)
        if 0 <= fault.stall_after < len(data):
            self.connection.recv(1)  # until the client leaves
        if stop < len(data):
            self.hang_up(reset=fault.reset)

    def hang_up(self, *, reset: bool) -> None:
        self.wfile.flush()
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        raise _Done


def _header(data: bytes) -> bytes:
    return data[8 : 8 + int.from_bytes(data[:8], "little")]
