"""A process that works with interactions several times as large as the memory that it may have."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import numpy as np
import torch
from pyarrow import parquet

import recoder
from recoder.data import IdMap, Interactions
from recoder.data.mapped_folder import write_folder

USERS, ITEMS, PIECES = 100_000, 3_000, 20
PER_USER = 300
MIB = 64
SETTINGS = {"hidden_layers": [16], "sparse": True, "negative_sampling": True, "batch_size": 100, "seed": 0}


def write(folder: Path) -> None:
    """Writes 30 million interactions, 240 MB, a piece of the users at a time."""
    rng = np.random.default_rng(0)
    with write_folder(folder) as writer:
        writer.append("indptr", np.arange(USERS + 1, dtype=np.int32) * PER_USER)
        for _ in range(PIECES):
            gaps = rng.integers(1, ITEMS // PER_USER + 1, (USERS // PIECES, PER_USER), dtype=np.int32)
            writer.append("indices", (gaps.cumsum(axis=1, dtype=np.int32) - 1).ravel())
            writer.append("data", np.ones(gaps.size, np.float32))
        for kind, size in (("user_ids", USERS), ("item_ids", ITEMS)):
            writer.add_ids(kind, IdMap(np.arange(size)))
        writer.finish(USERS, ITEMS)


def work(data: Interactions, out: Path, iters: int) -> int:
    """Splits, trains, evaluates and recommends; returns the number of rows that were recommended."""
    train, valid, test = data.split("strong", seed=1, num_valid_users=100, num_test_users=100)
    model = recoder.fit(train.binarize(), "autoencoder", valid=valid, num_epochs=1, iters_per_epoch=iters, **SETTINGS)
    model.evaluate(test)
    return model.recommend_to_file(out, 3, users_at_once=1_000)


def main(folder: Path) -> None:
    """Does it all within the limit, and shows that the limit is one."""
    torch.set_num_threads(1)
    write(folder / "mapped")
    rng = np.random.default_rng(0)
    few = Interactions.open_mapped(folder / "mapped").select_users(np.sort(rng.choice(USERS, 2_000, replace=False)))
    work(few, folder / "few.parquet", 5)  # libraries take what they keep
    status = Path("/proc/self/status").read_text(encoding="ascii")
    now = int(re.findall(r"VmData:\s+(\d+) kB", status)[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (now + (MIB << 20), resource.RLIM_INFINITY))
    data = Interactions.open_mapped(folder / "mapped")
    rows = work(data, folder / "lists.parquet", 20)
    assert rows == parquet.read_metadata(folder / "lists.parquet").num_rows > 3 * (USERS - 300)
    try:
        np.array(data.matrix.indices)
    except MemoryError:
        sys.stdout.write("limited\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
