from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from recoder import _locks
from recoder._files import atomic_folder, atomic_write
from recoder._locks import held_alone, working_folder

pytest.importorskip("fcntl")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def of(descriptor):
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def left_beside(path, number="0123abcd", host=_locks._HOST):
    return path.with_name(f".{path.name}.{host}-{number}.tmp")


def write(how, path):
    if how == "file":
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"new")
    else:
        with atomic_folder(path, bool) as folder:
            (folder / "mark").write_bytes(b"new")


KILLED = """
import os, sys
from recoder._files import atomic_folder, atomic_write

how, path = sys.argv[1:]
with {"file": lambda: atomic_write(path), "folder": lambda: atomic_folder(path, bool)}[how]() as temporary:
    (temporary if how == "file" else temporary / "part").write_bytes(b"half of it")
    os.kill(os.getpid(), 9)
"""


class TestWorkingFolder:
    @pytest.mark.parametrize("how", ["file", "folder"])
    def test_what_a_killed_process_left_goes_when_the_same_is_written_again_and_nothing_else_does(self, tmp_path, how):
        path = tmp_path / "[ab]"
        killed = subprocess.run([sys.executable, "-c", KILLED, how, str(path)], check=False)
        assert killed.returncode == -9
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(f".[ab].{_locks._HOST}-")
        others = [
            left_beside(path).with_suffix(".tmp2"),
            left_beside(path, "0123abc"),
            left_beside(path, "0123abcg"),
            left_beside(path, host="00000000"),  # another machine's, which may be at work
            left_beside(tmp_path / "a"),
            left_beside(path).with_name(left_beside(path).name.removeprefix(".")),
        ]
        for other in others:
            other.mkdir()
        write(how, path)
        assert names_in(tmp_path) == sorted(["[ab]", *(other.name for other in others)])

    def test_a_file_that_is_a_part_of_another_goes_with_that(self, tmp_path):
        path = tmp_path / "index"
        with atomic_write(tmp_path / "index.0a1b.ann", part_of=path) as temporary:
            assert temporary.parent.name.startswith(f".index.{_locks._HOST}-")
            temporary.write_bytes(b"new")
        assert names_in(tmp_path) == ["index.0a1b.ann"]

    @pytest.mark.parametrize("how", ["file", "folder"])
    def test_who_writes_the_same_at_once_is_not_disturbed(self, tmp_path, how):
        path = tmp_path / "it"
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"first")
            write(how, tmp_path / "other")
            write("file", path)
            assert path.read_bytes() == b"new"
        assert path.read_bytes() == b"first"
        assert names_in(tmp_path) == ["it", "other"]

    @pytest.mark.parametrize("has_locks", [False, None])
    def test_one_that_is_locked_stays_and_so_do_all_where_there_are_no_locks(self, tmp_path, monkeypatch, has_locks):
        left = left_beside(tmp_path / "it")
        left.mkdir()
        take = _locks._take
        monkeypatch.setattr(_locks, "_take", lambda lock: has_locks if left.samefile(of(lock)) else take(lock))
        write("file", tmp_path / "it")
        assert names_in(tmp_path) == [left.name, "it"]

    def test_links_and_files_of_such_a_name_stay(self, tmp_path):
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "mark").touch()
        left_beside(tmp_path / "it").symlink_to(precious)
        left_beside(tmp_path / "it", "01234567").touch()
        write("file", tmp_path / "it")
        assert (precious / "mark").exists()
        assert len(names_in(tmp_path)) == 4

    @pytest.mark.parametrize("when", ["before it is open", "while it is open", "while it is being removed"])
    def test_one_that_another_process_takes_for_left_is_made_anew(self, tmp_path, monkeypatch, when):
        opened, take, taken = _locks._opened, _locks._take, []

        def open_late(path, flags):
            if when == "before it is open" and not taken:
                taken.append(path)
                path.rmdir()
            return opened(path, flags)

        def take_late(lock):
            if when != "before it is open" and not taken:
                taken.append(of(lock))
                taken[0].rmdir()
                return when == "while it is open"
            return take(lock)

        monkeypatch.setattr(_locks, "_opened", open_late)
        monkeypatch.setattr(_locks, "_take", take_late)
        write("file", tmp_path / "it")
        assert len(taken) == 1
        assert names_in(tmp_path) == ["it"]
        assert not _locks._held

    def test_one_that_cannot_be_opened_is_removed(self, tmp_path, monkeypatch):
        def fail(path, flags):
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(_locks, "_opened", fail)
        with pytest.raises(OSError, match="Too many open files"), working_folder(tmp_path / "it"):
            pytest.fail("it cannot be opened")
        assert names_in(tmp_path) == []

    @pytest.mark.parametrize("umask", [0o022, 0o177])
    def test_only_its_owner_looks_into_it_whatever_the_umask(self, tmp_path, umask):
        before = os.umask(umask)
        try:
            with working_folder(tmp_path / "it") as folder:
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        finally:
            os.umask(before)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
    def test_a_child_neither_holds_it_nor_ends_it(self, tmp_path):
        with working_folder(tmp_path / "it") as folder:
            child = os.fork()
            if not child:
                os._exit(len(_locks._held))
            assert os.waitpid(child, 0)[1] == 0
            assert folder.exists()
            assert _locks._held
        assert names_in(tmp_path) == []

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
    def test_a_childs_copy_of_the_block_removes_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_locks, "_held", set())
        with working_folder(tmp_path / "it") as folder:
            block = working_folder(tmp_path / "other")
            other = block.__enter__()
            with monkeypatch.context() as patch:
                patch.setattr(os, "getpid", lambda: -1)
                block.__exit__(None, None, None)
            assert other.exists()
            assert folder.exists()


HOLDING = """
import sys
from pathlib import Path
from recoder._locks import held_alone

with held_alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


class TestHeldAlone:
    @pytest.mark.parametrize("ends", ["by itself", "killed"])
    def test_it_is_for_one_process_at_a_time_until_that_ends_in_whatever_way(self, tmp_path, ends):
        (tmp_path / "link").symlink_to(tmp_path / "it")
        command = [sys.executable, "-c", HOLDING, str(tmp_path / "it")]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "held\n"
        for name in ("it", "link"):
            with pytest.raises(BlockingIOError), held_alone(tmp_path / name):
                pytest.fail("another process has it")
        with held_alone(tmp_path / "other"):
            pass
        if ends == "killed":
            process.kill()
        process.communicate()
        with held_alone(tmp_path / "it"):
            assert names_in(tmp_path) == [".it.lock", "link"]
        assert names_in(tmp_path) == ["link"]
        assert not _locks._held

    def test_a_file_that_goes_while_it_is_being_locked_is_made_anew(self, tmp_path, monkeypatch):
        take, taken = _locks._take, []

        def take_late(lock):
            if not taken:
                taken.append(of(lock))
                taken[0].unlink()
            return take(lock)

        monkeypatch.setattr(_locks, "_take", take_late)
        with held_alone(tmp_path / "it"), pytest.raises(BlockingIOError), held_alone(tmp_path / "it"):
            pytest.fail("it is held")
        assert len(taken) == 1
