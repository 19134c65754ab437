from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
import torch

import recoder
from cli_support import SMALL, run
from recoder._files import append
from recoder.callbacks import history_files
from recoder.cli import training
from recoder.cli.checkpoints import Checkpoints
from recoder.cli.config import Config
from recoder.cli.toml_files import read_toml
from recoder.errors import DivergedError, FileWriteError
from recoder.training import loop


def weights(path):
    return recoder.load(path).recoder.model.state_dict()


def same(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_file_and_the_names_of_its_columns_are_enough(ratings, tmp_path):
    out = tmp_path / "films.model"
    result = run("train", ratings, "--user", "user", "--item", "film", "--model", "autoencoder", "--out", out)
    assert "60 users, 24 items, 540 interactions to train on\nautoencoder: 10 epochs in " in result.stdout
    assert result.stdout.endswith(f"the model is in {out}\n")
    assert "every interaction counts 1, whatever its 'rating'" in result.stderr
    fitted = recoder.load(out)
    assert fitted.about.recipe == "autoencoder"
    assert fitted.interactions.titles is not None
    assert not fitted.has_histories
    assert not out.with_name("films.model.checkpoint").exists()


def test_the_configuration_in_the_file_repeats_the_run(ratings, tmp_path):
    first, second, other = (tmp_path / f"{name}.model" for name in ("first", "second", "other"))
    asked = ["train", ratings, *SMALL, "--valid", "6", "--seed", "3", "--min-weight", "2"]
    run(*asked, "--out", first)
    toml = tmp_path / "run.toml"
    toml.write_text(run(*asked, "--out", second, "--print-config").stdout)
    assert not second.exists()
    run("train", "--config", toml)
    assert same(first, second)
    run("train", "--config", toml, "--seed", "4", "--out", other)  # options override the file
    assert not same(first, other)
    kept = recoder.load(first).about.more["config"]
    assert kept["model"]["settings"]["num_epochs"] == 6
    assert kept["data"] == recoder.load(second).about.more["config"]["data"]


def test_the_configuration_is_printed_in_full_and_is_a_fixed_point(ratings, tmp_path):
    toml = tmp_path / "run.toml"
    toml.write_text(run("train", ratings, "--model", "als", "--print-config").stdout)
    config = read_toml(toml, Config)
    assert (config.data.user, config.data.item, config.data.title) == ("user", "film", "title")
    assert config.data.time is None
    assert config.model.settings["loss_params"] == {"confidence": 20.0}
    assert config.model.settings["num_epochs"] == 8
    assert run("train", "--config", toml, "--print-config").stdout == toml.read_text()
    assert read_toml(toml, Config).training.metrics == ("Recall@20", "Recall@50", "NDCG@100")


def test_a_configuration_to_start_from_needs_no_data():
    printed = run("train", "--print-config").stdout
    assert "# path = ..." in printed
    assert 'recipe = "autoencoder"' in printed


def test_held_out_users_validate_and_test(ratings, tmp_path):
    out, log = tmp_path / "films.model", tmp_path / "history.csv"
    told = json.loads(
        run(
            "train", ratings, *SMALL, "--valid", "0.1", "--test", "12", "--metric", "NDCG@5", "--metric", "Recall@3",
            "--out", out, "--log", log, "--json",
        ).stdout
    )  # fmt: skip
    assert (told["users"], told["validation"]["users"], told["test"]["users"]) == (42, 6, 12)
    assert list(told["validation"]["metrics"]) == list(told["test"]["metrics"]) == ["NDCG@5", "Recall@3"]
    assert 0 < told["test"]["metrics"]["NDCG@5"]["mean"] <= 1
    assert told["epochs"] == told["best_epoch"] == 6
    history = pl.read_csv(log)
    assert history["epoch"].to_list() == [1, 2, 3, 4, 5, 6]
    assert history["NDCG@5"][-1] == pytest.approx(told["validation"]["metrics"]["NDCG@5"]["mean"])
    assert recoder.load(out).about.metrics == [told["test"]]
    shown = run("train", ratings, *SMALL, "--valid", "6", "--test", "12", "--out", out).stdout
    assert "validation, 6 users" in shown
    assert "test, 12 users" in shown


def test_only_validation_or_only_test_can_be_asked_for(ratings, tmp_path):
    arguments = ["train", ratings, "--model", "ease", "--out", tmp_path / "a.model", "--json"]
    told = json.loads(run(*arguments, "--valid", "6").stdout)
    assert (told["users"], told["validation"]["users"], told["test"], told["loss"]) == (54, 6, None, None)
    told = json.loads(run(*arguments, "--test", "6").stdout)
    assert (told["users"], told["validation"], told["test"]["users"]) == (54, None, 6)


def test_training_may_end_early_and_keeps_the_best_epoch(ratings, tmp_path):
    out = tmp_path / "a.model"
    arguments = [
        "train",
        ratings,
        *SMALL,
        "--epochs",
        "40",
        "--set",
        "lr=0.2",
        "--valid",
        "0.2",
        "--out",
        out,
        "--json",
    ]
    told = json.loads(run(*arguments, "--early-stopping", "NDCG@100", "--patience", "2").stdout)
    assert told["best_epoch"] < told["epochs"] < 40
    result = run(*arguments[:-5], "--out", out, "--early-stopping", "loss", code=2)
    assert "early stopping looks at validation users, and there are none" in result.stderr


def test_weights_count_only_where_they_are_to(ratings, tmp_path):
    out = tmp_path / "a.model"
    run("train", ratings, "--model", "ease", "--out", out, "--histories")
    assert set(recoder.load(out).interactions.matrix.data) == {1}
    result = run("train", ratings, "--model", "ease", "--weights", "--out", out, "--histories")
    assert set(recoder.load(out).interactions.matrix.data) == {1, 2, 3, 4, 5}
    assert "counts 1" not in result.stderr


@pytest.fixture
def odd_dates(tmp_path):
    """A file with a column of dates that are not read as such."""
    path = tmp_path / "data.csv"
    rows = [f"{user},{item},31/05/2024\n" for user in range(20) for item in range(user % 2, 12, 2)]
    path.write_text("user,item,date\n" + "".join(rows))
    return path


def test_times_that_no_split_needs_are_not_read(odd_dates, tmp_path):
    out, toml = tmp_path / "a.model", tmp_path / "run.toml"
    asked = ["train", odd_dates, "--model", "ease", "--test", 4, "--out", out]
    said = run(*asked).stderr
    assert "columns: 'user' as user, 'item' as item\n" in said
    run("evaluate", out)
    toml.write_text(run(*asked, "--print-config").stdout)
    assert run("train", "--config", toml, "--print-config").stdout == toml.read_text()


@pytest.mark.parametrize("kind", ["last", "time", "named"])
def test_times_that_are_needed_or_named_must_be_such(odd_dates, tmp_path, kind):
    toml = tmp_path / "run.toml"
    toml.write_text(f"[split]\nkind = '{kind}'\n" if kind != "named" else "[data]\ntime = 'date'\n")
    said = run("train", odd_dates, "--config", toml, "--model", "ease", "--out", tmp_path / "a.model", code=2).stderr
    assert "column 'date' holds string; times are Unix seconds" in said


def interrupted_after(epochs, monkeypatch):
    def on_checkpoint(self, report):
        if report.epoch == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "on_checkpoint", on_checkpoint)


def test_an_interrupted_training_goes_on_to_the_same_model(ratings, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole.model", tmp_path / "stopped.model"
    asked = ["train", ratings, *SMALL, "--valid", "6"]
    run(*asked, "--out", whole)
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        result = run(*asked, "--out", out, code=130)
    checkpoint = tmp_path / "stopped.model.checkpoint"
    said = result.stderr.splitlines()[-1]
    assert said == f"recoder: stopped after 2 of 6 epochs; go on with: recoder train --resume {checkpoint}"
    assert not out.exists()
    run("train", "--resume", checkpoint)
    assert same(whole, out)
    assert not checkpoint.exists()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (MemoryError, 1)])
def test_a_model_that_could_not_be_tested_is_kept(ratings, tmp_path, monkeypatch, error, code):
    out = tmp_path / "a.model"

    def failing(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(recoder.FittedModel, "evaluate", failing)
        result = run("train", ratings, *SMALL, "--test", 12, "--out", out, code=code)
    assert f"the model is in {out}, but was not tested; recoder evaluate {out} does that" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.model"]
    assert json.loads(run("evaluate", out, "--json").stdout)["users"] == 12


@pytest.mark.usefixtures("python_handles_interrupts")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_model_is_written_takes_effect_when_it_is_there(ratings, tmp_path, monkeypatch, sent):
    out = tmp_path / "a.model"
    save = recoder.FittedModel.save

    def signalled(self, path, **more):
        signal.raise_signal(sent)
        signal.raise_signal(sent)
        save(self, path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(recoder.FittedModel, "save", signalled)
        result = run("train", ratings, *SMALL, "--out", out, code=130 if sent is signal.SIGINT else 143)
    assert result.stderr.count(f"stops as soon as {out} is written") == 1
    assert f"the model is in {out}\n" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.model"]
    assert recoder.load(out).recoder.history


def test_stopped_before_there_is_anything_it_leaves_nothing(ratings, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "learn", stopped)
    run("train", ratings, *SMALL, "--out", tmp_path / "a.model", code=130)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_stopped_is_not_begun_anew_over_its_checkpoint(ratings, tmp_path, monkeypatch):
    out = tmp_path / "a.model"
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        run("train", ratings, *SMALL, "--out", out, code=130)
    checkpoint = tmp_path / "a.model.checkpoint"
    before = checkpoint.read_bytes()
    result = run("train", ratings, *SMALL, "--out", out, code=2)
    assert f"{checkpoint} is there" in result.stderr
    assert f"--resume {checkpoint}" in result.stderr
    assert checkpoint.read_bytes() == before
    run("train", "--resume", checkpoint)
    assert out.exists()
    assert not checkpoint.exists()


def test_a_log_that_cannot_be_written_leaves_a_checkpoint(ratings, tmp_path, monkeypatch):
    out, log = tmp_path / "a.model", tmp_path / "history.csv"
    full = FileWriteError(28, "cannot write history.csv: No space left on device")

    def fail(path, data):
        if len(log.read_bytes().splitlines()) > 2:
            raise full
        return append(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(history_files, "append", fail)
        result = run("train", ratings, *SMALL, "--log", log, "--out", out, code=2)
    checkpoint = tmp_path / "a.model.checkpoint"
    assert f"what was reached is in {checkpoint}; go on with: recoder train --resume {checkpoint}" in result.stderr
    assert "No space left" in result.stderr
    assert len(recoder.load(checkpoint).recoder.history) >= 2
    log.unlink()
    run("train", "--resume", checkpoint)
    assert out.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("python_handles_interrupts")  # a process starts with the default of what we handle
@pytest.mark.parametrize(("sent", "code"), [((signal.SIGINT,), 130), ((signal.SIGTERM,), 143), ("behind", 143)])
def test_a_signal_leaves_a_checkpoint(ratings, tmp_path, sent, code):
    # a script of a shell starts what is to run behind it with SIGINT ignored
    handled = signal.SIG_IGN if sent == "behind" else signal.default_int_handler
    sent = (signal.SIGINT, signal.SIGTERM) if sent == "behind" else sent
    arguments = ["train", ratings, "--epochs", "100000", "--out", tmp_path / "a.model", "--checkpoint-every", "1"]
    command = [sys.executable, "-m", "recoder", *map(str, arguments)]
    checkpoint = tmp_path / "a.model.checkpoint"
    before = signal.signal(signal.SIGINT, handled)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        try:
            deadline = time.monotonic() + 60
            while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert checkpoint.exists()
            for each in sent:
                process.send_signal(each)
                before = checkpoint.stat().st_mtime_ns
                while each is not sent[-1] and checkpoint.stat().st_mtime_ns == before and process.poll() is None:
                    time.sleep(0.01)  # it goes on, until the next one comes
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code
    assert said.count("interrupted: training stops soon") == 1
    assert f"epochs; go on with: recoder train --resume {checkpoint}" in said
    assert "Traceback" not in said
    assert recoder.load(checkpoint).recoder.history


def test_checkpoints_are_written_while_training_and_more_epochs_can_follow(ratings, tmp_path, monkeypatch):
    out = tmp_path / "a.model"
    saved = []
    monkeypatch.setattr(
        recoder.FittedModel, "save", lambda self, path, **more: saved.append((str(path), len(self.recoder.history)))
    )
    run("train", ratings, *SMALL, "--checkpoint-every", "2", "--out", out)
    assert saved == [(f"{out}.checkpoint", 2), (f"{out}.checkpoint", 4), (str(out), 6)]


def test_a_model_can_be_trained_further(ratings, tmp_path):
    out = tmp_path / "a.model"
    run("train", ratings, *SMALL, "--set", "lr_schedule=constant", "--out", out)
    further = tmp_path / "further.model"
    run("train", "--resume", out, "--epochs", "8", "--out", further)
    before, after = (recoder.load(path).recoder.history for path in (out, further))
    assert len(after) == 8
    assert list(after[:6]) == list(before)
    assert after[-1].loss < before[-1].loss


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "hidden_layers=[6]"], "was made with hidden_layers [4], and training goes on from it with the same"),
        (["--set", "loss=mse"], "was made with loss 'logistic'"),
        (["--seed", 99], "was made with seed 7"),
    ],
)
def test_a_run_goes_on_with_the_model_that_it_began_with(ratings, tmp_path, more, said):
    out = tmp_path / "a.model"
    run("train", ratings, *SMALL, "--set", "hidden_layers=[4]", "--seed", 7, "--out", out)
    assert said in run("train", "--resume", out, *more, "--out", tmp_path / "b.model", code=2).stderr
    assert not (tmp_path / "b.model").exists()


def test_users_who_are_looked_up_must_be_the_same_to_go_on(tmp_path):
    data, out = tmp_path / "data.csv", tmp_path / "a.model"
    rows = [(user, item) for user in range(20) for item in range(12) if (user + item) % 3]
    for sign, code in ((1, 0), (-1, 2)):
        data.write_text("user,item\n" + "".join(f"{500 + sign * user},{item}\n" for user, item in rows))
        if not code:
            run("train", data, "--model", "als", "--set", "fold_in=false", "--set", "embedding_size=4", "--out", out)
    assert "20 users and 160 interactions, or others" in run("train", "--resume", out, "--epochs", 9, code=2).stderr


def test_least_squares_go_on_where_the_file_has_the_factors_of_users(ratings, tmp_path):
    bare, whole = tmp_path / "bare.model", tmp_path / "whole.model"
    settings = ["--model", "als", "--set", "embedding_size=4", "--epochs", "2"]
    run("train", ratings, *settings, "--out", bare)
    refused = run("train", "--resume", bare, "--epochs", "4", "--out", tmp_path / "b.model", code=2)
    assert "was saved without the users' rows of factors" in refused.stderr
    assert "--histories" in refused.stderr
    run("train", ratings, *settings, "--histories", "--out", whole)
    run("train", "--resume", whole, "--epochs", "4", "--out", tmp_path / "b.model")
    assert len(recoder.load(tmp_path / "b.model").recoder.history) == 4


def test_a_checkpoint_of_other_data_is_refused(ratings, frame, tmp_path):
    data, out = tmp_path / "data.parquet", tmp_path / "a.model"
    frame.write_parquet(data)
    run("train", data, *SMALL, "--out", out)
    frame.filter(pl.col("film") != 3).write_parquet(data)
    result = run("train", "--resume", out, code=2)
    assert "24 items, 60 users and 540 interactions, and these are 23 items, 60 users and 517" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "eaze"], "model.recipe: there is no recipe 'eaze'; did you mean 'ease'?"),
        (["--set", "lrr=1"], "model.settings.lrr: the recipe 'autoencoder' has no 'lrr'; did you mean 'lr'?"),
        (["--set", "lr=fast"], "model.settings.lr: 'fast' is text, not a number"),
        (["--set", "lr"], "--set takes KEY=VALUE, such as lr=0.003, not 'lr'"),
        (["--set", "metrics=[]"], "model.settings.metrics: say training.metrics"),
        (["--set", "num_epochs=0"], "num_epochs is 0; it must be a whole number of at least 1"),
        (["--metric", "NDGC@10"], "there is no metric 'NDGC@10'; did you mean 'NDCG'?, as in NDCG@100"),
        (["--metric", "NDCG"], "the metric 'NDCG' needs a number of recommendations, as in NDCG@100"),
        (["--log", "a.txt"], "the log a.txt ends in neither .csv nor .jsonl"),
        (["--valid", "100"], "users are to be held out"),
        (["--device", "gpu"], "device is 'gpu'"),
        (["--user", "who"], "has no column 'who' for --user; its columns are user, film, rating, time, title"),
        (["--min-weight", "9"], "no interaction has a weight of 9.0 or more; the largest is 5"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(ratings, tmp_path, arguments, said):
    result = run("train", ratings, "--out", tmp_path / "a.model", *arguments, code=2)
    assert said in result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert not (tmp_path / "a.model").exists()


def test_without_a_place_for_the_model_nothing_is_trained(ratings):
    assert "say where the model is to go: --out" in run("train", ratings, code=2).stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[model]\nrecipe = 'eaze'\n", "run.toml, line 2: recipe: there is no recipe 'eaze'"),
        ("[model.settings]\n\nlrr = 1\n", "run.toml, line 3: lrr: the recipe 'autoencoder' has no 'lrr'"),
        ("[model]\nsettings = {lr = 'x'}\n", "run.toml, line 2: lr: 'x' is text, not a number"),
        ("[training]\nsede = 3\n", "run.toml, line 2: sede: [training] has no key 'sede'; did you mean 'seed'?"),
        ("[split]\nkind = 'last'\n", "--valid and --test hold out whole users, and the configuration splits by 'last'"),
    ],
)
def test_a_wrong_setting_is_named_with_the_line_of_its_file(ratings, tmp_path, text, said):
    toml = tmp_path / "run.toml"
    toml.write_text(text)
    result = run("train", ratings, "--config", toml, "--out", tmp_path / "a", "--valid", "6", code=2)
    assert said in result.stderr


def test_a_file_of_another_kind_cannot_be_gone_on_from(ratings, models, tmp_path):
    assert "is no model file; recoder train writes one" in run("train", "--resume", ratings, code=2).stderr
    said = run("train", "--resume", tmp_path / "absent", code=2).stderr
    assert "there is no file" in said
    assert "save_state" not in said
    toml = tmp_path / "run.toml"
    toml.write_text("")
    result = run("train", "--resume", models["ease"], "--config", toml, code=2)
    assert "--resume goes on as the checkpoint was configured; leave --config out" in result.stderr
    recoder.fit(recoder.Interactions.from_parquet(ratings, user="user", item="film"), "ease").save(tmp_path / "p")
    assert (
        "holds no configuration; it was not made by recoder train"
        in run("train", "--resume", tmp_path / "p", code=2).stderr
    )


def test_weights_that_are_to_count_must_be_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user,film,n\n" + "".join(f"{n % 9},{n},2\n" for n in range(90)))
    asked = ["train", path, "--model", "ease", "--weights", "--out", tmp_path / "a.model"]
    assert "weights are to count (as the model was trained, or --weights says), and" in run(*asked, code=2).stderr
    run(*asked, "--weight", "n")


def test_a_run_does_not_go_on_over_other_interactions_or_weights(frame, tmp_path, monkeypatch):
    path, out = tmp_path / "ratings.parquet", tmp_path / "a.model"
    frame.write_parquet(path)
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        run("train", path, *SMALL, "--out", out, code=130)
    checkpoint = f"{out}.checkpoint"
    assert "was made with weights that count False" in run("train", "--resume", checkpoint, "--weights", code=2).stderr
    assert "was made with min_weight 0" in run("train", "--resume", checkpoint, "--min-weight", 2, code=2).stderr
    lacking = frame.filter((pl.col("user") == "u2") & (pl.col("film") % 2 == 0)).head(1)
    frame.join(lacking, on=["user", "film"], how="anti").write_parquet(path)
    said = run("train", "--resume", checkpoint, code=2).stderr
    assert "540 interactions, and these are 24 items, 60 users and 539 interactions" in said


def test_the_settings_of_a_model_are_printed_without_its_data(frame, tmp_path, monkeypatch):
    path, out = tmp_path / "ratings.parquet", tmp_path / "a.model"
    frame.write_parquet(path)
    run("train", path, *SMALL, "--histories", "--out", out)
    path.unlink()
    shown = run("train", "--resume", out, "--print-config").stdout
    assert "item = 'film'" in shown.replace('"', "'")
    assert "histories = true" in shown
    assert "histories = false" in run("train", "--resume", out, "--no-histories", "--print-config").stdout


def test_a_model_that_cannot_be_written_leaves_a_checkpoint(ratings, tmp_path, monkeypatch):
    out = tmp_path / "a.model"
    save = recoder.FittedModel.save

    def failing(self, path, **more):
        if str(path) == str(out):
            raise FileWriteError(28, "cannot write a.model: No space left on device")
        return save(self, path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(recoder.FittedModel, "save", failing)
        said = run("train", ratings, *SMALL, "--out", out, code=2).stderr
    assert f"go on with: recoder train --resume {out}.checkpoint" in said
    run("train", "--resume", f"{out}.checkpoint")
    assert recoder.load(out).history[-1].epoch == 6


@pytest.mark.usefixtures("python_handles_interrupts")
def test_a_second_interrupt_while_the_checkpoint_is_written_says_where_it_is(ratings, tmp_path, monkeypatch):
    folder = tmp_path / "my models"
    folder.mkdir()
    save = recoder.FittedModel.save

    def signalled(self, path, **more):
        signal.raise_signal(signal.SIGINT)
        return save(self, path, **more)

    interrupted_after(2, monkeypatch)
    monkeypatch.setattr(recoder.FittedModel, "save", signalled)
    said = run("train", ratings, *SMALL, "--out", folder / "a.model", code=130).stderr
    assert f"go on with: recoder train --resume '{folder}/a.model.checkpoint'" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "loss=mse", "--set", "loss.confidence=3"], "loss was set to 'mse', so it holds no settings"),
        (["--early-stopping", "loss"], "early stopping looks at validation users, and there are none"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_before_the_data_is_read(tmp_path, arguments, said):
    asked = ["train", tmp_path / "nowhere.parquet", "--out", tmp_path / "a.model", *arguments]
    assert said in " ".join(run(*asked, code=2).stderr.split())


def test_what_is_read_or_no_file_is_not_written_over(ratings, tmp_path):
    toml = tmp_path / "run.toml"
    toml.write_text("[model]\nrecipe = 'popularity'\n")
    said = run("train", ratings, "--config", toml, "--out", toml, code=2).stderr
    assert "would be written over" in said
    assert "is no ordinary file" in run("train", ratings, "--model", "popularity", "--out", "/dev/null", code=2).stderr
    assert toml.read_text() == "[model]\nrecipe = 'popularity'\n"


def test_a_run_that_diverged_leaves_its_best_weights(ratings, tmp_path, monkeypatch):
    out = tmp_path / "a.model"
    asked = ["train", ratings, *SMALL, "--valid", 12, "--early-stopping", "loss", "--out", out]

    def diverges(report, instead):
        if report.epoch == 4:
            raise DivergedError(f"the training loss of epoch 4 is nan; train again with {instead}")

    monkeypatch.setattr(loop, "_check_finite", diverges)
    said = run(*asked, code=2).stderr
    checkpoint = tmp_path / "a.model.checkpoint"
    assert f"what was reached is in {checkpoint}; go on with: recoder train --resume {checkpoint}" in said
    assert 1 <= recoder.load(checkpoint).history.best_epoch <= 3


def test_one_that_has_nothing_good_leaves_nothing(ratings, tmp_path, monkeypatch):
    def diverges(report, instead):
        raise DivergedError("the training loss of epoch 1 is nan")

    monkeypatch.setattr(loop, "_check_finite", diverges)
    assert "epoch 1 is nan" in run("train", ratings, *SMALL, "--out", tmp_path / "a.model", code=2).stderr
    assert list(tmp_path.iterdir()) == []
