from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from cli_support import run as cli_run
from recoder._locks import held_alone
from recoder.cli.app import app
from recoder.data import Interactions, strong_generalization

COLUMNS = {"user": "who", "item": "film", "weight": "rating", "time": "timestamp", "title": "title"}
NAMED = [text for role, name in COLUMNS.items() for text in (f"--{role}", name)]


@pytest.fixture
def frame():
    rng = np.random.default_rng(5)
    pairs = np.unique(rng.integers(0, [40, 25], (500, 2)), axis=0)
    rng.shuffle(pairs)
    return pl.DataFrame(
        {
            "who": [f"u{user}" for user in pairs[:, 0]],
            "film": pairs[:, 1] + 100,
            "rating": rng.integers(1, 6, len(pairs)).astype(float),
            "timestamp": rng.permutation(len(pairs)) + 1_600_000_000,
            "title": [f"Film {item}" for item in pairs[:, 1]],
        }
    )


@pytest.fixture
def split(frame, tmp_path):
    frame.write_parquet(tmp_path / "all.parquet")

    def run(*arguments):
        out = tmp_path / "parts"
        result = CliRunner().invoke(
            app, ["data", "split", str(tmp_path / "all.parquet"), "--out", str(out), *NAMED, *map(str, arguments)]
        )
        assert result.exit_code == 0, result.output
        parts = {path.stem: pl.read_parquet(path) for path in out.glob("*.parquet")}
        return parts, json.loads((out / "protocol.json").read_text()), result

    return run


def pairs(frame):
    return set(frame.select("who", "film").iter_rows())


def test_held_out_users_keep_their_ids_weights_times_and_titles(split, frame):
    parts, protocol, _ = split("--kind", "strong", "--seed", 3)
    assert sorted(parts) == ["test_history", "test_target", "train", "valid_history", "valid_target"]
    whole = set(frame.select(COLUMNS.values()).iter_rows())
    for part in parts.values():
        rows = list(part.with_columns(pl.col("title").cast(pl.String)).select(COLUMNS.values()).iter_rows())
        assert rows
        assert set(rows) <= whole
        assert len(set(rows)) == len(rows)
    assert sum(map(len, parts.values())) == len(frame) - protocol["dropped_interactions"]
    users = {name: set(part["who"]) for name, part in parts.items()}
    assert users["valid_history"] == users["valid_target"]
    assert not users["train"] & users["valid_history"]
    assert not users["test_history"] & users["valid_history"]
    assert not pairs(parts["test_history"]) & pairs(parts["test_target"])


def test_the_parts_are_those_of_the_library(split, frame):
    parts, protocol, _ = split(
        "--kind", "strong", "--seed", 3, "--valid", 3, "--test", 0.2, "--fold-in", 0.5, "--min-interactions", 4
    )
    everything = Interactions.from_frame(frame, user="who", item="film", weight="rating")
    expected = strong_generalization(
        everything, num_valid_users=3, num_test_users=0.2, fold_in=0.5, seed=3, min_interactions=4
    )
    assert {name: protocol[name] for name in expected.protocol} == dict(expected.protocol)
    train = expected.train
    rows, cols = train.matrix.nonzero()
    assert pairs(parts["train"]) == set(zip(train.user_ids.raw_ids(rows), train.item_ids.raw_ids(cols), strict=True))
    assert parts["valid_history"]["who"].n_unique() == 3


def test_the_last_of_each_user_is_the_latest(split, frame):
    parts, protocol, _ = split("--kind", "last", "--last", 2)
    assert sorted(parts) == ["test", "train"]
    assert protocol["k"] == 2
    assert len(parts["test"]) == 2 * parts["train"]["who"].n_unique()
    latest = dict(parts["train"].group_by("who").agg(pl.col("timestamp").max()).iter_rows())
    assert all(time > latest[user] for user, time in parts["test"].select("who", "timestamp").iter_rows())


def test_what_is_to_be_found_happens_from_the_moment_on(split):
    parts, protocol, _ = split("--kind", "time", "--moment", "2020-09-13T12:30:00")
    moment = 1_600_000_200
    assert protocol["time"] == moment
    assert parts["train"]["timestamp"].max() < moment <= parts["test"]["timestamp"].min()


def test_a_share_of_the_interactions_is_held_out(split, frame):
    parts, _, _ = split("--kind", "random", "--fraction", 0.5)
    assert len(parts["test"]) == pytest.approx(len(frame) / 2, rel=0.1)
    parts, _, _ = split("--kind", "time", "--fraction", 0.1)
    assert len(parts["test"]) == pytest.approx(len(frame) / 10, rel=0.2)


def test_light_interactions_can_be_left_out(split):
    parts, protocol, _ = split("--kind", "random", "--min-weight", 3)
    assert min(part["rating"].min() for part in parts.values()) == 3
    assert protocol["min_weight"] == 3


def test_programs_and_people_are_told_what_was_written(split, tmp_path):
    parts, protocol, result = split("--kind", "last", "--json")
    told = json.loads(result.stdout)
    assert told == {
        "folder": str(tmp_path / "parts"),
        "rows": {name: len(part) for name, part in parts.items()},
        "protocol": protocol,
    }
    _, _, result = split("--kind", "last")
    assert f"│ train.parquet │  {len(parts['train'])} │" in result.stdout
    assert "how it was made in protocol.json" in result.stdout


def test_files_with_users_and_items_alone_are_split(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user in range(9) for item in range(4)))
    out = tmp_path / "parts"
    result = CliRunner().invoke(app, ["data", "split", str(path), "--kind", "random", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert pl.read_parquet(out / "test.parquet").columns == ["user", "item"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say how to split: --kind strong, random, last, time"),
        (["--kind", "last", "--valid", "3"], "--valid is for --kind strong; the split 'last' does not use it"),
        (["--kind", "strong", "--fraction", "0.5"], "--fraction is for --kind random or time"),
        (["--kind", "last"], "the split 'last' needs times, and there are none; say which column has them: --time"),
        (["--kind", "strong", "--valid", "40"], "users are to be held out"),
    ],
)
def test_what_cannot_be_split_is_said_in_one_line(tmp_path, arguments, said):
    path = tmp_path / "pairs.csv"
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user in range(9) for item in range(4)))
    result = CliRunner().invoke(
        app, ["data", "split", str(path), "--user", "user", "--out", str(tmp_path / "parts"), *arguments]
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr.splitlines()[-1]
    assert not (tmp_path / "parts").exists()


def test_times_that_nobody_asked_for_are_left_out_where_they_are_none(tmp_path):
    path, out = tmp_path / "pairs.csv", tmp_path / "parts"
    rows = [f"{user},{item},31/05/2024\n" for user in range(9) for item in range(4)]
    path.write_text("user,item,date\n" + "".join(rows))
    asked = ["data", "split", path, "--out", out]
    said = cli_run(*asked, "--kind", "random").stderr
    assert "times are left out: column 'date' holds string" in said
    assert pl.read_parquet(out / "test.parquet").columns == ["user", "item"]
    for more in (["--kind", "random", "--time", "date"], ["--kind", "last"]):
        said = cli_run(*asked, *more, code=2).stderr
        assert "column 'date' holds string" in said
        assert "choose another --time, or '' for none" in said


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ("0", "weights are left out: some are 0, and each row counts; with --weight rating"),
        ("-1", "weights are left out: column 'rating'"),
    ],
)
def test_weights_that_nobody_asked_for_do_not_drop_rows(tmp_path, weight, said):
    path, out = tmp_path / "pairs.csv", tmp_path / "parts"
    rows = [f"{user},{item},{weight if item == 1 else 4}\n" for user in range(9) for item in range(4)]
    path.write_text("user,item,rating\n" + "".join(rows))
    asked = ["data", "split", path, "--out", out, "--kind", "random"]
    assert said in cli_run(*asked).stderr
    parts = [pl.read_parquet(out / f"{name}.parquet") for name in ("train", "test")]
    assert [part.columns for part in parts] == [["user", "item"]] * 2
    assert sum(map(len, parts)) == 36
    if weight == "0":
        cli_run(*asked, "--weight", "rating")
        parts = [pl.read_parquet(out / f"{name}.parquet") for name in ("train", "test")]
        assert sum(map(len, parts)) == 27
    else:
        assert "negative" in cli_run(*asked, "--weight", "rating", code=2).stderr


@pytest.fixture
def pairs_file(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"{user},{item},{1_600_000_000 + user + item}\n" for user in range(9) for item in range(4)]
    path.write_text("user,item,time\n" + "".join(rows))
    return path


def test_parts_of_another_split_do_not_stay_beside_the_new_ones(pairs_file, tmp_path):
    out = tmp_path / "parts"
    strong = ("data", "split", pairs_file, "--kind", "strong", "--valid", 2, "--test", 2, "--out", out)
    cli_run(*strong)
    before = sorted(path.name for path in out.iterdir())
    protocol = (out / "protocol.json").read_text()
    said = cli_run("data", "split", pairs_file, "--kind", "last", "--out", out, code=2).stderr
    assert f"{out} holds test_history.parquet, test_target.parquet, valid_history.parquet, " in said
    assert "remove what is there, or choose another folder with --out" in said
    said = cli_run(*strong[:5], "--valid", 2, "--test", 0, "--out", out, code=2).stderr
    assert f"{out} holds test_history.parquet, test_target.parquet of another split" in said
    assert sorted(path.name for path in out.iterdir()) == before
    assert (out / "protocol.json").read_text() == protocol
    cli_run(*strong, "--seed", 8)  # the same parts are replaced
    assert (out / "protocol.json").read_text() != protocol


class Killed(BaseException):
    """What ends a process, of which nothing of it hears."""


@pytest.mark.parametrize("num_renamed", range(6))
def test_parts_of_two_splits_are_never_taken_for_one(pairs_file, tmp_path, monkeypatch, num_renamed):
    out = tmp_path / "parts"
    asked = ["data", "split", pairs_file, "--kind", "strong", "--valid", 2, "--test", 2, "--out", out]
    cli_run(*asked)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    names = []
    replace = Path.replace

    def killed_in_between(path, target):
        if len(names) == num_renamed:
            raise Killed
        names.append(Path(target).name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed_in_between)
    with pytest.raises(Killed):
        CliRunner().invoke(app, [*map(str, asked), "--seed", "8"])
    assert "protocol.json" not in names
    assert {path.name for path in out.iterdir()} == before.keys() - {"protocol.json"}
    monkeypatch.undo()
    cli_run(*asked, "--seed", 8)
    assert {path.name for path in out.iterdir()} == before.keys()


def test_a_split_that_cannot_be_written_leaves_the_one_before(pairs_file, tmp_path, monkeypatch):
    out = tmp_path / "parts"
    asked = ["data", "split", pairs_file, "--kind", "random", "--out", out]
    cli_run(*asked)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write = parquet.write_table

    def full(table, path, **more):
        if "test.parquet" in str(path):
            raise OSError(28, "No space left on device")
        write(table, path, **more)

    monkeypatch.setattr(parquet, "write_table", full)
    assert "test.parquet: No space left on device" in cli_run(*asked, "--seed", 8, code=2).stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("num_synced", range(3))
def test_a_split_that_cannot_be_synced_leaves_the_one_before(pairs_file, tmp_path, monkeypatch, num_synced):
    out = tmp_path / "parts"
    asked = ["data", "split", pairs_file, "--kind", "random", "--out", out]
    cli_run(*asked)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    synced = []
    fsync = os.fsync

    def failing(descriptor):
        if len(synced) == num_synced:
            raise OSError(5, "Input/output error")
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    said = cli_run(*asked, "--seed", 8, code=2).stderr
    assert "Input/output error; nothing was changed there" in said
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("num_renamed", range(3))
def test_where_a_split_stops_while_its_files_take_their_places_it_says_which_are_new(
    pairs_file, tmp_path, monkeypatch, num_renamed, error
):
    out = tmp_path / "parts"
    asked = ["data", "split", pairs_file, "--kind", "random", "--out", out]
    cli_run(*asked)
    names = []
    replace = Path.replace

    def stopped_in_between(path, target):
        if len(names) == num_renamed:
            raise error
        names.append(Path(target).name)
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopped_in_between)
        said = cli_run(*asked, "--seed", 8, code=2 if isinstance(error, OSError) else 130).stderr
    assert (
        f"of the new split there is {', '.join(names) or 'nothing'}, other parts are of the one before, "
        "and there is no protocol.json: make the split again"
    ) in said
    assert {path.name for path in out.iterdir()} == {"train.parquet", "test.parquet"}
    cli_run(*asked, "--seed", 8)


def test_a_folder_in_the_place_of_the_protocol_is_said_before_anything_is_changed(pairs_file, tmp_path):
    out = tmp_path / "parts"
    (out / "protocol.json").mkdir(parents=True)
    said = cli_run("data", "split", pairs_file, "--kind", "random", "--out", out, code=2).stderr
    assert "protocol.json: it is a folder; nothing was changed there" in said
    assert [path.name for path in out.iterdir()] == ["protocol.json"]


@pytest.mark.parametrize("moment", ["2020-09-13", '"2020-09-13"', "2020-09-13T00:00:00Z", "1599955200"])
def test_a_moment_in_a_file_is_that_of_the_option(pairs_file, tmp_path, moment):
    toml = tmp_path / "split.toml"
    toml.write_text(f"[split]\nkind = 'time'\nmoment = {moment}\n")
    said = {
        cli_run("data", "split", pairs_file, *more, "--out", tmp_path / "parts", code=2).stderr.splitlines()[-1]
        for more in (["--config", toml], ["--kind", "time", "--moment", "2020-09-13"])
    }
    assert said == {"recoder: nothing happened before 1599955200; the first interaction is at 1600000000: split later"}


def test_weights_that_are_looked_at_must_be_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user,film,relevance\n" + "".join(f"{n % 9},{n},0.5\n" for n in range(90)))
    asked = ["data", "split", path, "--kind", "random", "--out", tmp_path / "parts"]
    assert "no column that is named like weights" in cli_run(*asked, "--min-weight", 0.4, code=2).stderr
    cli_run(*asked, "--min-weight", 0.4, "--weight", "relevance")


def test_a_share_is_split_off_rather_than_at_the_moment_of_a_file(frame, tmp_path):
    ratings = tmp_path / "ratings.parquet"
    frame.write_parquet(ratings)
    asked = ["data", "split", ratings, *NAMED, "--kind", "time", "--out", tmp_path / "parts", "--fraction", 0.3]
    assert "give one of them" in cli_run(*asked, "--moment", "2023-11-15", code=2).stderr
    toml = tmp_path / "a.toml"
    toml.write_text("[split]\nkind = 'time'\nmoment = 2000-01-01\n")
    cli_run(*asked, "--config", toml)
    assert json.loads((tmp_path / "parts" / "protocol.json").read_text())["fraction"] == 0.3


def test_two_splits_do_not_take_the_same_places_at_once(pairs_file, tmp_path):
    out = tmp_path / "file"
    out.mkdir()
    (out / "file").mkdir()  # a folder that has nothing to do with it
    asked = ["data", "split", pairs_file, "--kind", "strong", "--valid", 2, "--test", 2, "--out", out]
    with held_alone(out / "protocol.json"):
        said = cli_run(*asked, code=2).stderr
    assert f"another process writes a split to {out}" in said
    assert [path.name for path in out.iterdir()] == ["file"]
    cli_run(*asked)
