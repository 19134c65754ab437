from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recoder import _files
from recoder._files import append, atomic_folder, atomic_write, check_writable, in_own_folder, move, replace_folder
from recoder.errors import FileWriteError


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def write_and_raise(path, error):
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise error


def test_writes_the_file_and_makes_its_folders(tmp_path):
    path = tmp_path / "deep" / "er" / "model.bin"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename within one file system
    assert path.read_bytes() == b"new"
    assert names_in(path.parent) == ["model.bin"]


def test_takes_a_string(tmp_path):
    with atomic_write(str(tmp_path / "model.bin")) as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "model.bin").read_bytes() == b"new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_and_raise(path, error)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["model.bin"]


def test_an_interrupt_while_syncing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["model.bin"]


def test_the_file_is_synced_before_it_takes_the_name(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    synced = []
    fsync = os.fsync

    def record(descriptor):
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
        name = str(temporary)
    assert synced == [(name, False), (str(tmp_path), True)]


def test_an_os_error_inside_becomes_a_write_error(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    with pytest.raises(FileWriteError, match=r"model\.bin: No space left") as caught:
        write_and_raise(path, OSError(28, "No space left on device"))
    assert caught.value.errno == 28
    assert isinstance(caught.value, OSError)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["model.bin"]


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"in the way")
    path = tmp_path / "file" / "model.bin"
    with pytest.raises(FileWriteError, match=r"cannot write .*choose a folder"), atomic_write(path):
        pytest.fail("nothing can be written there")
    assert names_in(tmp_path) == ["file"]


def test_a_folder_is_not_written_over(tmp_path):
    (tmp_path / "model.bin").mkdir()
    for path in (tmp_path / "model.bin", "", "."):
        with pytest.raises(FileWriteError, match=r"it is a folder; .* pass the path of a file"), atomic_write(path):
            pytest.fail("a folder stands there")
        with pytest.raises(FileWriteError, match="it is a folder"):
            check_writable(path)
    assert names_in(tmp_path) == ["model.bin"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FileWriteError, match="Permission denied"), atomic_write(tmp_path / "model.bin"):
            pytest.fail("the folder is read-only")
    finally:
        tmp_path.chmod(0o700)


def test_the_file_can_be_read_by_whom_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "model.bin") as temporary:
            temporary.write_bytes(b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "model.bin").stat().st_mode & 0o777 == 0o640


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from recoder._files import append, atomic_write, move
from recoder.errors import FileWriteError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with atomic_write(sys.argv[1]) as temporary:
        temporary.write_bytes(b"x" * 1_000_000)
except FileWriteError as error:
    print(error)
    sys.exit(7)
"""


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    run = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 7, run.stderr
    assert "cannot write" in run.stdout
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["model.bin"]


def test_appending_adds_at_the_end_and_a_failure_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    append(path, b"one\n")
    append(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FileWriteError, match="No space left on device; what it held it still holds"):
        append(path, b"three\n")
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(FileWriteError, match="cannot write"):
        append(tmp_path / "no folder" / "lines", b"one\n")


def test_moving_replaces_a_file_and_a_failure_is_said(tmp_path):
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    move(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"new"
    assert names_in(tmp_path) == ["old"]
    with pytest.raises(FileWriteError, match="cannot write"):
        move(tmp_path / "new", tmp_path / "old")


def write_in_own_folder_and_interrupt(path):
    with in_own_folder(path) as inner:
        inner.write_bytes(b"half")
        raise KeyboardInterrupt


class TestInOwnFolder:
    def test_the_file_takes_the_place_and_the_permissions_of_the_path(self, tmp_path):
        path = tmp_path / "model.bin"
        path.touch(mode=0o640)
        with in_own_folder(path) as inner:
            inner.touch(mode=0o600)
            inner.write_bytes(b"new")
        assert path.read_bytes() == b"new"
        assert path.stat().st_mode & 0o777 == 0o640
        assert names_in(tmp_path) == ["model.bin"]

    def test_whatever_is_written_beside_the_file_lies_under_a_name_that_begins_with_the_path(self, tmp_path):
        path = tmp_path / ".model.bin.tmp"
        path.touch()
        with in_own_folder(path) as inner:
            inner.with_name(".tmp123").touch()
            inner.touch()
            assert all(name.startswith(".model.bin.tmp") for name in names_in(tmp_path))
        assert names_in(tmp_path) == [".model.bin.tmp"]

    def test_an_error_leaves_the_path_as_it_was(self, tmp_path):
        path = tmp_path / "model.bin"
        path.write_bytes(b"old")
        with pytest.raises(KeyboardInterrupt):
            write_in_own_folder_and_interrupt(path)
        assert path.read_bytes() == b"old"
        assert names_in(tmp_path) == ["model.bin"]


class TestReplacingAFolder:
    """One that is there makes room for another of its name."""

    @pytest.fixture(params=["exchanged", "renamed twice"])
    def way(self, request, monkeypatch):
        if request.param == "renamed twice":
            monkeypatch.setattr(_files, "_exchanged", lambda one, other: False)

    @staticmethod
    def make(folder, text):
        folder.mkdir()
        (folder / "mark").write_text(text)
        return folder

    @pytest.mark.usefixtures("way")
    @pytest.mark.parametrize("old", ["folder", "file", "nothing"])
    def test_the_new_one_has_the_name_and_nothing_else_is_left(self, tmp_path, old):
        target = tmp_path / "it"
        if old == "folder":
            self.make(target, "old")
        elif old == "file":
            target.write_text("old")
        replace_folder(self.make(tmp_path / "whole", "new"), target)
        assert (target / "mark").read_text() == "new"
        assert names_in(tmp_path) == ["it"]

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two names at once")
    def test_the_name_is_never_missing(self, tmp_path):
        target, is_over, missed = self.make(tmp_path / "it", "first"), threading.Event(), []

        def look():
            while not is_over.is_set():
                if not (target / "mark").exists():
                    missed.append(1)

        looks = threading.Thread(target=look)
        looks.start()
        for _ in range(100):
            with atomic_folder(target, "mark") as folder:
                (folder / "mark").write_text("next")
        is_over.set()
        looks.join()
        assert not missed

    @pytest.mark.parametrize("is_exchanged", [True, False])
    def test_whoever_is_killed_meanwhile_has_the_new_one_or_the_old_one_aside(
        self, tmp_path, monkeypatch, is_exchanged
    ):
        if is_exchanged and sys.platform != "linux":
            pytest.skip("only Linux exchanges two names at once")
        target, whole = self.make(tmp_path / "it", "old"), self.make(tmp_path / "whole", "new")

        def kill(*_, **__):
            raise KeyboardInterrupt

        if is_exchanged:
            monkeypatch.setattr(_files.shutil, "rmtree", kill)
        else:
            monkeypatch.setattr(_files, "_exchanged", lambda one, other: False)
            monkeypatch.setattr(Path, "unlink", kill)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(whole, target)
        monkeypatch.undo()
        if is_exchanged:
            assert (target / "mark").read_text() == "new"
        else:
            assert (tmp_path / f".it{_files.BEFORE}" / "mark").read_text() == "old"
