from __future__ import annotations

from dataclasses import replace

import pytest

from cli_support import run
from recoder.cli.config import Config, ModelConfig, TrainingConfig
from recoder.cli.conversion import SettingError
from recoder.cli.recipe_settings import completed
from recoder.recipes import RECIPES


def settings(name, **given):
    return completed(Config(model=ModelConfig(recipe=name, settings=given))).model.settings


@pytest.mark.parametrize("name", RECIPES)
def test_settings_are_those_of_the_recipe_with_the_changes(name):
    chosen = RECIPES[name]
    assert settings(name) == {**chosen.model, **chosen.recoder, **chosen.train}
    assert settings(name, **settings(name)) == settings(name)
    assert chosen.but(**settings(name)) == chosen


def test_settings_that_the_recipe_leaves_alone_may_be_added():
    assert settings("autoencoder", lr_milestones=[3], max_grad_norm=1)["lr_milestones"] == [3]
    assert settings("autoencoder", max_grad_norm=1)["max_grad_norm"] == 1.0
    assert settings("autoencoder", hidden_layers=(400, 100))["hidden_layers"] == [400, 100]


def test_a_setting_of_steps_is_none_of_a_closed_form():
    with pytest.raises(SettingError, match="the recipe 'ease' has no 'lr'"):
        settings("ease", lr=0.1)


def test_the_help_of_train_names_every_recipe():
    shown = " ".join(run("train", "--help").output.replace("│", " ").split())
    *first, last = RECIPES
    assert f"Recipe: {', '.join(first)} or {last}." in shown


def test_validation_may_be_less_frequent():
    assert settings("autoencoder", eval_freq=5)["eval_freq"] == 5


def test_users_of_sampling_need_be_a_multiple_of_a_batch_only_where_that_is_known():
    assert settings("autoencoder", num_sampling_users=954)["num_sampling_users"] == 954
    with pytest.raises(SettingError, match="no multiple of batch_size 100"):
        settings("autoencoder", num_sampling_users=954, batch_size=100)


def test_patience_without_early_stopping_is_an_error():
    config = Config(model=ModelConfig(recipe="autoencoder"), training=TrainingConfig(patience=2))
    with pytest.raises(SettingError, match="it is for early stopping"):
        completed(config)
    completed(replace(config, training=TrainingConfig(patience=2, early_stopping="loss")))
