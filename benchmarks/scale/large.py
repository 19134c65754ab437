"""More interactions than memory is allowed for: prepared, trained on, recommended from, each by its own process."""

from __future__ import annotations

import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

import recoder
from benchmarks.scale.memory import PeakMemory
from benchmarks.scale.running import run
from benchmarks.speed.lines import markdown_table
from recoder._random import epoch_order
from recoder.data import Interactions
from recoder.nn import DynamicAutoencoder

__all__ = ["measure"]

LIMIT_GIB = 2.0
FACTORS, BATCH, K = 64, 500, 10
ROWS_OF_FILE = 4_000_000
FULL = {"rows": 112_000_000, "users": 1_000_000, "items": 200_000, "memory_mib": 512, "steps": 200, "asked": 20_000}
QUICK = {"rows": 2_000_000, "users": 20_000, "items": 5_000, "memory_mib": 128, "steps": 20, "asked": 1_000}

_SECTION = """\
## More interactions than memory

{rows:,} rows in {files} Parquet files, made up: {users:,} users, of whom some have a hundred times as many as others,
and {items:,} items, whose popularity falls like a power; {interactions:,} different interactions. `from_parquet` writes
them to a folder within {memory_mib} MiB for DuckDB; an autoencoder with {factors} factors, sparse rows, adam and the
logistic loss with sampled candidates is trained for {steps} steps of {batch} users, drawn from all of them; the best
{k} items of {asked:,} users go to a file. Each is a process of its own, which may have no more than {limit:g} GiB of
memory beyond parameters and optimizer (`RLIMIT_DATA`, which counts all memory but what is mapped from files). Memory is
the most that was anonymous.

{table}"""


def measure(folder: Path, quick: bool) -> str:
    """Returns a section of the page.

    Args:
        folder: for files of about 4 GiB.
        quick: tiny sizes, to try the program.
    """
    task: dict[str, Any] = {**(QUICK if quick else FULL), "folder": str(folder / "large")}
    found = {stage: _run({**task, "stage": stage}) for stage in STAGES}
    rows = []
    for stage, measured in found.items():
        beyond = measured["peak_gib"] - measured["parameters_gib"]
        rows.append(
            (
                measured["what"],
                f"{measured['seconds']:.0f}",
                f"{measured['done'] / measured['seconds']:,.0f} {measured['unit']}",
                f"{measured['file_gib']:.2f}",
                f"{measured['peak_gib']:.2f}",
                f"{measured['parameters_gib']:.2f}",
                f"{beyond:.2f}" if stage != "generate" else "-",
            )
        )
    headings = ("what", "seconds", "a second", "file, GiB", "memory, GiB", "parameters, GiB", "beyond them, GiB")
    table = markdown_table(headings, rows, num_text_columns=1)
    interactions, files = found["train"]["interactions"], found["generate"]["files"]
    of_task = {key: task[key] for key in ("rows", "users", "items", "memory_mib", "steps", "asked")}
    more = {"factors": FACTORS, "batch": BATCH, "k": K, "limit": LIMIT_GIB, "table": table}
    return _SECTION.format(interactions=interactions, files=files, **of_task, **more)


def generate(task: dict[str, Any]) -> dict[str, Any]:
    """Writes rows in random order, a file at a time."""
    folder = Path(task["folder"]) / "plays"
    folder.mkdir(parents=True)
    of_user, of_item = _cumulative(task["users"], 0.6), _cumulative(task["items"], 0.9)
    starts = range(0, task["rows"], ROWS_OF_FILE)
    for number, start in enumerate(starts):
        rng = np.random.default_rng(number)
        size = min(ROWS_OF_FILE, task["rows"] - start)
        users, items = (np.searchsorted(shares, rng.random(size)) for shares in (of_user, of_item))
        # ids say nothing of popularity, and are not those of rows and columns
        table = pa.table({"user": users * 2_654_435_761 % 2**40, "item": items * 40_503 % 2**40})
        parquet.write_table(table, folder / f"{number:03}.parquet")
    return {"what": "making the files", "done": task["rows"], "unit": "rows", "files": len(starts), "written": folder}


def prepare(task: dict[str, Any]) -> dict[str, Any]:
    """Makes a folder of mapped interactions of the files."""
    folder = Path(task["folder"])
    data = Interactions.from_parquet(
        folder / "plays",
        user="user",
        item="item",
        mapped_to=folder / "mapped",
        memory_limit_mib=task["memory_mib"],
    )
    assert data.matrix.nnz <= task["rows"]
    return {"what": "preparing", "done": task["rows"], "unit": "rows", "written": folder / "mapped"}


def train(task: dict[str, Any]) -> dict[str, Any]:
    """Trains for some steps."""
    folder = Path(task["folder"])
    data = Interactions.open_mapped(folder / "mapped")
    fitted = recoder.fit(
        data,
        DynamicAutoencoder([FACTORS], sparse=True),
        seed=0,
        optimizer_type="adam",
        loss="logistic",
        batch_size=BATCH,
        negative_sampling=True,
        num_epochs=1,
        iters_per_epoch=task["steps"],
    )
    path = folder / "large.model"
    fitted.save(path)
    visited = epoch_order(0, 1, data.num_users)[: task["steps"] * BATCH]
    counts = {"done": int(np.diff(data.matrix.indptr)[visited].sum()), "interactions": int(data.matrix.nnz)}
    return {"what": "training", **counts, "unit": "interactions", "written": path}


def recommend(task: dict[str, Any]) -> dict[str, Any]:
    """Writes the best items of some users to a file."""
    folder = Path(task["folder"])
    fitted = recoder.load(folder / "large.model")
    asked = Interactions.open_mapped(folder / "mapped").select_users(np.arange(task["asked"]))
    path = folder / "lists.parquet"
    assert fitted.recommend_to_file(path, K, histories=asked) == K * task["asked"]
    return {"what": "recommending", "done": task["asked"], "unit": "users", "written": path}


STAGES = {made.__name__: made for made in (generate, prepare, train, recommend)}


def main(task: dict[str, Any]) -> None:
    """Does one of these within the limit, and prints what it took as JSON."""
    torch.set_num_threads(2)
    # of both tables and their biases; Adam has twice as many numbers
    parameters = 4 * task["items"] * (2 * FACTORS + 1) * {"train": 3, "recommend": 1}.get(task["stage"], 0)
    _load_libraries()
    _limit_memory(int(LIMIT_GIB * 2**30) + parameters)
    started = time.perf_counter()
    with PeakMemory() as memory:
        found = STAGES[task["stage"]](task)
    found["seconds"] = time.perf_counter() - started
    written = found.pop("written")
    files = list(written.iterdir()) if written.is_dir() else [written]
    found["file_gib"] = sum(file.stat().st_size for file in files) / 2**30
    found |= {"peak_gib": memory.peak_anonymous_gib, "parameters_gib": parameters / 2**30}
    print(json.dumps(found), flush=True)


def _load_libraries() -> None:
    """Lets libraries set aside what they do when they are first used."""
    with tempfile.TemporaryDirectory() as folder:
        parquet.write_table(pa.table({"user": [1], "item": [1]}), f"{folder}/one.parquet")
        Interactions.from_parquet(f"{folder}/one.parquet", user="user", item="item", mapped_to=f"{folder}/one")


def _limit_memory(size: int) -> None:
    """Lets this process have so much memory that is not mapped from files, what it has already included.

    The system counts what libraries have set aside when they are loaded, such as stacks of threads, as if it were used;
    that is not counted here.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = {name: int(number) for name, number in re.findall(r"^(VmData|RssAnon):\s+(\d+) kB", status, re.M)}
    limit = (kib["VmData"] - kib["RssAnon"]) * 1024 + size
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _cumulative(size: int, power: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    weights = (np.arange(size) + 50.0) ** -power
    return np.cumsum(weights / weights.sum()).clip(max=1)


def _run(task: dict[str, Any]) -> dict[str, Any]:
    """Returns what a process measured, and tells it."""
    # of what glibc sets aside for every thread the limit counts all
    found = run("benchmarks.scale.large", task, settings=[{"MALLOC_ARENA_MAX": "2"}])
    print(found, file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
