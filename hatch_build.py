"""Compiles the kernels of `recoder.ops` while the package is built or installed; without GCC it is pure Python."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

KERNELS = "src/recoder/ops/kernels"
LIBRARY = "kernels.so"
FLAGS = ["-std=gnu11", "-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-fvisibility=default"]


class CompiledKernels(BuildHookInterface[Any]):
    """Adds the shared library to wheels, and to the source folder for editable installs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles; a failure leaves a package that computes everything in PyTorch."""
        if self.target_name != "wheel":
            return
        folder = Path(self.root) / KERNELS
        (folder / LIBRARY).unlink(missing_ok=True)
        if platform.system() != "Linux":
            return  # elsewhere the compiler at hand has no OpenMP that PyTorch's threads would serve
        problem = compile_kernels(folder)
        if problem:
            self.app.display_warning(f"the kernels are not compiled, PyTorch's operations replace them: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(platform_tags())}"  # no part of Python is called
        build_data["artifacts"].append(f"{KERNELS}/{LIBRARY}")


def compile_kernels(folder: Path) -> str | None:
    """Compiles the C files of a folder into a library there; returns what prevents it, or None."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]
    try:
        macros = _output([*compiler, "-dM", "-E", "-x", "c", os.devnull])
        if "__clang__" in macros or "__GNUC__" not in macros:
            return f"{compiler[0]} is not GCC, whose OpenMP PyTorch brings along"
        partial = folder / f"{LIBRARY}.partial"
        sources = sorted(str(path) for path in folder.glob("*.c"))
        objects = [str(partial.with_name(Path(source).stem + ".o")) for source in sources]
        try:
            command = [*compiler, *FLAGS, f'-DRECODER_SOURCES="{sources_digest(folder)}"']
            for source, compiled in zip(sources, objects, strict=True):
                _compile_for_every_level(command, ["-c", source, "-o", compiled])
            # not linked with OpenMP: its symbols are found in the one that PyTorch has loaded, and computes with
            _output([*compiler, "-shared", *objects, "-o", str(partial), "-lm"])
            partial.replace(folder / LIBRARY)
        finally:
            for path in (partial, *map(Path, objects)):
                path.unlink(missing_ok=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        return (said or str(error)).strip().splitlines()[-1]
    return None


def sources_digest(folder: Path) -> str:
    """Returns what the library says it was compiled from, so that a test can tell an old one."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile_for_every_level(command: list[str], files: list[str]) -> None:
    try:
        _output([*command, *files])
    except subprocess.CalledProcessError:  # an old compiler, or a C library that cannot choose when it loads
        _output([*command, "-DRECODER_ONE_LEVEL", *files])


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
