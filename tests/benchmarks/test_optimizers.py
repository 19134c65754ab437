from __future__ import annotations

import pytest
from benchmarks.speed.optimizers import ADAM, OPTIMIZERS, ROUNDED, best_rate, is_close_to_adam, optimizers_text

from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder


def results(difference):
    found = {"lr": 0.002, "is_edge": False, "ndcg": [0.25, 0.004], "difference": [0.0, 0.0]}
    return {ADAM: found, ROUNDED: {**found, "difference": [difference, 0.0002], "is_edge": True}}


@pytest.mark.parametrize(("difference", "close"), [(0.0039, True), (-0.0041, False)])
def test_close_is_within_a_standard_error(difference, close):
    assert is_close_to_adam(results(difference)) is close


def test_the_table_holds_a_line_for_each_optimizer_and_marks_edges_of_grids():
    lines = optimizers_text({"one": results(-0.0004), "two": results(0)}).splitlines()
    assert lines[2] == "| one | adam | 0.002 | 0.2500 ± 0.0040 | - |"
    assert lines[3] == "| one | adam, bf16 state | 0.002* | 0.2500 ± 0.0040 | -0.00040 ± 0.00020 |"
    assert len(lines) == 6


def test_the_best_rate_is_that_of_the_best_model():
    models = {rate: object() for rate in (0.1, 0.2, 0.3)}
    assert best_rate(models, lambda model: model is models[0.2]) == 0.2


@pytest.mark.parametrize("arguments", [arguments for arguments, _ in OPTIMIZERS.values()])
def test_every_optimizer_can_be_made(arguments):
    assert Recoder(DynamicAutoencoder([4]), **arguments).optimizer_type == arguments["optimizer_type"]
