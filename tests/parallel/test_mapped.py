"""Processes that share the items read their share of interactions in files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from parallel.equality_worker import data
from parallel.launching import together
from parallel.mapped_worker import run
from recoder.data import IdMap
from recoder.data.mapped_folder import write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    matrix = data()[0].interactions_matrix
    with write_folder(tmp_path / "mapped") as writer:
        for name in ("indptr", "indices", "data"):
            writer.append(name, getattr(matrix, name))
        for kind, size in zip(("user_ids", "item_ids"), matrix.shape, strict=True):
            writer.add_ids(kind, IdMap(np.arange(size)))
        writer.finish(*matrix.shape)
    return tmp_path / "mapped"


def test_training_from_files_equals_that_from_memory(folder: Path) -> None:
    assert run(folder, None) == run(folder, None, in_memory=True)


def test_processes_end_with_what_one_does(folder: Path) -> None:
    losses, lists = run(folder, None)
    for printed in together("mapped_worker.py", 2, folder):
        losses_here, lists_here = json.loads(printed)
        assert losses_here == pytest.approx(losses, rel=1e-5)
        assert lists_here == lists
    assert not [path for path in folder.iterdir() if path.name.startswith("tmp")]
