"""A server on this machine that hands out small data sets in their owners' formats."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dataset_files import LENGTHS, ORIGINALS, TEST_LINES, TRAIN_LINES, tarred, zipped
from recoder.data.readers import catalogue
from recoder.data.readers.info import Download


class LocalServer:
    """Serves bytes by path; can break off, refuse ranges, and change what it has."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tag: str | None = '"one"'
        self.ranges = True
        self.stop_after: int | None = None
        self.status: int | None = None
        self.requests: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._httpd.server_port}"
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        body = self.files.get(request.path)
        if body is None or self.status is not None:
            request.send_error(self.status or 404)
            return
        start = 0
        holds = request.headers.get("If-Range") == self.tag
        if wanted is not None and self.ranges and holds:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(body)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        if self.tag is not None:
            request.send_header("ETag", self.tag)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        end = len(body) if self.stop_after is None else start + self.stop_after
        request.wfile.write(body[start:end])
        request.close_connection = True

    def close(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("RECODER_CACHE_DIR", raising=False)
    made = LocalServer()
    yield made
    made.close()


@pytest.fixture
def serve(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts the files of a data set on the local server, in place of those of its owner."""

    def put(name: str, files: dict[str, bytes], checksum: str | None = None) -> None:
        info = catalogue.DATASETS[name]
        server.files |= {f"/{file}": body for file, body in files.items()}
        downloads = tuple(Download(f"{server.url}/{file}", checksum, len(body)) for file, body in files.items())
        lengths = {file: LENGTHS[file] for file in info.lengths}
        made = dataclasses.replace(info, downloads=downloads, lengths=lengths)
        monkeypatch.setitem(catalogue.DATASETS, name, made)

    return put


@pytest.fixture
def archives() -> dict[str, dict[str, bytes]]:
    """What the owners' servers have, by data set and file name."""
    made = {}
    for name, files in ORIGINALS.items():
        (download,) = catalogue.DATASETS[name].downloads
        pack = tarred if download.file_name.endswith(".tar.gz") else zipped
        made[name] = {download.file_name: pack(files)}
    for name in ("gowalla", "yelp2018", "amazon-book"):
        made[name] = {"train.txt": TRAIN_LINES, "test.txt": TEST_LINES}
    return made
