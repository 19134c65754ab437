from __future__ import annotations

import errno
import fcntl
import gzip
import os
from pathlib import Path

import pytest

from recoder._locks import held_alone
from recoder.data.readers.download import Downloader
from recoder.errors import DownloadError, FileFormatError, FileWriteError

BODY = b"0123456789" * 10_000


@pytest.fixture
def fetch(server, tmp_path):
    server.files["/file"] = BODY

    def call() -> bytes:
        downloader = Downloader(tmp_path / "file.part", max_bytes=1 << 20, progress=False)
        downloader(f"{server.url}/file", tmp_path / "file", None)
        return (tmp_path / "file").read_bytes()

    return call


def test_file_takes_its_place_while_it_is_still_locked(fetch, tmp_path, monkeypatch):
    replace = type(tmp_path).replace

    def locked_replace(path, target):
        with pytest.raises(BlockingIOError), held_alone(path):
            pass
        return replace(path, target)

    monkeypatch.setattr(type(tmp_path), "replace", locked_replace)
    assert fetch() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_while_another_process_downloads_it_is_an_error(fetch, tmp_path):
    with (
        held_alone(tmp_path / "file.part"),
        pytest.raises(DownloadError, match=r"another process is .*file\.part; wait"),
    ):
        fetch()
    assert not (tmp_path / "file.part").exists()
    assert fetch() == BODY


def test_where_the_file_system_has_no_locks_it_downloads(fetch, monkeypatch):
    def no_locks(file, flags):
        raise OSError(errno.ENOSYS, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert fetch() == BODY


@pytest.mark.parametrize("status", [404, 416])
def test_refusal_does_not_promise_to_go_on(status, fetch, server):
    server.status = status
    with pytest.raises(DownloadError, match=rf"{status}.*; try again later, or get the file elsewhere"):
        fetch()
    assert len(server.requests) == 1


@pytest.mark.parametrize("cut", [False, True])
def test_file_that_the_server_compresses_is_whole(cut, fetch, server, monkeypatch):
    server.files["/file"] = gzip.compress(os.urandom(100_000) if cut else BODY)
    answer = server.answer

    def encoded(request):
        send = request.send_response
        request.send_response = lambda code: (send(code), request.send_header("Content-Encoding", "gzip"))
        answer(request)

    monkeypatch.setattr(server, "answer", encoded)
    if cut:
        server.stop_after = 60_000
        with pytest.raises(DownloadError, match="try again later"):
            fetch()
        server.stop_after, server.files["/file"] = None, gzip.compress(BODY)
    assert fetch() == BODY
    assert [wanted for _, wanted in server.requests] == [None] * (1 + cut)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_named(fetch, tmp_path):
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(FileWriteError, match=r"cannot write .*file\.part: .*free some space"):
        fetch()


@pytest.mark.parametrize("says_so", [True, False])
def test_what_is_larger_than_it_should_be_is_not_downloaded(says_so, fetch, server, tmp_path, monkeypatch):
    server.files["/file"] = bytes(3 << 20)
    answer = server.answer

    def silent(request):
        send = request.send_header
        request.send_header = lambda name, value: None if name == "Content-Length" else send(name, value)
        answer(request)

    if not says_so:
        monkeypatch.setattr(server, "answer", silent)
    with pytest.raises(FileFormatError, match=r"should have at most 1,048,576; nothing of it is kept"):
        fetch()
    assert list(tmp_path.iterdir()) == []
    server.files["/file"] = BODY
    assert fetch() == BODY
