from __future__ import annotations

import json

import pytest

import recoder
from cli_support import run
from recoder.cli.output import console
from recoder.cli.tuning import print_tuning
from recoder.tuning import SPACES
from recoder.tuning.pruning import Prunes

FEW = ("--model", "als", "--set", "embedding_size=4", "--valid", 10, "--test", 10, "--metric", "NDCG@5")


@pytest.fixture(scope="module")
def tuned(ratings, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "best.model"
    told = json.loads(run("tune", ratings, *FEW, "--trials", 3, "--out", out, "--json").stdout)
    return out, told


def test_the_best_model_is_saved_and_answers(tuned):
    out, told = tuned
    assert len(told["trials"]) == 3
    values = [trial["NDCG@5"] for trial in told["trials"] if trial["state"] == "complete"]
    assert told["trials"][told["best_trial"]]["NDCG@5"] == max(values)
    model = recoder.load(out)
    assert model.about.recipe == "als"
    assert model.recoder.model.embedding_size == 4
    assert len(model.recommend(histories=[[-1]], unknown="drop", k=3)) == 3
    assert told["test"]["metrics"]["NDCG@5"] == model.about.metrics[-1]["metrics"]["NDCG@5"]


def test_the_configuration_that_is_kept_has_the_best_settings(tuned, tmp_path):
    out, told = tuned
    kept = recoder.load(out).about.more["config"]["model"]["settings"]
    for name, value in told["best_settings"].items():
        assert kept[name] == value


def test_a_study_goes_on_with_more_trials(ratings, tuned):
    out, told = tuned
    more = json.loads(run("tune", ratings, *FEW, "--trials", 4, "--out", out, "--json").stdout)
    assert more["trials"][:3] == told["trials"]
    assert len(more["trials"]) == 4
    other = run("tune", ratings, "--model", "ease", *FEW[4:], "--trials", 4, "--out", out, code=2)
    assert "study" in other.stderr


def test_people_see_the_trials(ratings, tuned):
    out, _ = tuned
    shown = run("tune", ratings, *FEW, "--trials", 3, "--out", out).stdout
    assert "the best is trial" in shown
    assert "NDCG@5" in shown


def test_what_is_missing_is_said(ratings, tmp_path):
    assert "--out" in run("tune", ratings, *FEW, "--trials", 1, code=2).stderr
    out = ("--out", tmp_path / "a.model", "--trials", 1)
    assert "--valid" in run("tune", ratings, *FEW[:4], "--valid", 0, *out, code=2).stderr
    assert "did you mean" in run("tune", ratings, *FEW, "--set", "embeding_size=3", *out, code=2).stderr


def test_all_of_a_tuning_can_stand_in_a_file(ratings, tmp_path, tuned):
    out, told = tuned
    toml = tmp_path / "tune.toml"
    printed = run("tune", ratings, *FEW, "--trials", 3, "--out", out, "--print-config").stdout
    assert '[tune]\ntrials = 3\n# minutes = ...\nmetric = "NDCG@5"\n# study = ...\n' in printed
    assert "[model.settings]\nembedding_size = 4\n" in printed  # what is not set is tuned
    toml.write_text(printed)
    assert run("tune", "--config", toml, "--print-config").stdout == printed
    again = json.loads(run("tune", "--config", toml, "--json").stdout)
    assert again["trials"][:3] == told["trials"]
    assert again["metric"] == "NDCG@5"
    assert "[tune]" not in run("train", "--config", toml, "--print-config").stdout


def test_a_file_may_hold_out_other_users_than_usual(ratings, tmp_path):
    toml = tmp_path / "tune.toml"
    toml.write_text("[split]\nkind = 'strong'\nvalid = 7\ntest = 0.0\n")
    asked = ("tune", ratings, "--model", "ease", "--out", tmp_path / "a.model")
    assert "valid = 7.0\ntest = 0.0\n" in run(*asked, "--config", toml, "--print-config").stdout
    assert "valid = 0.1\ntest = 0.1\n" in run(*asked, "--print-config").stdout


@pytest.mark.parametrize("sent", [0, 1])
def test_a_stopped_tuning_says_from_where_it_goes_on(ratings, tmp_path, monkeypatch, sent):
    out = tmp_path / "best.model"
    trained = []

    def on_checkpoint(self, report):
        if len(trained) == sent:
            raise KeyboardInterrupt
        if report.is_last:
            trained.append(report.epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Prunes, "on_checkpoint", on_checkpoint)
        said = run("tune", ratings, *FEW, "--trials", 2, "--out", out, code=130).stderr.splitlines()[-1]
    best = (
        f"the best model so far is {tmp_path / 'best.model.sqlite_trial_0.model'}"
        if sent
        else "no trial was completed yet"
    )
    assert said == f"recoder: stopped; {best}; the study is in {out}.sqlite: the same command goes on from there"
    assert len(json.loads(run("tune", ratings, *FEW, "--trials", 2, "--out", out, "--json").stdout)["trials"]) == 2


@pytest.mark.parametrize("width", ["80", "100"])
def test_every_setting_of_a_trial_is_readable(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    settings = dict.fromkeys(SPACES["autoencoder"], 0.123456) | {"hidden_layers": [600, 200]}
    trial = {"trial": 12, "state": "complete", "NDCG@100": 0.25, "settings": settings, "seconds": 1234.5}
    done = {"metric": "NDCG@100", "trials": [trial], "best_trial": 12, "test": None, "model": "m", "study": "s"}
    print_tuning(console(), done)
    shown = capsys.readouterr().out
    assert "hidden_layers = [600, 200]" in shown
    for name in SPACES["autoencoder"].keys() - {"hidden_layers"}:
        assert f"{name} = 0.1235" in shown


def test_early_stopping_is_that_of_the_file(ratings, tmp_path):
    toml, out = tmp_path / "tune.toml", tmp_path / "best.model"
    toml.write_text("[training]\nearly_stopping = 'NDCG@5'\npatience = 1\nmetrics = ['MRR@3', 'NDCG@5']\n")
    asked = ("tune", ratings, "--config", toml, "--model", "autoencoder", "--set", "hidden_layers=[8]", *FEW[4:])
    run(*asked, "--set", "num_epochs=40", "--set", "lr=0.1", "--trials", 1, "--out", out)
    model = recoder.load(out)
    assert len(model.recoder.history) < 40
    assert model.recoder.history.best_epoch is not None
    assert list(model.about.metrics[-1]["metrics"]) == ["NDCG@5", "MRR@3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[training]\nearly_stopping = 'MRR@3'\nmetrics = ['MRR@3']\n", "they do not stop early by MRR@3"),
        ("[output]\nlog = 'a.csv'\ncheckpoint_every = 2\n", "there is no log of their epochs"),
    ],
)
def test_what_trials_have_no_use_for_is_said(ratings, tmp_path, text, said):
    toml, out = tmp_path / "tune.toml", tmp_path / "a.model"
    toml.write_text(text)
    asked = ("tune", ratings, "--config", toml, "--model", "autoencoder", "--set", "hidden_layers=[8]", *FEW[4:])
    assert said in run(*asked, "--set", "num_epochs=2", "--trials", 1, "--out", out).stderr
    kept = recoder.load(out).about.more["config"]
    assert kept["training"]["early_stopping"] is None
    assert (kept["output"]["log"], kept["output"]["checkpoint_every"]) == (None, 0)


def test_a_file_that_settles_everything_leaves_nothing_to_tune(ratings, tmp_path):
    config, out = tmp_path / "films.toml", tmp_path / "t.model"
    config.write_text(run("train", ratings, "--model", "als", "--valid", 10, "--print-config").stdout)
    said = run("tune", "--config", config, "--out", out, code=2).stderr
    assert "als has nothing that is left to tune: " in said
    assert "would be tried, and is set; leave some of it out" in said


def test_the_file_beside_a_study_names_no_users(tuned):
    out, told = tuned
    beside = recoder.load(f"{told['study']}_trial_{told['best_trial']}.model")
    assert beside.item_ids == recoder.load(out).item_ids
    assert len(beside.interactions.user_ids) == 0


def test_an_interrupt_after_the_last_trial_says_where_the_best_is(ratings, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    out = tmp_path / "best.model"
    monkeypatch.setattr(recoder.FittedModel, "evaluate", stopped)
    said = run("tune", ratings, *FEW, "--trials", 1, "--out", out, code=130).stderr.splitlines()[-1]
    assert f"stopped; the best model so far is {out}.sqlite_trial_0.model; the study is in {out}.sqlite" in said
