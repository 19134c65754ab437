from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from recoder import _memory
from recoder._memory import available_bytes, check_memory
from recoder.errors import NotEnoughMemoryError


def test_the_machine_says_how_much_is_free():
    free = available_bytes()
    if not sys.platform.startswith("linux"):
        assert free is None or free > 1 << 20
        return
    (total,) = re.findall(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert 1 << 20 < free <= int(total) * 1024


def test_a_control_group_may_leave_less(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000\ninactive_file 200000\nactive_file 300000\n")
    (tmp_path / "own").write_text("0::/slice\n")
    monkeypatch.setattr(_memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(_memory, "_OWN_GROUP", tmp_path / "own")
    assert available_bytes() == 3_000_000
    (tmp_path / "slice").mkdir()
    for name, text in (("max", "900000"), ("current", "400000"), ("stat", "")):
        (tmp_path / "slice" / f"memory.{name}").write_text(text)
    assert available_bytes() == 500_000
    (tmp_path / "slice" / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("6000000\n")
    assert available_bytes() == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes() is None or available_bytes() > 3_000_000


def test_what_does_not_fit_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(_memory, "available_bytes", lambda: 2 << 30)
    check_memory(2 << 30, "a table", "make it smaller")
    with pytest.raises(NotEnoughMemoryError, match=r"a table needs about 3\.0 GiB, and 2\.0 GiB are free; make it"):
        check_memory(3 << 30, "a table", "make it smaller")


def test_nothing_is_refused_where_nobody_knows(monkeypatch):
    monkeypatch.setattr(_memory, "available_bytes", lambda: None)
    check_memory(1 << 60, "a table", "make it smaller")
