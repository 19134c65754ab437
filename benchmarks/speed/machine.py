"""What numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["BF16_FLAGS", "current_commit", "describe_machine", "has_bf16", "measured_on"]

BF16_FLAGS = ("avx512_bf16", "amx_bf16")

_TOLD_FLAGS = ("avx2", "avx512f", "avx512_vnni", *BF16_FLAGS, "amx_tile")


def describe_machine() -> dict[str, Any]:
    """Returns processor, cores, memory and system as JSON values; nothing that names the machine."""
    cpu = _cpu_info()
    flags = cpu.get("flags", "").split()
    return {
        "processor": cpu.get("model name", platform.machine()),
        "family, model": f"{cpu.get('cpu family', '?')}, {cpu.get('model', '?')}",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "flags": [flag for flag in _TOLD_FLAGS if flag in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def has_bf16(machine: dict[str, Any]) -> bool:
    """Whether the processor multiplies bfloat16 matrices by itself."""
    return any(flag in machine["flags"] for flag in BF16_FLAGS)


def measured_on(*, threads: int | None = None, written: Sequence[str] = ()) -> str:
    """Returns the line below a table: when, at which commit, on what and with what it was measured.

    Args:
        threads: of the process that was measured; None: the table tells.
        written: as for ``current_commit``.
    """
    about = describe_machine()
    family, number = about["family, model"].split(", ")
    return (
        f"Measured on {datetime.now(timezone.utc):%Y-%m-%d} at commit {current_commit(written)}: {about['processor']}, "
        f"family {family}, model {number} ({', '.join(about['flags'])}); {about['cores']} cores"
        f"{'' if threads is None else f', {threads} threads'}; {about['memory_gib']} GiB; {about['system']}; "
        f"Python {about['python']}; torch {version('torch')}."
    )


def current_commit(written: Sequence[str]) -> str:
    """Returns the commit that runs, and whether files differ from it; a question mark outside a repository.

    Args:
        written: paths whose changes do not count, since the benchmark itself makes them.
    """
    git = ["git", "-C", str(Path(__file__).parents[2])]
    others = ["--", ".", *(f":!{path}" for path in written)]
    found = [
        subprocess.run([*git, *command], capture_output=True, text=True, check=False)
        for command in (
            ["rev-parse", "--short=12", "HEAD"],
            ["status", "--porcelain", "--untracked-files=no", *others],
        )
    ]
    if any(done.returncode for done in found):
        return "?"
    return found[0].stdout.strip() + (" and changes" if found[1].stdout.strip() else "")


def _cpu_info() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    first: dict[str, str] = {}
    for key, value in pairs:
        first.setdefault(key.strip(), value.strip())
    return first
