"""What sharing the items costs: exchanges that do not grow with the catalogue, and half the memory for each of two."""

from __future__ import annotations

import json

import pytest

from parallel.cost_worker import BATCH, FACTORS, MODELS, SIZES, cost
from parallel.launching import together


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    path = tmp_path_factory.mktemp("cost") / "cost.json"
    together("cost_worker.py", 2, path)
    return dict(json.loads(path.read_text()))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("loss", ["logistic", "logloss", "mse"])
def test_a_step_sends_two_numbers_for_each_user_and_factor_whatever_the_catalogue(costs, model, loss) -> None:
    # besides: squares and counts of the input, and the multinomial's sums and largest scores
    of_step = 2 * BATCH * FACTORS + 2 * BATCH * (model == "autoencoder") + 2 * BATCH * (loss == "logloss")
    sent = {costs[f"{model} {loss} {size}"]["sent"] for size in SIZES}
    assert len(sent) == 1
    # of the loss of an epoch, and whether somebody stops, there are a few numbers for each step
    assert of_step <= sent.pop() <= of_step + 10


@pytest.mark.parametrize("model", MODELS)
def test_each_of_two_processes_holds_half_of_parameters_and_optimizer_state(costs, model) -> None:
    alone = cost(MODELS[model](), "logistic", SIZES[0], None, negative_sampling=True)
    assert costs[f"{model} logistic {SIZES[0]}"]["held"] <= 0.51 * alone["held"]
