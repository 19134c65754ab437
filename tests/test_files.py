from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recoder import _files
from recoder._files import append, atomic_folder, atomic_write, check_writable, move, replace_folder, reserve
from recoder.errors import FileWriteError


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def is_marked(folder):
    return (folder / "mark").is_file()


def interrupt(*_, **__):
    raise KeyboardInterrupt


def write_and_raise(path, error):
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise error


def test_writes_the_file_and_makes_its_folders(tmp_path):
    path = tmp_path / "deep" / "er" / "model.bin"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
        assert temporary.parent.parent == path.parent  # a rename within one file system
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
            with atomic_folder(target, is_marked) as folder:
                (folder / "mark").write_text("next")
        is_over.set()
        looks.join()
        assert not missed

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two names at once")
    def test_whoever_is_killed_meanwhile_has_the_new_one(self, tmp_path, monkeypatch):
        target, whole = self.make(tmp_path / "it", "old"), self.make(tmp_path / "whole", "new")
        monkeypatch.setattr(_files.shutil, "rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(whole, target)
        assert (target / "mark").read_text() == "new"

    @pytest.mark.parametrize("is_killed", [True, False])
    def test_between_two_renamings_the_old_one_comes_back_or_lies_aside(self, tmp_path, monkeypatch, is_killed):
        target, whole = self.make(tmp_path / "it", "old"), self.make(tmp_path / "whole", "new")
        rename, calls = Path.rename, []

        def fail(path, to):
            calls.append(to)
            if len(calls) == 2 or (is_killed and len(calls) > 2):  # after a kill nothing runs
                raise KeyboardInterrupt
            return rename(path, to)

        monkeypatch.setattr(_files, "_exchanged", lambda one, other: False)
        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(whole, target)
        monkeypatch.undo()
        there = tmp_path / f".it{_files.BEFORE}" if is_killed else target
        assert (there / "mark").read_text() == "old"

    def test_it_is_synced_and_a_failure_after_the_renaming_says_that_it_is_in_place(self, tmp_path, monkeypatch):
        target, whole = self.make(tmp_path / "it", "old"), self.make(tmp_path / "whole", "new")

        def fail(descriptor):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(FileWriteError, match="the new one is in place"):
            replace_folder(whole, target)
        assert (target / "mark").read_text() == "new"

    def test_what_cannot_be_removed_is_told_and_does_no_harm(self, tmp_path, monkeypatch, caplog):
        target, whole = self.make(tmp_path / "it", "old"), self.make(tmp_path / "whole", "new")

        def fail(path):
            raise OSError(errno.EBUSY, "Device or resource busy")

        monkeypatch.setattr(_files.shutil, "rmtree", fail)
        replace_folder(whole, target)
        assert (target / "mark").read_text() == "new"
        assert "what was there before stays in" in caplog.text


class TestLinks:
    def test_the_file_that_a_link_leads_to_is_replaced(self, tmp_path):
        real = tmp_path / "big" / "model.bin"
        real.parent.mkdir()
        real.write_bytes(b"old")
        link = tmp_path / "current.bin"
        link.symlink_to(real)
        with atomic_write(link) as temporary:
            assert temporary.parent.parent == real.parent
            temporary.write_bytes(b"new")
        assert link.is_symlink()
        assert real.read_bytes() == b"new"

    def test_the_folder_that_a_link_leads_to_is_replaced(self, tmp_path):
        real = tmp_path / "big" / "plays"
        real.mkdir(parents=True)
        (real / "mark").write_text("old")
        link = tmp_path / "plays"
        link.symlink_to(real)
        with atomic_folder(link, is_marked) as folder:
            (folder / "mark").write_text("new")
        assert link.is_symlink()
        assert (real / "mark").read_text() == "new"
        assert names_in(real.parent) == ["plays"]

    def test_a_device_is_not_replaced(self):
        with pytest.raises(FileWriteError, match=r"it is a device or a pipe; .* pass the path of a file"):
            check_writable(os.devnull)
        with pytest.raises(FileWriteError, match="it is a device"), atomic_write(os.devnull):
            pytest.fail("a device stands there")


class TestPermissions:
    @pytest.mark.parametrize("mode", [0o600, 0o444, 0o664])
    def test_a_new_file_has_those_of_the_old_one_and_is_never_wider(self, tmp_path, mode):
        path = tmp_path / "model.bin"
        path.write_bytes(b"old")
        path.chmod(mode)
        with atomic_write(path) as temporary:
            assert temporary.parent.stat().st_mode & 0o777 == 0o700
            temporary.write_bytes(b"new")
        assert path.stat().st_mode & 0o777 == mode
        assert path.read_bytes() == b"new"


def test_a_folder_of_another_kind_stays(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "other").write_text("precious")
    with pytest.raises(FileWriteError, match="something else is there, and stays"), atomic_folder(target, is_marked):
        pytest.fail("something else is there")
    assert names_in(tmp_path) == ["target"]


def test_a_folder_that_appears_while_another_is_written_stays(tmp_path):
    target = tmp_path / "target"

    def write():
        with atomic_folder(target, is_marked):
            target.mkdir()
            (target / "other").write_text("precious")

    with pytest.raises(FileWriteError, match="something else is there, and stays"):
        write()
    assert names_in(tmp_path) == ["target"]
    assert (target / "other").read_text() == "precious"


@pytest.mark.parametrize("has_fallocate", [True, False])
def test_what_is_reserved_is_a_file_of_that_size_that_is_written_from_its_start(tmp_path, monkeypatch, has_fallocate):
    if not has_fallocate:
        monkeypatch.delattr(os, "posix_fallocate")
        monkeypatch.setattr(_files, "_BLOCK_BYTES", 1000)
    with (tmp_path / "file").open("w+b") as file:
        reserve(file, 2500)
        assert (tmp_path / "file").stat().st_size == 2500
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new" + bytes(2497)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_file_system_that_cannot_sync_folders_is_good_enough(tmp_path, monkeypatch, number):
    fsync = os.fsync

    def of_files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    path = tmp_path / "model.bin"
    expected = pytest.raises(FileWriteError, match="in place") if number == errno.EIO else contextlib.nullcontext()
    with expected, atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
