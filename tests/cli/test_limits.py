from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, datetime, timedelta, timezone

import pytest

from cli_support import run
from recoder.cli.config import Config, changed
from recoder.cli.conversion import SettingError
from recoder.cli.limits import checked, second_of

WRONG = {
    ("data", "separator"): "a\nb",
    ("data", "encoding"): "utf99",
    ("data", "quote"): "ab",
    ("data", "min_weight"): float("nan"),
    ("split", "seed"): -1,
    ("split", "valid"): 1.5,
    ("split", "test"): -1.0,
    ("split", "fold_in"): 1.0,
    ("split", "min_interactions"): 1,
    ("split", "fraction"): 0.0,
    ("split", "last"): 0,
    ("split", "moment"): "yesterday",
    ("training", "seed"): -1,
    ("training", "device"): "gpu",
    ("training", "metrics"): ("NDGC@10",),
    ("training", "early_stopping"): "NDCG@7",
    ("training", "patience"): 0,
    ("output", "log"): "a.txt",
    ("output", "checkpoint_every"): -1,
    ("tune", "trials"): 0,
    ("tune", "minutes"): -1.0,
    ("tune", "metric"): "NDCG",
}
ANYTHING = {"path", "names", "recipe", "settings", "model", "study"} | {"user", "item", "weight", "time", "title"}


@pytest.mark.parametrize(("keys", "value"), WRONG.items(), ids=lambda each: ".".join(each) if each in WRONG else "")
def test_a_value_out_of_range_is_named_by_its_keys(keys, value):
    section, key = keys
    with pytest.raises(SettingError) as caught:
        checked(changed(Config(), {section: {key: value}}))
    assert caught.value.keys == keys


def test_every_setting_that_has_a_range_is_checked():
    for section in fields(Config):
        for field in fields(getattr(Config(), section.name)):
            is_choice = field.type == "bool" or field.name == "kind"
            assert is_choice or field.name in ANYTHING or (section.name, field.name) in WRONG, field.name


def test_the_defaults_are_in_range():
    assert checked(Config()) == Config()


@pytest.mark.parametrize(
    "moment",
    [
        1_577_836_800,
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01T01:00:00+01:00",
        "2020-01-01T00:00:00Z",
        "2019-12-31T23:59:59.500",  # what happens in the second that it is in happens before it
        date(2020, 1, 1),
        datetime(2020, 1, 1),
        datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_a_moment_is_a_date_a_date_time_text_or_a_second(moment):
    assert second_of(moment) == 1_577_836_800
    config = changed(Config(), {"split": {"moment": moment}})
    assert checked(config).split == replace(Config().split, moment=1_577_836_800)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[data]\nmin_weight = nan\n", "line 2: min_weight: nan is out of range; it must be at least 0"),
        ("[data]\nmin_weight = -4\n", "line 2: min_weight: -4.0 is out of range; it must be at least 0"),
        ("[data]\nencoding = 'utf99'\n", "line 2: encoding is 'utf99'; it must be one that Python knows"),
        ("[training]\nseed = -1\n", "line 2: seed: -1 is out of range; it must be at least 0"),
        ("[training]\ndevice = 'gpu'\n", "line 2: device is 'gpu'; say --device cpu"),
        ("[model.settings]\nlr = 0.1\nnum_epochs = -1\n", "line 3: num_epochs is -1; it must be"),
        ("[model]\nrecipe = 'als'\nsettings = {loss_params = {confidnce = 3}}\n", "line 3: loss_params: "),
        ("[model.settings]\nnoise_prob = 3\n", "line 2: noise_prob: "),
        ("[model.settings]\nnegative_sampling = false\nnum_sampling_users = 200\n", "line 2: negative_sampling: "),
    ],
)
def test_a_file_is_wrong_before_data_are_read(tmp_path, text, said):
    toml = tmp_path / "run.toml"
    toml.write_text(text)
    told = run("train", "absent.csv", "--config", toml, "--out", tmp_path / "a.model", code=2).stderr
    assert told.startswith(f"recoder: {toml}, {said}")


def test_an_option_is_not_taken_for_the_line_that_it_overrides(tmp_path):
    toml = tmp_path / "run.toml"
    toml.write_text("[training]\ndevice = 'cpu'\n")
    told = run("train", "absent.csv", "--config", toml, "--device", "gpu", code=2).stderr
    assert told.startswith("recoder: training.device: device is 'gpu'")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--early-stopping", "NDCG@7", "--valid", "0.1"],
            "it looks at NDCG@7, but metrics are Recall@20, Recall@50, ",
        ),
        (
            ["--model", "ease", "--valid", "0.1", "--early-stopping", "NDCG@100"],
            "the recipe 'ease' is solved, it has no",
        ),
        (
            ["--model", "popularity", "--log", "x.csv"],
            "output.log: the recipe 'popularity' is solved, it has no epochs",
        ),
        (["--model", "ease", "--checkpoint-every", "2"], "output.checkpoint_every: the recipe 'ease' is solved"),
    ],
)
def test_what_would_have_no_effect_is_refused(tmp_path, arguments, said):
    assert said in run("train", "absent.csv", "--out", tmp_path / "a.model", *arguments, code=2).stderr


def test_without_cuda_the_next_step_is_an_option(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    told = run("train", "absent.csv", "--device", "cuda", code=2).stderr
    assert "there is no CUDA device for torch here; say --device cpu" in told
    assert "use_cuda" not in told


def test_a_command_looks_at_the_sections_that_it_reads(ratings, tmp_path):
    config = tmp_path / "run.toml"
    training = '[training]\nearly_stopping = "NDCG@100"\ndevice = "nowhere"\n'
    config.write_text(f'\ufeff{training}[split]\nmoment = "yesterday"\n[data]\nmin_weight = 2.0\n')
    run("data", "info", ratings, "--config", config)
    assert "no date" in run("data", "split", ratings, "--config", config, "--out", tmp_path / "parts", code=2).stderr
    config.write_text(config.read_text().replace('moment = "yesterday"', 'kind = "last"'))
    run("data", "split", ratings, "--config", config, "--out", tmp_path / "parts")
    assert "device is 'nowhere'" in run("train", ratings, "--config", config, code=2).stderr
    config.write_text("[data]\nmin_weight = -2.0\n")
    assert "min_weight" in run("data", "info", ratings, "--config", config, code=2).stderr
