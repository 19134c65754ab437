from __future__ import annotations

import pytest

from cli_support import run
from recoder.cli.out_files import check_outs
from recoder.errors import ConfigError, FileWriteError


def commands(out):
    """Commands with files that are not there: had one begun to read, it would say so."""
    return [
        ["train", "absent.csv", "--out", out],
        ["tune", "absent.csv", "--model", "als", "--out", out],
        ["recommend", "absent.model", "absent.csv", "--out", f"{out}.csv"],
        ["index", "absent.model", "--out", out],
        ["report", "absent.model", "--out", out],
        ["data", "split", "absent.csv", "--kind", "random", "--out", out],
        ["data", "convert", "absent.csv", f"{out}.csv"],
        ["demo", "--out", out],
    ]


@pytest.mark.parametrize("command", commands("file/below"), ids=lambda command: command[0])
def test_a_place_below_a_file_is_refused_before_anything_is_read(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'} is a file, no folder" in run(*command, code=2).stderr


@pytest.mark.parametrize(
    "command",
    [
        ["train", "absent.csv", "--out", "folder"],
        ["train", "absent.csv", "--out", "a.model", "--log", "folder"],
        ["tune", "absent.csv", "--model", "als", "--out", "folder"],
        ["tune", "absent.csv", "--model", "als", "--out", "a.model", "--study", "folder"],
        ["recommend", "absent.model", "absent.csv", "--out", "folder"],
        ["index", "absent.model", "--out", "folder"],
        ["report", "absent.model", "--out", "folder"],
        ["data", "convert", "absent.csv", "folder"],
    ],
    ids=" ".join,
)
def test_a_folder_is_no_file_to_write(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    said = run(*(word.replace("folder", "folder.csv") for word in command), code=2).stderr
    assert "folder.csv is a folder; name a file in it" in said


@pytest.mark.parametrize(
    "command",
    [
        ["train", "x.csv", "--out", "x.csv"],
        ["train", "x.csv", "--out", "a.model", "--log", "x.csv"],
        ["tune", "x.csv", "--model", "als", "--out", "x.csv"],
        ["tune", "x.csv", "--model", "als", "--out", "a.model", "--study", "x.csv"],
        ["recommend", "a.model", "x.csv", "--out", "x.csv"],
        ["recommend", "a.model", "--candidates", "x.csv", "--out", "x.csv"],
        ["recommend", "a.model", "--exclude", "x.csv", "--out", "./x.csv"],
        ["recommend", "x.csv", "--out", "x.csv"],
        ["index", "x.csv", "--out", "x.csv"],
        ["report", "x.csv", "--out", "x.csv"],
        ["report", "a.model", "--target", "x.csv", "--out", "x.csv"],
        ["data", "convert", "x.csv", "x.csv"],
        ["data", "convert", "x.csv", "link.csv"],
    ],
    ids=" ".join,
)
def test_what_is_read_is_not_written_over(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("user,item\n1,2\n")
    (tmp_path / "link.csv").symlink_to("x.csv")
    assert "would be written over x.csv, which is read; choose another" in run(*command, code=2).stderr
    assert (tmp_path / "x.csv").read_text() == "user,item\n1,2\n"


def test_a_split_does_not_write_over_its_own_data(tmp_path, ratings):
    data = tmp_path / "train.parquet"
    data.write_bytes(ratings.read_bytes())
    said = run("data", "split", data, "--item", "film", "--kind", "random", "--out", tmp_path, code=2).stderr
    assert "would be written over" in said
    assert data.read_bytes() == ratings.read_bytes()


def test_two_results_do_not_go_to_one_file(tmp_path):
    with pytest.raises(ConfigError, match=r"--log .*a\.csv would be written over .*a\.csv, which is that of --out"):
        check_outs(out=tmp_path / "a.csv", log=tmp_path / "a.csv")


def test_checking_makes_nothing(tmp_path):
    check_outs(out=tmp_path / "new" / "newer" / "a.model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", commands("new/deeper")[:-1], ids=lambda command: command[0])
def test_what_stands_above_a_folder_that_is_missing_is_not_in_the_way(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for name in ("deeper", "deeper.csv", "file", "train.parquet", "test.parquet"):
        (tmp_path / name).mkdir()
    assert "absent" in run(*command, code=2).stderr  # nothing but what is to be read
    assert not (tmp_path / "new").exists()


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = f"new/{'a' * 300}"
    with pytest.raises(FileWriteError, match=rf"cannot write {out}: File name too long; nothing was changed there"):
        check_outs(out=out)
