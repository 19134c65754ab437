from __future__ import annotations

import builtins
import errno
import hashlib
import logging

import numpy as np
import pytest

from dataset_files import ORIGINALS, zipped
from recoder._locks import held_alone
from recoder.data import load_dataset
from recoder.data.readers import cache
from recoder.errors import ConfigError, DownloadError, FileFormatError, FileWriteError, MissingDependencyError

NAME, FILE = "lastfm-2k", "hetrec2011-lastfm-2k.zip"


@pytest.fixture
def body():
    """An archive with enough noise in it that it takes several blocks."""
    return zipped(ORIGINALS[NAME] | {"noise": np.random.default_rng(0).bytes(200_000)})


def checksum(body):
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def load(tmp_path, **kwargs):
    return load_dataset(NAME, cache=tmp_path, progress=False, **kwargs)


def test_second_call_downloads_nothing(serve, server, body, tmp_path):
    serve(NAME, {FILE: body}, checksum(body))
    load(tmp_path)
    load(tmp_path)
    load(tmp_path, download=False)
    assert len(server.requests) == 1
    assert [path.name for path in (tmp_path / NAME).iterdir()] == [FILE]


def test_terms_are_shown_once_before_a_download(serve, body, tmp_path, caplog):
    serve(NAME, {FILE: body}, checksum(body))
    for _ in range(2):
        load(tmp_path)
    shown = [record for record in caplog.records if "terms" in record.getMessage()]
    assert len(shown) == 1
    assert "Not for commercial use; cite Last.fm" in shown[0].getMessage()
    assert shown[0].levelno == logging.WARNING


def test_environment_names_the_cache(serve, body, tmp_path, monkeypatch):
    serve(NAME, {FILE: body}, checksum(body))
    monkeypatch.setenv("RECODER_CACHE_DIR", str(tmp_path / "elsewhere"))
    load_dataset(NAME, progress=False)
    assert (tmp_path / "elsewhere" / NAME / FILE).read_bytes() == body


def test_platforms_cache_is_the_last_resort(serve, body, tmp_path, monkeypatch):
    serve(NAME, {FILE: body}, checksum(body))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load_dataset(NAME, progress=False)
    assert (tmp_path / "recoder" / NAME / FILE).read_bytes() == body


def test_what_is_missing_is_not_downloaded_unasked(serve, server, body, tmp_path):
    serve(NAME, {FILE: body})
    with pytest.raises(FileNotFoundError, match=r"lastfm-2k is not in the cache.*pass download=True"):
        load(tmp_path, download=False)
    assert server.requests == []


@pytest.mark.parametrize("vouched", [True, False])
def test_file_with_another_checksum_is_refused_and_removed(vouched, serve, server, body, tmp_path):
    serve(NAME, {FILE: body}, checksum(body) if vouched else None)
    load(tmp_path)
    (tmp_path / NAME / FILE).unlink()
    server.files[f"/{FILE}"] = body + b"!"
    with pytest.raises(FileFormatError, match=r"has not the checksum sha256:.*was removed") as caught:
        load(tmp_path)
    assert ("recorded in" in str(caught.value)) == (not vouched)
    assert not list((tmp_path / NAME).glob("*.zip*part*"))
    assert not (tmp_path / NAME / FILE).exists()
    server.files[f"/{FILE}"] = body
    load(tmp_path)


def test_first_checksum_is_recorded_where_nobody_vouches_for_one(serve, server, body, tmp_path):
    serve(NAME, {FILE: body})
    load(tmp_path)
    record = tmp_path / NAME / f"{FILE}.sha256"
    assert record.read_text() == f"{hashlib.sha256(body).hexdigest()}  {FILE}\n"
    load(tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("wrong", [b"<html>Please sign in</html>", b""])
def test_what_cannot_be_read_is_not_kept_where_nobody_vouches_for_it(wrong, serve, server, body, tmp_path):
    serve(NAME, {FILE: wrong})
    for _ in range(2):
        with pytest.raises(FileFormatError, match="the next call gets it anew"):
            load(tmp_path)
        assert list((tmp_path / NAME).iterdir()) == []
    server.files[f"/{FILE}"] = body
    load(tmp_path)
    assert (tmp_path / NAME / f"{FILE}.sha256").exists()


def test_a_download_may_not_be_much_larger_than_the_file_is_known_to_be(serve, server, body, tmp_path):
    serve(NAME, {FILE: body}, checksum(body))
    server.files[f"/{FILE}"] = body + bytes(2 << 20)
    with pytest.raises(FileFormatError, match=rf"should have at most {len(body) + (1 << 20):,}; nothing of it is kept"):
        load(tmp_path)
    assert list((tmp_path / NAME).iterdir()) == []
    server.files[f"/{FILE}"] = body
    load(tmp_path)


@pytest.mark.parametrize("vouched", [True, False])
def test_file_that_changed_in_the_cache_is_downloaded_anew(vouched, serve, server, body, tmp_path, caplog):
    serve(NAME, {FILE: body}, checksum(body) if vouched else None)
    load(tmp_path)
    path = tmp_path / NAME / FILE
    path.write_bytes(body[:-1])
    load(tmp_path)
    assert path.read_bytes() == body
    assert "changed or damaged" in caplog.text
    assert len(server.requests) == 2


def test_interrupted_download_resumes(serve, server, body, tmp_path):
    serve(NAME, {FILE: body}, checksum(body))
    server.stop_after = 60_000
    with pytest.raises(DownloadError, match="49,152 bytes have arrived and are kept: try again"):
        load(tmp_path)
    with pytest.raises(DownloadError, match="98,304 bytes"):
        load(tmp_path)
    server.stop_after = None
    load(tmp_path)
    assert [wanted for _, wanted in server.requests] == [None, "bytes=49152-", "bytes=98304-"]
    assert (tmp_path / NAME / FILE).read_bytes() == body
    assert [path.name for path in (tmp_path / NAME).iterdir()] == [FILE]


@pytest.mark.parametrize("case", ["no ranges", "no mark", "weak mark", "changed"])
def test_download_starts_again_where_it_cannot_go_on(case, serve, server, body, tmp_path):
    serve(NAME, {FILE: b"an older version" * 5000 if case == "changed" else body})
    server.tag = {"no mark": None, "weak mark": 'W/"one"'}.get(case, '"one"')
    server.ranges = case != "no ranges"
    server.stop_after = 60_000
    with pytest.raises(DownloadError):
        load(tmp_path)
    server.stop_after = None
    if case == "changed":
        server.files[f"/{FILE}"], server.tag = body, '"two"'
    load(tmp_path)
    assert (tmp_path / NAME / FILE).read_bytes() == body


@pytest.mark.parametrize("num_there", [0, 7])
def test_download_that_was_complete_is_not_repeated(num_there, serve, server, body, tmp_path):
    serve(NAME, {FILE: body}, checksum(body))
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / f"{FILE}.part").write_bytes(body + b"x" * num_there)
    (folder / f"{FILE}.part.mark").write_text(server.tag)
    load(tmp_path)
    assert (folder / FILE).read_bytes() == body
    assert len(server.requests) == (2 if num_there else 1)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_server_that_refuses_is_named(status, serve, server, body, tmp_path):
    serve(NAME, {FILE: body})
    server.status = status
    with pytest.raises(DownloadError, match=f"cannot download http://127.0.0.1.*{status}"):
        load(tmp_path)


def test_server_that_is_gone_is_an_error_too(serve, server, body, tmp_path):
    serve(NAME, {FILE: body})
    server.close()
    with pytest.raises(DownloadError, match="cannot download"):
        load(tmp_path)


def test_range_of_another_place_is_refused(serve, server, body, tmp_path, monkeypatch):
    serve(NAME, {FILE: body})
    server.stop_after = 60_000
    with pytest.raises(DownloadError):
        load(tmp_path)
    answer = server.answer

    def wrong(request):
        header = request.send_header
        request.send_header = lambda name, value: header(name, "bytes 5-9/10" if name == "Content-Range" else value)
        answer(request)

    monkeypatch.setattr(server, "answer", wrong)
    with pytest.raises(DownloadError, match=r"'bytes 5-9/10' where the bytes from 49152 on"):
        load(tmp_path)


def test_two_processes_do_not_write_one_file(serve, body, tmp_path):
    serve(NAME, {FILE: body})
    (tmp_path / NAME).mkdir()
    part = tmp_path / NAME / f"{FILE}.part"
    with held_alone(part), pytest.raises(DownloadError, match="another process is downloading"):
        load(tmp_path)
    load(tmp_path)


def test_progress_is_shown_where_it_is_wanted(serve, body, tmp_path, capsys):
    serve(NAME, {FILE: body})
    load(tmp_path)
    assert FILE not in capsys.readouterr().err
    load_dataset(NAME, cache=tmp_path / "again", progress=True)
    assert FILE in capsys.readouterr().err


def test_missing_extra_is_named_with_the_command(serve, body, tmp_path, monkeypatch):
    serve(NAME, {FILE: body}, checksum(body))
    load(tmp_path)
    import_module = builtins.__import__

    def without_pooch(name, *args, **kwargs):
        if name == "pooch":
            raise ImportError(name)
        return import_module(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pooch)
    load(tmp_path)  # what is there needs none
    for kwargs in ({"cache": tmp_path / "empty"}, {}):
        with pytest.raises(MissingDependencyError, match=r'pip install "recsys-recoder\[datasets\]"'):
            load_dataset(NAME, **kwargs)


def test_cache_that_cannot_be_written_is_named(serve, body, tmp_path):
    serve(NAME, {FILE: body})
    (tmp_path / "file").write_text("")
    with pytest.raises(FileWriteError, match="cannot write"):
        load(tmp_path / "file")


def test_cache_of_the_wrong_kind_is_refused():
    with pytest.raises(ConfigError, match="cache is 5"):
        load_dataset(NAME, cache=5)


NEGATIVE = b"userID\tartistID\tweight\n1\t2\t-3\n"


@pytest.mark.parametrize(
    "files", [{"notes.txt": b"moved"}, {"user_artists.dat": NEGATIVE, "artists.dat": b"id\tname\n"}]
)
def test_what_nobody_vouches_for_and_cannot_be_used_is_got_anew(files, serve, server, body, tmp_path):
    serve(NAME, {FILE: zipped(files)}, None)
    with pytest.raises(FileFormatError, match="what was downloaded is removed: the next call gets it anew"):
        load(tmp_path)
    assert not (tmp_path / NAME / FILE).exists()


def test_without_downloads_what_cannot_be_used_stays(serve, tmp_path):
    broken = zipped({"notes.txt": b"moved"})
    serve(NAME, {FILE: broken}, None)
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / FILE).write_bytes(broken)
    with pytest.raises((FileFormatError, FileNotFoundError)) as error:
        load(tmp_path, download=False)
    assert "removed" not in str(error.value)
    assert (tmp_path / NAME / FILE).read_bytes() == broken


def test_what_cannot_be_used_nor_removed_is_said_as_it_is(serve, tmp_path, monkeypatch):
    serve(NAME, {FILE: zipped({"notes.txt": b"moved"})}, None)

    unlink = cache.Path.unlink

    def refused(path, missing_ok=False):
        if path.name == FILE:
            raise PermissionError(errno.EACCES, "read-only")
        unlink(path, missing_ok)

    monkeypatch.setattr(cache.Path, "unlink", refused)
    with pytest.raises((FileFormatError, FileNotFoundError)) as error:
        load(tmp_path)
    assert "removed" not in str(error.value)


def test_an_empty_record_of_a_checksum_is_none(serve, body, tmp_path):
    serve(NAME, {FILE: body}, None)
    load(tmp_path)
    record = tmp_path / NAME / f"{FILE}.sha256"
    record.write_text("")
    load(tmp_path)
    assert record.read_text().startswith(hashlib.sha256(body).hexdigest())


def test_a_cache_that_may_only_be_read_serves(serve, body, tmp_path, monkeypatch):
    serve(NAME, {FILE: body})
    load(tmp_path)
    for record in (tmp_path / NAME).glob("*.sha256"):
        record.unlink()

    def refused(path):
        raise FileWriteError(f"cannot write {path}")

    monkeypatch.setattr(cache, "atomic_write", refused)
    assert load(tmp_path, download=False).num_users > 0


def test_without_downloads_a_changed_file_is_said_and_stays(serve, body, tmp_path):
    serve(NAME, {FILE: body}, checksum(body))
    load(tmp_path)
    path = tmp_path / NAME / FILE
    path.write_bytes(body + b"changed")
    with pytest.raises(FileFormatError, match=r"was changed or damaged after its download.* pass download=True"):
        load(tmp_path, download=False)
    assert path.read_bytes() == body + b"changed"


def test_records_of_other_programs_count(serve, body, tmp_path):
    serve(NAME, {FILE: body})
    load(tmp_path)
    (record,) = (tmp_path / NAME).glob("*.sha256")
    record.write_text(record.read_text().upper())
    assert load(tmp_path, download=False).num_users > 0
    (tmp_path / NAME / FILE).write_bytes(body + b"changed")
    with pytest.raises(FileFormatError, match="was changed or damaged"):
        load(tmp_path, download=False)
    (tmp_path / NAME / FILE).write_bytes(body)
    record.write_text("SHA256 (file) = 12\n")  # of a form that is not known: as if there were none
    assert load(tmp_path, download=False).num_users > 0
