from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions

# the same 50 cases in every run, and no time limit for one: machines are busy at times
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repeatable")

# whichever test is the first to fork from a server, the others find in it what takes seconds to import
multiprocessing.set_forkserver_preload(["recoder.model", "recoder.metrics", "torch.distributed"])


def pytest_collection_finish() -> None:
    """Lets the garbage collector pass by what stays until the end: thousands of tests."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Lets it see all again: what ends with Python would be reported as leaked."""
    gc.unfreeze()


@pytest.fixture
def data_dir() -> Path:
    """The folder of the real data sets; a test that asks for it is skipped where there is none."""
    named = os.environ.get("RECODER_DATA_DIR")
    if not named:
        pytest.skip("RECODER_DATA_DIR does not name a folder of data sets")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"RECODER_DATA_DIR names {folder}, which is not a folder")
    return folder


@pytest.fixture
def checkerboard() -> sparse.csr_matrix:
    """80 users x 40 items whose right answer is known: users and items of equal parity belong together.

    Each user has 12 of their 20 items, so 8 remain to be recommended; every other item is wrong.
    """
    rng = np.random.default_rng(20180)
    matrix = np.zeros((80, 40), dtype=np.float32)
    for user in range(80):
        matrix[user, rng.choice(np.arange(user % 2, 40, 2), size=12, replace=False)] = 1
    return sparse.csr_matrix(matrix)


@pytest.fixture
def dataset(matrix: sparse.csr_matrix) -> RecommendationDataset:
    """A data set of the ``matrix`` that a test file defines."""
    return RecommendationDataset(matrix)


@pytest.fixture
def users(matrix: sparse.csr_matrix) -> UsersInteractions:
    """All users of the ``matrix`` that a test file defines."""
    return UsersInteractions(np.arange(matrix.shape[0]), matrix)


@pytest.fixture
def python_handles_interrupts() -> Iterator[None]:
    """SIGINT raises ``KeyboardInterrupt``, also where the tests run in the background, which ignores it."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
