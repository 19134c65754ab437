"""One virtual environment per rival, made once, so that no rival decides about the versions of another."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

__all__ = ["RIVALS", "Environment", "Unavailable", "python_of", "versions_in"]

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """What a rival needs.

    Attributes:
        name: of the folder.
        title: of the rival, for people.
        packages: requirements for pip, with what they depend on.
        bare_packages: requirements that are installed without what they depend on.
        pinned: packages that get the version that the project's ``constraints.txt`` names.
        check: a Python statement that must run there.
        worker: the script that measures it.
        variables: environment variables of that script.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    pinned: tuple[str, ...]
    check: str
    worker: str
    variables: tuple[tuple[str, str], ...] = ()
    bare_packages: tuple[str, ...] = ()

    @property
    def named(self) -> frozenset[str]:
        """Names of the packages that are asked for, what they depend on left out."""
        requirements = (*self.packages, *self.bare_packages, *self.pinned)
        return frozenset(re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements)


# recsys-recoder 0.4.0 names packages that no longer install; what it uses is installed in current versions
RIVALS = {
    rival.name: rival
    for rival in (
        Environment(
            "recoder-0.4.0",
            "0.4.0",
            packages=(),
            bare_packages=("recsys-recoder==0.4.0",),
            pinned=("torch", "numpy", "scipy", "pandas", "pyarrow", "tqdm", "annoy"),
            check="import torch, scipy, pandas, pyarrow",
            worker="recoder_040.py",
        ),
        Environment(
            "implicit",
            "implicit",
            packages=("implicit==0.7.*", "threadpoolctl"),
            pinned=("numpy", "scipy"),
            check="import implicit.als",
            worker="implicit_side.py",
            # as its authors advise, and the best of the four splits of two threads that were tried
            variables=(("OPENBLAS_NUM_THREADS", "1"),),
        ),
        Environment(
            "irspack",
            "irspack",
            packages=("irspack",),
            pinned=("numpy", "scipy", "pandas"),
            check="import irspack",
            worker="irspack_side.py",
        ),
        Environment(
            "irspack-scipy-1.16",
            "irspack with scipy 1.16",
            packages=("irspack", "scipy==1.16.*"),
            pinned=("numpy", "pandas"),
            check="import irspack",
            worker="irspack_side.py",
        ),
        Environment(
            "recbole",
            "RecBole",
            packages=("recbole==1.2.1", "numpy<2", "setuptools<80"),
            pinned=("torch",),
            check="from recbole.model.general_recommender import MultiDAE",
            worker="recbole_side.py",
        ),
    )
}


class Unavailable(Exception):
    """A rival cannot be measured here; the message says why."""


def python_of(rival: str, folder: Path, *, may_install: bool = True) -> Path:
    """Returns the Python of a rival's environment, which is made in ``folder`` if it is not there yet.

    Args:
        rival: a key of ``RIVALS``.
        folder: of all environments.
        may_install: make it if it is missing or older than what is asked for; else it is taken as it is.

    Raises:
        Unavailable: if it does not install or does not run, or is missing and may not be made.
    """
    environment = RIVALS[rival]
    home = folder / environment.name
    python, stamp = home / "bin" / "python", home / "installed"
    if not may_install:
        if stamp.exists():
            return python
        raise Unavailable(f"{environment.title} is not installed in {folder.name}/")
    requirements = [*environment.packages, *_pinned(environment.pinned)]
    wanted = json.dumps([requirements, environment.bare_packages, environment.check, sys.version])
    wanted = hashlib.sha256(wanted.encode()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {environment.title} into {home} (once; takes minutes)", file=sys.stderr, flush=True)
    try:
        venv.create(home, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:  # Debian has ensurepip in a package of its own
        raise Unavailable(f"an environment for {environment.title} cannot be made: {error}") from error
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *requirements], f"{environment.title} does not install")
    if environment.bare_packages:
        _run([*pip, "--no-deps", *environment.bare_packages], f"{environment.title} does not install")
    _run([str(python), "-c", environment.check], f"{environment.title} does not run")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def versions_in(rival: str, folder: Path) -> dict[str, str]:
    """Returns the versions of the packages that a rival's environment names; nothing where it was not made."""
    homes = [str(path) for path in (folder / RIVALS[rival].name).glob("lib/python*/site-packages")]
    found = ((held.metadata["Name"], held.version) for held in distributions(path=homes))
    return {name: version for name, version in sorted(found) if name.lower() in RIVALS[rival].named}


def _pinned(names: Iterable[str]) -> list[str]:
    """Returns a requirement of the exact version in ``constraints.txt`` for each package."""
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = dict(line.split("==") for line in lines if "==" in line)
    return [f"{name}=={versions[name]}" for name in names]


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines[-1:] or ["no message"]
        raise Unavailable(f"{failure}: {errors[0]}")
