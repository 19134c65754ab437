from __future__ import annotations

import pytest

from recoder.cli.columns import COMMON_NAMES, ROLES, choose_columns
from recoder.errors import ConfigError

NOTHING = dict.fromkeys(ROLES)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["userId", "movieId", "rating", "timestamp"], ["userId", "movieId", "rating", "timestamp", None]),
        (["title", "item_id", "User-ID"], ["User-ID", "item_id", None, None, "title"]),
        (["user", "item"], ["user", "item", None, None, None]),
        (["date", "CUSTOMER ID", "isbn", "stars"], ["CUSTOMER ID", "isbn", "stars", "date", None]),
    ],
)
def test_columns_are_found_by_common_names(present, expected):
    chosen, found = choose_columns(present, NOTHING, "f")
    assert chosen == found == {role: name for role, name in zip(ROLES, expected, strict=True) if name is not None}


def test_the_best_name_wins_and_the_order_of_columns_does_not_matter():
    for present in (["user", "user_id", "item"], ["item", "user_id", "user"]):
        assert choose_columns(present, NOTHING, "f")[0]["user"] == "user_id"


def test_a_given_column_is_taken_and_not_taken_again():
    chosen, found = choose_columns(["user_id", "user", "item"], {**NOTHING, "item": "user_id"}, "f")
    assert chosen == {"item": "user_id", "user": "user"}
    assert found == {"user": "user"}


def test_an_empty_name_means_no_column():
    chosen, _ = choose_columns(["user", "item", "rating"], {**NOTHING, "weight": ""}, "f")
    assert "weight" not in chosen


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="f has no column 'who' for --user; its columns are user, item"):
        choose_columns(["user", "item"], {**NOTHING, "user": "who"}, "f")


@pytest.mark.parametrize("given", [NOTHING, {**NOTHING, "item": ""}])
def test_without_a_column_of_items_the_option_is_named(given):
    with pytest.raises(ConfigError, match="no column that is named like items; say which it is with --item"):
        choose_columns(["user", "1193"], given, "f")


def test_no_name_is_common_for_two_roles():
    names = [name for common in COMMON_NAMES.values() for name in common]
    assert len(names) == len(set(names))
