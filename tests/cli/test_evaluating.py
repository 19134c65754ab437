from __future__ import annotations

import json

import polars as pl
import pytest

import recoder
from cli_support import run
from recoder.metrics import NDCG, Recall


@pytest.fixture(scope="module")
def parts(ratings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    run("data", "split", ratings, "--kind", "strong", "--seed", 3, "--valid", 6, "--test", 12, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def trained(parts, tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "a.model"
    run("train", parts / "train.parquet", "--model", "ease", "--set", "l2=1", "--out", path, "--histories")
    return path


@pytest.fixture
def asked(parts):
    return ["--history", parts / "test_history.parquet", "--target", parts / "test_target.parquet"]


def test_held_out_users_in_files_are_judged_as_in_python(ratings, trained, asked):
    told = json.loads(run("evaluate", trained, *asked, "--metric", "NDCG@3", "--metric", "Recall@2", "--json").stdout)
    data = recoder.Interactions.from_parquet(ratings, user="user", item="film").binarize()
    _, _, test = data.split("strong", seed=3, num_valid_users=6, num_test_users=12)
    expected = recoder.load(trained).evaluate(test, [NDCG(3), Recall(2)])
    assert (told["model"], told["users"]) == (str(trained), 12)
    for metric in expected:
        found = told["metrics"][str(metric)]
        assert found["mean"] == pytest.approx(expected.mean[metric])
        assert found["stderr"] == pytest.approx(expected.stderr[metric])


def test_people_see_means_with_standard_errors(trained, asked):
    shown = run("evaluate", trained, *asked).stdout
    assert "test, 12 users" in shown
    assert "│ NDCG@100  │ 0." in shown
    assert "±" in shown


def test_users_in_training_are_judged_by_what_the_file_adds(parts, trained, tmp_path):
    train = pl.read_parquet(parts / "train.parquet")
    users = train["user"].unique(maintain_order=True)
    known = set(train[["user", "film"]].rows())
    missed = [(user, film) for user in users for film in (0, 1) if (user, film) not in known]
    later = pl.DataFrame([*missed, ("stranger", 0)], schema=["user", "film"], orient="row")
    later.write_parquet(tmp_path / "later.parquet")
    result = run("evaluate", trained, "--target", tmp_path / "later.parquet", "--json")
    assert json.loads(result.stdout)["users"] == len({user for user, _ in missed})
    assert "users to judge by are not in the model; they are left out" in result.stderr


def test_a_model_is_judged_again_by_its_own_split(ratings, tmp_path):
    path = tmp_path / "a.model"
    trained = json.loads(run("train", ratings, "--model", "ease", "--test", 12, "--out", path, "--json").stdout)
    again = json.loads(run("evaluate", path, "--json").stdout)
    assert again == {"model": str(path), **trained["test"]}
    other = json.loads(run("evaluate", path, "--metric", "Precision@4", "--json").stdout)
    assert list(other["metrics"]) == ["Precision@4"]


@pytest.mark.parametrize("more", [[], ["--histories"]])
def test_a_split_of_data_that_has_changed_is_refused(frame, tmp_path, more):
    data, path = tmp_path / "data.parquet", tmp_path / "a.model"
    frame.write_parquet(data)
    run("train", data, "--model", "ease", "--test", 12, "--out", path, *more)
    new = frame.filter(pl.col("user").is_in(["u1", "u2"])).with_columns(user=pl.col("user") + "00")
    pl.concat([frame, new]).write_parquet(data)
    for command in (["evaluate", path], ["report", path, "--out", tmp_path / "a.html"]):
        said = run(*command, code=2).stderr.splitlines()[-1]
        assert "was trained on 48 users, 24 items and 432 interactions, and the same split of" in said
        assert "now gives 50, 24 and 450, or others: the data has changed" in said
    assert not (tmp_path / "a.html").exists()


def test_users_of_other_names_are_others_where_the_model_knows_them(frame, tmp_path):
    data, path = tmp_path / "data.parquet", tmp_path / "a.model"
    frame.write_parquet(data)
    run("train", data, "--model", "ease", "--test", 12, "--out", path, "--histories")
    run("evaluate", path)
    frame.with_columns(user=pl.col("user") + "00").write_parquet(data)
    assert "the data has changed" in run("evaluate", path, code=2).stderr


def test_items_that_the_model_does_not_know_are_left_out_and_said(parts, trained, tmp_path):
    history = pl.read_parquet(parts / "test_history.parquet")
    more = history.head(1).with_columns(film=pl.lit(999, dtype=pl.Int64))
    pl.concat([history, more], how="vertical_relaxed").write_parquet(tmp_path / "history.parquet")
    asked = ["evaluate", trained, "--target", parts / "test_target.parquet", "--json"]
    plain = run(*asked, "--history", parts / "test_history.parquet")
    result = run(*asked, "--history", tmp_path / "history.parquet")
    assert f"1 of {len(history) + 1} interactions are with items that the model does not know" in result.stderr
    assert json.loads(result.stdout) == json.loads(plain.stdout)


def test_the_weights_that_a_model_learnt_from_are_those_that_it_is_judged_by(asked, models):
    asked = ["evaluate", models["weighted"], *asked, "--json"]
    told = [json.loads(run(*asked, *more).stdout) for more in ([], ["--min-weight", 3], ["--min-weight", 0])]
    assert told[0] == told[1] != told[2]


@pytest.fixture
def text_ids(tmp_path):
    """A model of text that looks like numbers, trained on all but one item of each user, which another file holds."""
    pairs = [(user, item) for user in range(12) for item in range(user % 2, 12, 2)]
    for name, is_later in (("known", False), ("later", True)):
        lines = [f"{user:03},{item:03}\n" for user, item in pairs if (item // 2 == user // 2) == is_later]
        (tmp_path / f"{name}.csv").write_text("user,item\n" + "".join(lines))
    model = tmp_path / "text.model"
    run("train", tmp_path / "known.csv", "--model", "ease", "--text-ids", "--histories", "--out", model)
    return model


def test_ids_of_files_are_text_where_those_of_the_model_are(text_ids, tmp_path):
    target = ["--target", tmp_path / "later.csv", "--metric", "Recall@3", "--json"]
    for more in ([], ["--history", tmp_path / "known.csv"]):
        result = run("evaluate", text_ids, *target, *more)
        assert json.loads(result.stdout)["users"] == 12
        assert "left out" not in result.stderr


def test_users_of_two_files_are_ids_of_one_kind(models, tmp_path):
    pl.DataFrame({"user": [1], "film": [2]}).write_parquet(tmp_path / "history.parquet")
    pl.DataFrame({"user": ["1"], "film": [4]}).write_parquet(tmp_path / "target.parquet")
    files = ["--history", tmp_path / "history.parquet", "--target", tmp_path / "target.parquet"]
    said = run("evaluate", models["bare"], *files, code=2).stderr
    assert "users are whole numbers in one of the files and text in the other; read both as text: --text-ids" in said
    run("evaluate", models["bare"], *files, "--text-ids")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("bare", [], "was trained without users to test with; give --history and --target, or --target"),
        ("bare", ["--history", "a"], "a history alone says not what is to be found; give --target too"),
        ("bare", ["--target", "RATINGS"], "holds no histories of users, so it cannot answer for their ids"),
        ("ease", ["--target", "OTHERS"], "no user to judge by is in the model"),
        ("ease", ["--history", "OTHERS", "--target", "RATINGS"], "the files hold different users"),
        ("ease", ["--metric", "Foo@3"], "there is no metric 'Foo@3'"),
        ("ease", ["--min-weight", "5"], "--min-weight would say how a file is read, and there is none; give --target"),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_line(models, ratings, tmp_path, name, arguments, said):
    others = tmp_path / "others.csv"
    others.write_text("user,film\nx,1\n")
    named = {"RATINGS": ratings, "OTHERS": others}
    result = run("evaluate", models[name], *(named.get(each, each) for each in arguments), code=2)
    assert said in result.stderr.splitlines()[-1]


def test_what_is_in_the_histories_is_not_to_be_found(parts, trained, tmp_path):
    history, target = (
        pl.read_parquet(parts / f"test_{name}.parquet")["user", "film"] for name in ("history", "target")
    )
    pl.concat([history, target]).write_parquet(tmp_path / "all.parquet")
    asked = ["--history", parts / "test_history.parquet", "--metric", "NDCG@3", "--json"]
    expected = run("evaluate", trained, "--target", parts / "test_target.parquet", *asked)
    result = run("evaluate", trained, "--target", tmp_path / "all.parquet", *asked)
    assert json.loads(result.stdout)["metrics"] == json.loads(expected.stdout)["metrics"]
    number = f"{len(history)} of {len(history) + len(target)} interactions to judge by are in the users' histories"
    assert number in result.stderr


def test_a_model_of_python_that_learnt_from_weights_is_judged_by_files_without_any(parts, tmp_path):
    weighted = recoder.Interactions.from_parquet(parts / "train.parquet", user="user", item="film", weight="rating")
    path = tmp_path / "als.model"
    recoder.fit(weighted, "als", embedding_size=8, seed=1).save(path)
    asked = {}
    for name in ("history", "target"):
        rows = pl.read_parquet(parts / f"test_{name}.parquet")
        rows.select("user", "film").write_parquet(tmp_path / f"{name}.parquet")
        asked[name] = tmp_path / f"{name}.parquet"
    done = run("evaluate", path, "--history", asked["history"], "--target", asked["target"], "--json")
    assert json.loads(done.stdout)["users"] == 12
    assert "history.parquet has no column that is named like weights, which the model learnt from" in done.stderr
