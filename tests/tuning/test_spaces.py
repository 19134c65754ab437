from __future__ import annotations

import sys

import pytest

from recoder.errors import ConfigError, MissingDependencyError
from recoder.recipes import RECIPES, recipe
from recoder.tuning import SPACES, Choice, Range
from recoder.tuning.spaces import defaults_of, settings_of


def test_every_recipe_has_a_space_that_its_settings_lie_in_except_the_one_without_settings():
    assert RECIPES.keys() - SPACES.keys() == {"popularity"}
    for name, space in SPACES.items():
        assert defaults_of(recipe(name), space).keys() == space.keys()


@pytest.mark.parametrize("name", SPACES)
def test_the_ends_of_every_space_are_arguments_that_the_recipe_takes(name):
    base = recipe(name)
    for end in (0, -1):
        values = {
            key: (choice.options[end] if isinstance(choice, Choice) else (choice.low, choice.high)[end])
            for key, choice in SPACES[name].items()
        }
        changed = base.but(**settings_of(base, values))
        changed.make_model(**changed.model)


def test_values_become_arguments_and_an_entry_leaves_the_others_as_they_are():
    base = recipe("als").but(loss_params={"confidence": 2.0, "reduction": "mean"})
    assert settings_of(base, {"loss_params.confidence": 5.0, "l2_power": 0.1}) == {
        "loss_params": {"confidence": 5.0, "reduction": "mean"},
        "l2_power": 0.1,
    }
    both = settings_of(base, {"loss_params.confidence": 5.0, "loss_params.reduction": "sum"})
    assert both == {"loss_params": {"confidence": 5.0, "reduction": "sum"}}
    assert base.recoder["loss_params"] == {"confidence": 2.0, "reduction": "mean"}


def test_ranges_of_whole_numbers_hold_whole_numbers():
    assert 3 in Range(1, 3)
    assert 4 not in Range(1, 3)
    assert 2.5 not in Range(1, 3)
    assert 2.5 in Range(1.0, 3)
    assert 2 in Range(1.0, 3.0)
    assert True not in Range(0, 3)
    assert "2" not in Range(1, 3)


def test_choices_are_stored_as_what_a_study_can_hold_and_restored_as_they_were():
    choice = Choice([200], {"confidence": 1}, "adam", None, True, 0.5)
    stored = [choice.stored(option) for option in choice.options]
    assert stored == ["[200]", '{"confidence": 1}', "adam", None, True, 0.5]
    assert [choice.restored(value) for value in stored] == list(choice.options)
    assert [200] in choice
    assert [100] not in choice


def test_distributions_are_those_of_optuna():
    from optuna import distributions

    assert Range(1, 8, log=True).distribution() == distributions.IntDistribution(1, 8, log=True)
    assert Range(1.0, 8).distribution() == distributions.FloatDistribution(1.0, 8.0)
    assert Choice([1], "a").distribution() == distributions.CategoricalDistribution(("[1]", "a"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Range(3, 2), "is empty; low must not be above high"),
        (lambda: Range(float("nan"), 2), "is empty"),
        (lambda: Range(0, 2, log=True), "no logarithms at its lower end"),
        (lambda: Choice(), "needs at least one option"),
        (lambda: Choice(object()), "cannot be stored"),
    ],
)
def test_a_space_that_holds_nothing_is_an_error(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_space_of_another_recipe_is_an_error():
    with pytest.raises(ConfigError, match="the recipe has no lr to tune; it has dropout_prob, l2, popularity_discount"):
        defaults_of(recipe("ease"), {"lr": Range(0.1, 1.0)})
    with pytest.raises(ConfigError, match=r"the recipe has no loss_params\.margin to tune"):
        defaults_of(recipe("als"), {"loss_params.margin": Range(0.1, 1.0)})
    with pytest.raises(ConfigError, match=r"the recipe has l2=100\.0, which is not in Range\(low=1\.0, high=2\.0"):
        defaults_of(recipe("ease"), {"l2": Range(1.0, 2.0)})


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r'this needs optuna: pip install "recsys-recoder\[tune\]"'):
        Range(1, 2).distribution()
