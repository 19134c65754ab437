"""Compiles the kernels of `recoder.ops` while the package is built or installed; without GCC it is pure Python."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
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
        if self.target_name != "wheel" or platform.system() != "Linux":
            return  # elsewhere the compiler at hand has no OpenMP that PyTorch's threads would serve
        folder = Path(self.root) / KERNELS
        self._work = tempfile.TemporaryDirectory(prefix="recoder-kernels-")
        compiled = Path(self._work.name) / LIBRARY
        problem = compile_kernels(folder, compiled)
        if problem is None and version == "editable":
            problem = _put(compiled, folder / LIBRARY)
        if problem is not None:
            self.app.display_warning(f"the kernels are not compiled, PyTorch's operations replace them: {problem}")
            return
        if version != "editable":
            build_data["force_include"][str(compiled)] = f"recoder/ops/kernels/{LIBRARY}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(platform_tags())}"  # no part of Python is called

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what was compiled, which is in the wheel now."""
        if hasattr(self, "_work"):
            self._work.cleanup()


def compile_kernels(folder: Path, library: Path) -> str | None:
    """Compiles the C files of a folder into a library; returns what prevents it, or None."""
    named = os.environ.get("CC")
    # Python itself may have been compiled by another, or elsewhere
    candidates = [named] if named else list(dict.fromkeys([sysconfig.get_config_var("CC") or "cc", "gcc"]))
    reasons = []
    for candidate in candidates:
        reason = _compiled_by(shlex.split(candidate), folder, library)
        if reason is None:
            return None
        reasons.append(reason)
    return reasons[0]


def _compiled_by(compiler: list[str], folder: Path, library: Path) -> str | None:
    """Does what ``compile_kernels`` does, by this compiler."""
    try:
        macros = _output([*compiler, "-dM", "-E", "-x", "c", os.devnull])
        if "__clang__" in macros or "__GNUC__" not in macros:
            return f"{compiler[0]} is not GCC, whose OpenMP PyTorch brings along"
        command = [*compiler, *FLAGS, f'-DRECODER_SOURCES="{sources_digest(folder)}"']
        sources = sorted(folder.glob("*.c"))
        objects = [library.with_name(f"{source.stem}.o") for source in sources]
        pairs = list(zip(sources, objects, strict=True))
        try:
            _compile(command, pairs)
        except subprocess.CalledProcessError:  # an old compiler, or a C library that cannot choose when it loads
            _compile([*command, "-DRECODER_ONE_LEVEL"], pairs)  # all of them, since they count on one another
        # not linked with OpenMP: its symbols are found in the one that PyTorch has loaded, and computes with
        _output([*compiler, "-shared", *map(str, objects), "-o", str(library), "-lm"])
        if _machine(library) != _machine(Path(sys.executable).resolve()):
            return f"{compiler[0]} compiles for another machine than that of {sys.executable}"
    except (OSError, subprocess.CalledProcessError) as error:
        said = (error.stderr if isinstance(error, subprocess.CalledProcessError) else "").strip() or str(error)
        return said.splitlines()[-1]
    return None


def _machine(binary: Path) -> bytes:
    """Returns what the header of an ELF file says about its machine."""
    header = binary.read_bytes()[:20]
    return header[4:6] + header[18:20]


def _put(compiled: Path, place: Path) -> str | None:
    """Copies a file as a whole; returns what prevents it, or None."""
    partial = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        shutil.copyfile(compiled, partial)
        partial.replace(place)
    except OSError as error:
        return str(error)
    return None


def sources_digest(folder: Path) -> str:
    """Returns what the library says it was compiled from, so that an old one is not used."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(command: list[str], pairs: list[tuple[Path, Path]]) -> None:
    commands = [[*command, "-c", str(source), "-o", str(compiled)] for source, compiled in pairs]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_output, commands))  # raises what one of them raised


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
