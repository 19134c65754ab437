from __future__ import annotations

import ctypes
import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recoder.ops import kernels
from recoder.ops.kernels import library, serve


def test_kernels_are_compiled_where_they_can_be():
    if platform.system() != "Linux" or shutil.which("gcc") is None:
        pytest.skip("needs GCC on Linux")
    assert library() is not None, "install the project again: pip install -e ."


def test_a_library_of_other_sources_is_as_none_at_all(monkeypatch):
    if library() is None:
        pytest.skip("no kernels are compiled")
    monkeypatch.setattr(kernels, "_digest", lambda: "0123456789abcdef")
    assert library.__wrapped__() is None


def test_a_library_that_cannot_be_loaded_is_as_none_at_all(monkeypatch, tmp_path):
    foreign = tmp_path / "kernels.so"
    foreign.write_text("no library")
    for path in (foreign, tmp_path / "missing.so"):
        monkeypatch.setattr(kernels, "_LIBRARY", path)
        assert library.__wrapped__() is None


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.zeros(3, 2), True),
        (torch.zeros(0, 2), True),
        (torch.zeros(2, 3).T, False),
        (torch.zeros(3, dtype=torch.float64), False),
        (torch.zeros(3, device="meta"), False),
    ],
)
def test_contiguous_tensors_in_host_memory_of_the_right_dtype_are_served(tensor, expected, monkeypatch):
    monkeypatch.setattr(kernels, "library", lambda: "some")
    assert serve(tensor) is expected
    monkeypatch.setattr(kernels, "library", lambda: None)
    assert not serve(tensor)


def test_they_compute_in_as_many_threads_as_torch():
    if library() is None:
        pytest.skip("no kernels are compiled")
    code = """
import pathlib
import torch
from recoder.ops.kernels.tables import AdamNumbers, adam_rows_
def count():
    return len(list(pathlib.Path('/proc/self/task').iterdir()))
torch.set_num_threads(1)  # so that what is made first starts none
table, *others = (torch.zeros(1000, 200) for _ in range(4))
rows, numbers = torch.arange(1000), AdamNumbers(1, 1, 1, 1, 1, 1, 0)
before = count()
for number in (1, 3):
    torch.set_num_threads(number)
    table + others[0]  # in threads that the kernels then take
    adam_rows_(table, *others[:2], rows, others[2], numbers)
    print(count() - before)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["0", "2"]


@pytest.fixture
def build():
    """The program that compiles the kernels."""
    if library() is None:
        pytest.skip("no kernels are compiled")
    place = Path(__file__).parents[3] / "hatch_build.py"
    spec = importlib.util.spec_from_file_location("hatch_build", place)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    return build


@pytest.mark.parametrize(("own", "named"), [("no-such-compiler", None), (None, "no-such-compiler")])
def test_gcc_is_looked_for_where_python_was_compiled_by_another_unless_one_is_named(build, own, named, monkeypatch):
    tried = []
    monkeypatch.setattr(
        build, "_compiled_by", lambda compiler, folder, place: tried.append(compiler) or "it is not there"
    )
    monkeypatch.setattr(build.sysconfig, "get_config_var", lambda name: own)
    monkeypatch.setenv("CC", named) if named else monkeypatch.delenv("CC", raising=False)
    assert build.compile_kernels(Path(), Path()) == "it is not there"
    assert tried == ([[named]] if named else [[own], ["gcc"]])


def test_where_one_file_needs_no_more_than_one_level_all_are_compiled_for_one(build, tmp_path, monkeypatch):
    compiler = tmp_path / "cc"  # GCC 11 knows levels as targets, but does not choose between them
    refuse = "*-DRECODER_ONE_LEVEL*) ;; *gram.c*) echo 'unknown target' >&2; exit 1 ;;"
    compiler.write_text(f'#!/bin/sh\ncase "$*" in {refuse} esac\nexec gcc "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    flags = [flag for flag in build.FLAGS if flag != "-O3"]
    monkeypatch.setattr(build, "FLAGS", [*flags, "-O1", "-Wall", "-Wextra", "-Werror"])
    compiled = tmp_path / "kernels.so"
    assert build.compile_kernels(Path(kernels.__file__).parent, compiled) is None
    loaded = ctypes.CDLL(str(compiled))
    # with products there must be those of the Gram loss too
    assert loaded.factor_losses_served() == 0
    assert not hasattr(loaded, "gram_pass")
    for name in ("adam_rows", "finish_gram", "order_by_column", "top_k_f32"):
        assert hasattr(loaded, name)
