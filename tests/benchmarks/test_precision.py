from __future__ import annotations

import numpy as np
import pytest
from benchmarks.speed.phases import STAGES, stage_times
from benchmarks.speed.precision import is_close, same_lists, table_text
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder


@pytest.fixture
def dataset():
    # for few users, both are computed in float32
    return RecommendationDataset(sparse.random(400, 300, 0.1, "csr", np.float32, np.random.default_rng(0)))


def result(difference, same_lists):
    return {
        "ndcg": {"fp32": [0.25, 0.004], "bf16": [0.25 + difference, 0.004]},
        "difference": [difference, 0.0002],
        "same_lists": same_lists,
    }


@pytest.mark.parametrize(
    ("difference", "same", "close"), [(0.003, 0.995, True), (-0.0041, 1.0, False), (0.0, 0.98, False)]
)
def test_close_is_within_a_standard_error_and_99_of_100_lists(difference, same, close):
    assert is_close(result(difference, same)) is close


def test_the_table_holds_a_line_for_each_data_set():
    lines = table_text({"one": result(-0.0004, 0.999), "two": result(0.001, 1.0)}).splitlines()
    assert lines[2] == "| one | 0.2500 ± 0.0040 | 0.2496 ± 0.0040 | -0.0004 ± 0.0002 | 99.9% |"
    assert len(lines) == 4


def test_a_model_recommends_the_same_lists_in_both_precisions_and_keeps_its_own(dataset):
    recoder = Recoder(DynamicAutoencoder([8]), optimizer_type="adam", loss="logloss", seed=1)
    recoder.train(dataset, num_epochs=2, batch_size=20, lr=0.01)
    assert same_lists(recoder, dataset, 20) >= 0.99
    assert recoder.precision == "fp32"


def test_every_stage_of_a_step_is_timed(dataset):
    times = stage_times(dataset, DynamicAutoencoder([4]), "logistic", True, "fp32")
    assert times.keys() == {*STAGES, "matrix products"}
    assert all(milliseconds > 0 for milliseconds in times.values())
