"""A hub on this machine: the part of the Hugging Face hub's HTTP interface that fetching files uses."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" * 6 + "c0ff"
_ABOUT = re.compile(r"/api/(?P<kind>models|datasets)/(?P<id>[^/]+/[^/]+)/revision/(?P<revision>[^/?]+)")
_FILE = re.compile(rf"(?P<datasets>/datasets)?/(?P<id>[^/]+/[^/]+)/resolve/{COMMIT}/(?P<name>.+)")


class FakeHub(ThreadingHTTPServer):
    """Serves repositories of one branch: `organisation/name`, `datasets/` before it for data → file name → content."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.gated: set[str] = set()
        self.cut_after: int | None = None
        """Bytes after which the connection breaks in the middle of a file; None: never."""
        self.asked: list[str] = []
        """Names of the files whose content was asked for."""
        self.requests = 0
        """Of any kind."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def fake_hub(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[FakeHub]:
    hub = FakeHub(repositories)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        self.server.requests += 1
        if about := _ABOUT.fullmatch(self.path):
            self._about("datasets/" * (about["kind"] == "datasets") + about["id"], about["revision"])
        elif file := _FILE.fullmatch(self.path):
            self._file("datasets/" * bool(file["datasets"]) + file["id"], file["name"], with_body=with_body)
        else:
            self._refuse(404, "EntryNotFound")

    def _about(self, name: str, revision: str) -> None:
        if name not in self.server.repositories:
            self._refuse(404, "RepoNotFound")
        elif revision not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif name in self.server.gated:
            self._refuse(403, "GatedRepo")
        else:
            files = [{"rfilename": file} for file in self.server.repositories[name]]
            self._send(
                200, json.dumps({"id": name.removeprefix("datasets/"), "sha": COMMIT, "siblings": files}).encode()
            )

    def _file(self, name: str, file: str, *, with_body: bool) -> None:
        content = self.server.repositories[name][file]
        start = self.headers.get("Range")
        if with_body:
            self.server.asked.append(file)
        first = int(start.removeprefix("bytes=").partition("-")[0]) if start else 0
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes",
        }  # fmt: skip
        if start:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206 if start else 200, content[first:], headers=headers, with_body=with_body)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", headers={"X-Error-Code": code})

    def _send(
        self, status: int, body: bytes, *, headers: Mapping[str, str] | None = None, with_body: bool = True
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if not with_body:
            return
        limit = self.server.cut_after
        if limit is not None and len(body) > limit:
            self.wfile.write(body[:limit])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
