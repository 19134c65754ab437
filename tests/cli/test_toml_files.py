from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder.cli.config import Config, DataConfig, SplitConfig, changed
from recoder.cli.toml_files import parse_value, read_toml, write_toml
from recoder.errors import ConfigError, FileFormatError

GOOD = """\
# where it is
[data]
path = "ratings.parquet"
names = [
    "user",

    "item",
]

[split]
kind = "strong"
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf8")
        return path

    return write


def test_a_file_is_read(file):
    config = read_toml(file(GOOD), Config)
    assert config.data == DataConfig(path="ratings.parquet", names=("user", "item"))
    assert config.split == SplitConfig(kind="strong")


def test_an_empty_file_leaves_all_defaults(file):
    assert read_toml(file(""), Config) == Config()


texts = st.none() | st.text(st.characters(codec="utf8", exclude_categories=["Cs"]), max_size=8)


@given(
    st.builds(
        Config,
        data=st.builds(
            DataConfig,
            path=texts,
            user=texts,
            names=st.none() | st.lists(st.text("ab'\"\\\n\té", max_size=3)).map(tuple),
            text_ids=st.booleans(),
            min_weight=st.floats(0, allow_infinity=False),
        ),
        split=st.builds(SplitConfig, kind=st.sampled_from(["none", "time"]), seed=st.integers(0, 2**63 - 1)),
    )
)
def test_what_is_written_is_read_again(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("toml") / "c.toml"
    path.write_bytes(write_toml(config).encode())
    assert read_toml(path, Config) == config


def test_all_settings_are_written_those_that_are_none_as_comments():
    written = write_toml(Config())
    for section in (DataConfig, SplitConfig):
        for field in fields(section):
            assert f"\n{field.name} = " in written or f"\n# {field.name} = " in written
    assert "\n# user = " in written
    assert "\nseed = 7\n" in written


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("[split]", "[spilt]", 10, "spilt: this file has no key 'spilt'; did you mean 'split'?"),
        ('kind = "strong"', 'knid = "strong"', 11, "knid: [split] has no key 'knid'; did you mean 'kind'?"),
        ('kind = "strong"', 'kind = "stong"', 11, "kind: 'stong' is none of"),
        ('kind = "strong"', "seed = 1.5", 11, "seed: 1.5 is a number, not a whole number"),
        ('    "user",', "    3,", 4, "names: 3 is a whole number, not text"),
        ('path = "ratings.parquet"', "path = false", 3, "path: False is true or false, not text"),
        ("[data]\n", "data = 1\n[other]\n", 2, "data: 'data' is a section: write [data], and its keys below"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(file, old, new, line, says):
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read_toml(file(GOOD.replace(old, new)), Config)
    assert str(caught.value).startswith(f"{file('')}, line {line}: {says}")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('kind = "strong"', "kind = strong", 11),
        ('kind = "strong"', 'kind = "strong"\nkind = "last"', 12),
        ("[split]", "[split", 10),
    ],
)
def test_what_is_no_toml_is_named_with_its_line(file, old, new, line):
    with pytest.raises(FileFormatError, match=f"run.toml, line {line}: this is no TOML: "):
        read_toml(file(GOOD.replace(old, new)), Config)


def test_other_files_are_refused_in_plain_words(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*; print one to start from with --print-config"):
        read_toml(tmp_path / "absent.toml", Config)
    (tmp_path / "binary").write_bytes(b"PAR1\xff\x00")
    with pytest.raises(FileFormatError, match="is no text of UTF-8"):
        read_toml(tmp_path / "binary", Config)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("true", True), ("[200, 100]", [200, 100]), ("adam", "adam"), ('"3"', "3"), ("", "")],
)
def test_a_value_on_the_command_line_needs_no_quotes(text, value):
    assert parse_value(text) == value


def test_changes_leave_alone_what_they_do_not_name():
    config = changed(Config(), {"data": {"path": "a", "user": None}, "split": {"seed": 3}})
    assert config == Config(data=DataConfig(path="a"), split=SplitConfig(seed=3))
    assert changed(config, {"data": {"user": ""}}).data.user == ""
