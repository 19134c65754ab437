"""Checks that a wheel is pure Python, typed, and holds the package and nothing else."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

wheel = Path(sys.argv[1])
with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()

foreign = [name for name in names if not name.startswith(("recoder/", "recsys_recoder-"))]
problems = {
    "it is not a py3-none-any wheel": not wheel.name.endswith("-py3-none-any.whl"),
    "recoder/py.typed is missing": "recoder/py.typed" not in names,
    f"it holds files from outside the package: {foreign}": bool(foreign),
    "it holds compiled or cached files": any(name.endswith((".pyc", ".so")) for name in names),
    "the licence is missing": not any(name.endswith("/licenses/LICENSE") for name in names),
    "the README is not its description": len(metadata.partition("\n\n")[2].strip()) < 200,
}
found = [problem for problem, holds in problems.items() if holds]
if found:
    sys.exit(f"{wheel.name}: " + "; ".join(found))
