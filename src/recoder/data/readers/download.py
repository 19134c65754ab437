"""Downloads that go on where they stopped (RFC 9110, sections 13.1.5 and 14)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from tqdm.auto import tqdm

from recoder._locks import held_alone
from recoder.errors import DownloadError, FileFormatError, FileWriteError

__all__ = ["Downloader"]

_BLOCK_BYTES = 1 << 14  # when the connection breaks, the block that was being read is lost
_TIMEOUT_S = 30


class Downloader:
    """Downloads a file, as ``pooch`` asks for it; one that was cut off is continued if the server agrees.

    What has arrived is kept in a file of its own, with the server's mark of the version beside it. The rest is asked
    for on the condition that this mark still holds, so that two versions are never joined.

    Args:
        part: where to keep what has arrived.
        max_bytes: the most that is taken.
        progress: whether to show how far it is.
    """

    def __init__(self, part: Path, *, max_bytes: int, progress: bool) -> None:
        self._part, self._max_bytes, self._progress = part, max_bytes, progress
        self._mark = part.with_name(f"{part.name}.mark")

    def __call__(self, url: str, output_file: str | os.PathLike[str], pooch: Any) -> None:
        """Downloads ``url`` to ``output_file``.

        Raises:
            DownloadError: if it fails; what has arrived is kept.
            FileFormatError: if it is larger than it should be; nothing of it is kept.
            FileWriteError: if what arrives cannot be written, for example because the disk is full.
        """
        import requests

        try:
            with self._alone() as file:
                try:
                    self._fetch(requests, url, file)
                except requests.RequestException as error:  # an OSError too
                    raise DownloadError(f"cannot download {url}: {error}; {self._advice(file)}") from error
                except FileFormatError:
                    self._mark.unlink(missing_ok=True)
                    self._part.unlink(missing_ok=True)
                    raise
                file.flush()
                # before the lock is released: another process would start to write to this very file
                self._mark.unlink(missing_ok=True)
                self._part.replace(output_file)
        except DownloadError:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"cannot write {self._part}: {reason}; free some space, or choose a cache that you may write to"
            raise FileWriteError(error.errno or 0, message) from error

    def _advice(self, file: IO[bytes]) -> str:
        there = file.tell()
        if there and self._mark.is_file() and self._mark.read_text("utf8"):
            return f"{there:,} bytes have arrived and are kept: try again to go on from there"
        return "try again later, or get the file elsewhere and pass its path as folder"

    def _fetch(self, requests: Any, url: str, file: IO[bytes]) -> None:
        there = file.seek(0, os.SEEK_END)
        mark = self._mark.read_text("utf8") if there and self._mark.is_file() else ""
        # not compressed on the way, or else the counts of bytes would be others
        headers = {"Accept-Encoding": "identity"}
        if mark:
            headers |= {"Range": f"bytes={there}-", "If-Range": mark}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            goes_on = response.status_code == requests.codes.partial_content
            if mark and response.status_code == requests.codes.requested_range_not_satisfiable:
                if response.headers.get("Content-Range", "").strip() == f"bytes */{there}":
                    return  # all of it is there
                file.truncate(0)
                return self._fetch(requests, url, file)
            response.raise_for_status()
            if not goes_on:
                there = 0
                file.truncate(there)
                self._mark.write_text(_version(response.headers), "utf8")
            total = _total(response.headers, there, goes_on=goes_on)
            self._check_size(url, max(there, total or 0))
            file.seek(there)
            with self._bar(there, total) as bar:
                for block in response.iter_content(_BLOCK_BYTES):
                    self._check_size(url, file.tell() + len(block))  # the server need not have said so
                    file.write(block)
                    bar.update(len(block))
        if total is not None and file.tell() != total:
            raise requests.ConnectionError(f"the connection ended after {file.tell():,} of {total:,} bytes")

    def _check_size(self, url: str, num_bytes: int) -> None:
        if num_bytes > self._max_bytes:
            raise FileFormatError(
                f"what comes from {url} has {num_bytes:,} bytes or more, and should have at most {self._max_bytes:,}; "
                "nothing of it is kept: try once more, or get the file elsewhere and pass its path as folder"
            )

    @contextmanager
    def _alone(self) -> Iterator[IO[bytes]]:
        """Opens the file of what has arrived, unless another process is writing to it."""
        with ExitStack() as stack:
            try:
                stack.enter_context(held_alone(self._part))
            except BlockingIOError as error:
                raise DownloadError(f"another process is downloading to {self._part}; wait until it is done") from error
            yield stack.enter_context(self._part.open("ab+"))

    def _bar(self, there: int, total: int | None) -> Any:
        name = self._part.name.removesuffix(".part")
        shown = {"unit": "B", "unit_scale": True, "disable": not self._progress}
        return tqdm(desc=name, initial=there, total=total, **shown)


def _version(headers: Any) -> str:
    """Returns what the server calls this version of the file; empty where that is nothing to rely on."""
    if _is_encoded(headers):
        return ""  # what is kept is decoded: its length says nothing about where to go on
    tag = headers.get("ETag", "")
    # a weak tag stands for files that differ
    return str(tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", ""))


def _total(headers: Any, there: int, *, goes_on: bool) -> int | None:
    """Returns how many bytes the file has, where the server says so."""
    if goes_on:
        match = re.fullmatch(rf"bytes {there}-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
        if match is None:
            raise DownloadError(
                f"the server sent {headers.get('Content-Range')!r} where the bytes from {there} on were asked for; "
                "remove the .part file and try again"
            )
        return int(match[1]) if match[1] != "*" else None
    length = None if _is_encoded(headers) else headers.get("Content-Length")
    return int(length) if length is not None else None


def _is_encoded(headers: Any) -> bool:
    """Returns whether the server compressed the file on the way though it was asked not to."""
    return headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
