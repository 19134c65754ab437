"""Checks that a wheel is typed, says what is compiled in it, and holds the package and nothing else."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

wheel = Path(sys.argv[1])
with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()

KERNELS = "recoder/ops/kernels/kernels.so"
is_pure = wheel.name.endswith("-py3-none-any.whl")
foreign = [name for name in names if not name.startswith(("recoder/", "recsys_recoder-"))]
problems = {
    "it is tied to a version of Python": "-py3-none-" not in wheel.name,
    f"its name and {KERNELS} do not agree": is_pure == (KERNELS in names),
    "GCC is here, but nothing is compiled": is_pure and sys.platform == "linux" and shutil.which("gcc") is not None,
    "recoder/py.typed is missing": "recoder/py.typed" not in names,
    f"it holds files from outside the package: {foreign}": bool(foreign),
    "it holds cached or other compiled files": any(
        name.endswith((".pyc", ".so", ".o")) for name in {*names} - {KERNELS}
    ),
    "the licence is missing": not any(name.endswith("/licenses/LICENSE") for name in names),
    "the README is not its description": len(metadata.partition("\n\n")[2].strip()) < 200,
}
found = [problem for problem, holds in problems.items() if holds]
if found:
    sys.exit(f"{wheel.name}: " + "; ".join(found))
