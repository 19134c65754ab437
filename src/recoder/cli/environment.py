"""What there is to compute with: this machine, the installed packages, and what is missing."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from recoder import __version__
from recoder._memory import available_bytes
from recoder.ops.kernels import library

__all__ = ["environment", "print_environment"]

_DISTRIBUTION = "recsys-recoder"
_OUR_OWN_TOOLS = ("dev", "docs")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*extra == ['\"](?P<extra>[\w-]+)['\"]")


def environment() -> dict[str, Any]:
    """Returns it as JSON values."""
    has_cuda = torch.cuda.is_available()
    return {
        "recoder": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "free_memory": available_bytes(),
        "kernels": library() is not None,
        "cuda": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())] if has_cuda else [],
        "packages": [
            {"name": name, "extra": extra, "version": _version(name)} for name, extra in _optional_packages().items()
        ],
    }


def print_environment(console: Console, found: dict[str, Any]) -> None:
    """Prints it for people."""
    free = found["free_memory"]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("recoder", f"{found['recoder']}, Python {found['python']}, {found['platform']}")
    facts.add_row(
        "torch", f"{found['torch']}, {found['threads']} threads on {found['cores']} cores, {found['instructions']}"
    )
    facts.add_row("memory", "unknown" if free is None else f"{free / 2**30:.1f} GiB free")
    facts.add_row(
        "kernels", "compiled" if found["kernels"] else "not compiled: PyTorch's operations replace them, slower"
    )
    facts.add_row("CUDA", ", ".join(found["cuda"]) or "no device")
    console.print(facts)
    console.print()
    packages = Table("optional package", "version", "or else")
    for package in found["packages"]:
        is_there = package["version"] is not None
        packages.add_row(
            package["name"],
            package["version"] or "not installed",
            "" if is_there else f'pip install "{_DISTRIBUTION}\\[{package["extra"]}]"',
        )
    console.print(packages)


def _optional_packages() -> dict[str, str]:
    """Returns the packages that extras bring, each with the smallest extra that does."""
    try:
        required = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from its sources
        return {}
    brought: dict[str, list[str]] = {}
    for match in filter(None, map(_REQUIREMENT.match, required)):
        if match["extra"] not in _OUR_OWN_TOOLS:
            brought.setdefault(match["extra"], []).append(match["name"])
    largest_first = sorted(brought.items(), key=lambda extra: -len(extra[1]))
    return dict(sorted({name: extra for extra, names in largest_first for name in names}.items()))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
