from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy import sparse

from recoder.data import IdMap, Interactions, titles
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError

FILMS = {
    "user": [7, 9, 7, 8],
    "film": ["heat", "heat", "alien", "brazil"],
    "stars": [4.0, 2.0, 5.0, 3.0],
    "name": ["Heat (1995)", "Heat, again", "Alien (1979)", "Brazil (1985)"],
}
DENSE = np.array([[4, 5, 0], [2, 0, 0], [0, 0, 3]], dtype=np.float32)


@pytest.fixture
def films():
    return Interactions.from_frame(pl.DataFrame(FILMS), user="user", item="film", weight="stars", title="name")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, lambda rows: pl.DataFrame(rows).lazy()])
def test_from_frame_keeps_ids_weights_and_first_titles(make):
    films = Interactions.from_frame(make(FILMS), user="user", item="film", weight="stars", title="name")
    np.testing.assert_array_equal(films.matrix.toarray(), DENSE)
    assert films.user_ids == IdMap([7, 9, 8])
    assert films.item_ids == IdMap(["heat", "alien", "brazil"])
    assert films.titles == ("Heat (1995)", "Alien (1979)", "Brazil (1985)")
    assert (films.num_users, films.num_items) == (3, 3)


@pytest.mark.parametrize(
    ("frame", "columns"),
    [
        (pd.DataFrame(FILMS), {"user": None, "item": "film"}),
        (pd.DataFrame({0: [1, 2], 1: [3, 4]}), {"user": 0, "item": 1}),
        (pd.DataFrame(FILMS), {"user": "user", "item": "film", "weight": 3}),
    ],
)
def test_columns_are_named_by_strings(frame, columns, tmp_path):
    wrong = next(name for name in columns.values() if not isinstance(name, str))
    with pytest.raises(ConfigError, match=rf"a column is named {wrong}, which is no string; .* frame.rename"):
        Interactions.from_frame(frame, **columns)
    (tmp_path / "a.csv").write_text("user,film\n1,2\n")
    with pytest.raises(ConfigError, match=f"a column is named {wrong}"):
        Interactions.from_csv(tmp_path / "a.csv", **columns)


def test_text_that_is_not_unicode_is_said():
    half = pd.Series(["\ud800", "b"], dtype=object)
    frame = pd.DataFrame({"u": ["a", "b"], "i": [1, 2]})
    with pytest.raises(DataTypeError, match="column 'u' holds text that is not Unicode"):
        Interactions.from_frame(frame.assign(u=half), user="u", item="i")
    with pytest.raises(DataTypeError, match="column 't' holds text that is not Unicode"):
        Interactions.from_frame(frame.assign(t=half), user="u", item="i", title="t")
    with pytest.raises(DataTypeError, match="the list of ids holds text that is not Unicode"):
        IdMap(["\ud800"])
    with pytest.raises(DataTypeError, match="titles hold text that is not Unicode"):
        Interactions.from_matrix(sparse.eye(2, format="csr"), titles=["\ud800", "b"])
    for given in ({"x": "One", "y": "Two"}, {"One", "Two"}):
        with pytest.raises(DataTypeError, match=f"in the order of the items, not a {type(given).__name__}"):
            Interactions.from_matrix(sparse.eye(2, format="csr"), titles=given)


def test_rows_without_a_weight_count_one_however_often_they_stand_there(caplog):
    frame = pd.DataFrame({"u": ["a", "a", "a", "b"], "i": [1, 1, 2, 2]})
    with caplog.at_level(logging.INFO, "recoder.data"):
        clicks = Interactions.from_frame(frame, user="u", item="i")
    np.testing.assert_array_equal(clicks.matrix.toarray(), [[1, 1], [0, 1]])
    assert clicks.titles is None
    assert "1 of 4 rows repeat" in caplog.text


def test_weights_of_repeated_pairs_are_added_up_with_a_warning(caplog):
    frame = pd.DataFrame({"u": ["a", "a"], "i": [1, 1], "w": [2, 3]})
    with caplog.at_level(logging.WARNING, "recoder.data"):
        plays = Interactions.from_frame(frame, user="u", item="i", weight="w")
    np.testing.assert_array_equal(plays.matrix.toarray(), [[5]])
    assert "1 of 2 rows repeat" in caplog.text


def test_users_and_items_of_weight_zero_stay():
    frame = pd.DataFrame({"u": ["a", "b"], "i": [1, 2], "w": [0, 3]})
    plays = Interactions.from_frame(frame, user="u", item="i", weight="w")
    assert plays.matrix.shape == (2, 2)
    assert plays.matrix.nnz == 1


@pytest.mark.parametrize(
    ("change", "columns", "error", "message"),
    [
        ({}, {"user": "who"}, ConfigError, "no column 'who'"),
        ({}, {"title": "label"}, ConfigError, "no column 'label'"),
        ({"stars": [1, 2, 3, -4]}, {}, DataError, "'stars' holds 1 values that are negative"),
        ({"film": ["a", None, None, "b"]}, {}, DataError, "'film' holds 2 missing"),
        ({"name": [1, 2, 3, 4]}, {}, DataTypeError, "titles are a list of strings"),
        ({"user": [1.5, 2, 3, 4]}, {}, DataTypeError, "'user' holds double"),
        ({name: [] for name in FILMS}, {}, EmptyDataError, "no rows"),
    ],
)
def test_bad_frames_are_refused(change, columns, error, message):
    names = {"user": "user", "item": "film", "weight": "stars", "title": "name", **columns}
    with pytest.raises(error, match=message):
        Interactions.from_frame(pa.table({**FILMS, **change}), **names)


def test_from_matrix_numbers_users_and_items():
    made = Interactions.from_matrix(sparse.coo_matrix(DENSE.astype(int)), titles=(t for t in "xyz"))
    np.testing.assert_array_equal(made.matrix.toarray(), DENSE)
    assert made.user_ids == made.item_ids == IdMap([0, 1, 2])
    assert made.titles == ("x", "y", "z")


def test_ids_may_be_lists_or_maps():
    matrix = sparse.csr_matrix(np.eye(2))
    listed = Interactions(matrix, ["a", "b"], [5, 6])
    assert listed.select_users([1]).user_ids.raw_ids([0]) == ["b"]
    mapped = Interactions.from_matrix(matrix, user_ids=listed.user_ids, item_ids=listed.item_ids)
    assert (mapped.user_ids, mapped.item_ids) == (listed.user_ids, listed.item_ids)
    with pytest.raises(DataTypeError):
        Interactions(matrix, None, [5, 6])


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view(), pa.large_string()])
def test_first_titles_are_found_whatever_the_column_is(kind, monkeypatch):
    monkeypatch.setattr(titles, "MOST_OF_STRINGS", 5)
    column = pa.chunked_array([["Two", "One"], [None, "late", None]], kind)
    frame = pa.table({"user_id": [1, 1, 1, 2, 2], "item_id": [2, 1, 3, 3, 1], "title": column})
    assert Interactions.from_frame(frame, title="title").titles == ("Two", "One", "3")


def test_filter_keeps_what_weighs_enough_and_every_user_and_item(films):
    liked = films.filter(min_weight=4)
    np.testing.assert_array_equal(liked.matrix.toarray(), [[4, 5, 0], [0, 0, 0], [0, 0, 0]])
    assert (liked.user_ids, liked.item_ids, liked.titles) == (films.user_ids, films.item_ids, films.titles)


def test_drop_empty_drops_users_and_items_that_have_none(films):
    liked = films.filter(min_weight=3).drop_empty()
    np.testing.assert_array_equal(liked.matrix.toarray(), [[4, 5, 0], [0, 0, 3]])
    assert liked.user_ids == IdMap([7, 8])
    liked = films.filter(min_weight=4).drop_empty()
    np.testing.assert_array_equal(liked.matrix.toarray(), [[4, 5]])
    assert liked.item_ids == IdMap(["heat", "alien"])
    assert liked.titles == ("Heat (1995)", "Alien (1979)")


def test_filter_that_leaves_nothing_names_the_largest_weight(films):
    with pytest.raises(EmptyDataError, match=r"5\.5 or more; the largest is 5"):
        films.filter(min_weight=5.5)


def test_drop_empty_of_nothing_is_an_error():
    with pytest.raises(EmptyDataError, match="none of the 2 users"):
        Interactions.from_matrix(sparse.csr_matrix((2, 3))).drop_empty()


def test_binarize_sets_every_weight_to_one(films):
    np.testing.assert_array_equal(films.binarize().matrix.toarray(), DENSE != 0)


def test_select_keeps_ids_and_titles_beside_their_rows_and_columns(films):
    part = films.select_users([2, 0]).select_items([1, 2])
    np.testing.assert_array_equal(part.matrix.toarray(), DENSE[[2, 0]][:, [1, 2]])
    assert part.user_ids == IdMap([8, 7])
    assert part.item_ids == IdMap(["alien", "brazil"])
    assert part.titles == ("Alien (1979)", "Brazil (1985)")


def test_select_in_any_order_stays_canonical(films):
    part = films.select_items([2, 1, 0])
    np.testing.assert_array_equal(part.matrix.toarray(), DENSE[:, ::-1])
    assert part.matrix.has_sorted_indices


def test_selecting_twice_or_nobody_is_an_error(films):
    with pytest.raises(DataError, match="more than once"):
        films.select_users([1, 1])
    with pytest.raises(ShapeError, match="0 users"):
        films.select_users([])


def test_every_method_leaves_the_interactions_as_they_were(films):
    before = films.matrix.copy()
    films.filter(min_weight=4)
    films.binarize()
    films.drop_empty()
    films.select_users([0])
    films.select_items([0])
    assert (films.matrix != before).nnz == 0
    np.testing.assert_array_equal(films.matrix.data, before.data)


def test_attributes_cannot_be_set(films):
    with pytest.raises(dataclasses.FrozenInstanceError):
        films.titles = None


@pytest.mark.parametrize("ids", [[7, 7, 8, 9], ["x7", "x7", "x8", "x9"]])
def test_an_item_without_a_title_goes_by_its_id(ids, caplog):
    caplog.set_level("INFO", "recoder.data")
    frame = pl.DataFrame({"user": [1, 2, 3, 4], "film": ids, "name": [None, "Heat", "Alien", None]})
    films = Interactions.from_frame(frame, user="user", item="film", title="name")
    assert films.titles == (str(ids[0]), "Alien", str(ids[3]))  # that of its first row, which has none
    assert "2 of 3 items have no title" in caplog.text


@pytest.mark.parametrize("dtype", [object, "category"])
def test_titles_may_be_objects_or_categories(dtype, caplog):
    caplog.set_level("INFO", "recoder.data")
    frame = pd.DataFrame({"user": [1, 2, 3], "film": [7, 8, 7], "name": ["Heat", None, "Heat, again"]})
    films = Interactions.from_frame(frame.astype({"name": dtype}), user="user", item="film", title="name")
    assert films.titles == ("Heat", "8")
    assert "1 of 2 items have no title" in caplog.text


def test_title_of_falls_back_to_the_raw_id(films):
    assert films.title_of(1) == "Alien (1979)"
    assert Interactions(films.matrix, films.user_ids, films.item_ids).title_of(1) == "alien"
    assert Interactions.from_matrix(films.matrix).title_of(2) == "2"


@pytest.mark.parametrize("col", [-1, 3])
def test_title_of_an_unknown_item_is_an_error(films, col):
    with pytest.raises(UnknownIdError, match=rf"column {col} is outside the 3 items .*item_ids.indices"):
        films.title_of(col)


@pytest.mark.parametrize(
    "made",
    [
        dict,
        lambda titles: pd.DataFrame({"item_id": list(titles), "title": list(titles.values())}),
        lambda titles: pl.LazyFrame({"item_id": list(titles), "title": list(titles.values())}),
        lambda titles: pa.table(
            {"item_id": list(titles), "title": pa.array(list(titles.values())).dictionary_encode()}
        ),
    ],
)
def test_titles_of_elsewhere_are_those_of_the_items_by_id(films, caplog, made):
    ids = films.item_ids.raw_ids([0, 1, 2])
    titles = {ids[2]: "Third", "other": "Other", ids[0]: "First"}
    with caplog.at_level("INFO"):
        found = films.with_titles(made(titles))
    assert found.titles == ("First", ids[1], "Third")
    assert "1 of 3 items have no title" in caplog.text
    assert films.titles != found.titles
    assert found.matrix is films.matrix or (found.matrix != films.matrix).nnz == 0


def test_of_an_item_that_has_two_titles_the_first_counts(films):
    ids = films.item_ids.raw_ids([0, 1, 2])
    frame = pd.DataFrame({"film": [ids[1], ids[0], ids[1], ids[2]], "name": ["A", "B", "C", None]})
    assert films.with_titles(frame, item="film", title="name").titles == ("B", "A", ids[2])


def test_titles_that_cannot_be_of_the_items_are_said(films):
    for given, error, words in (
        ({1: "One"}, DataTypeError, "1, which cannot be known: ids are strings"),
        ({"alien": 3}, DataTypeError, "titles are a list of strings; 3 is not"),
        (pd.DataFrame({"item_id": ["alien"], "title": [3.5]}), DataTypeError, "column 'title' holds double"),
        (pd.DataFrame({"id": ["alien"]}), ConfigError, "no column 'item_id'"),
        (["Alien"], DataTypeError, "cannot read a list as a data frame"),
    ):
        with pytest.raises(error, match=words):
            films.with_titles(given)


def test_repr_counts():
    assert repr(Interactions.from_matrix(sparse.csr_matrix(DENSE))) == (
        "Interactions(3 users, 3 items, 4 interactions, density 44.44%)"
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"user_ids": IdMap([1])}, ShapeError, "1 user_ids but the matrix has 3 rows"),
        ({"item_ids": IdMap([1])}, ShapeError, "1 item_ids but the matrix has 3 columns"),
        ({"titles": ("a", "b")}, ShapeError, "2 titles but the matrix has 3 columns"),
        ({"titles": "abc"}, DataTypeError, "'abc'"),
        ({"titles": ("a", 2, "c")}, DataTypeError, "2 is not"),
        ({"matrix": DENSE}, DataTypeError, "matrix must be a scipy sparse matrix"),
    ],
)
def test_parts_that_do_not_fit_are_refused(films, change, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(films, **change)


def chain():
    """User u has items 0 to u, so item i has users i to 4: whoever goes takes more along."""
    return Interactions.from_matrix(sparse.csr_matrix(np.tri(5, dtype=np.float32)))


def test_filters_go_one_after_the_other_and_once():
    dense = np.array([[5, 1, 1, 0], [5, 5, 0, 1], [5, 5, 5, 0], [0, 0, 5, 5]])
    interactions = Interactions.from_matrix(sparse.csr_matrix(dense))
    left = interactions.filter(min_weight=2, min_user_interactions=2, min_item_interactions=2)
    # weights: user 0 keeps one item and goes; then item 3 has user 3 only, and user 3 is left with one
    np.testing.assert_array_equal(left.matrix.toarray(), [[0, 0, 0, 0], [5, 5, 0, 0], [5, 5, 5, 0], [0, 0, 5, 0]])
    assert (left.num_users, left.num_items) == (4, 4)


@pytest.mark.parametrize("least", range(1, 6))
def test_filter_by_activity_counts_before_it_drops(least):
    kept = chain().filter(min_user_interactions=least).matrix.toarray()
    np.testing.assert_array_equal(kept, np.tri(5) * (np.arange(5) + 1 >= least)[:, None])
    kept = chain().filter(min_item_interactions=least).matrix.toarray()
    np.testing.assert_array_equal(kept, np.tri(5) * (5 - np.arange(5) >= least))


def brute_force_core(dense, users, items):
    while True:
        keep = np.outer((dense > 0).sum(1) >= users, (dense > 0).sum(0) >= items)
        if (dense * keep == dense).all():
            return dense[(dense > 0).any(1)][:, (dense > 0).any(0)]
        dense = dense * keep


@pytest.mark.parametrize("seed", range(20))
def test_k_core_is_what_repeating_leaves(seed):
    rng = np.random.default_rng(seed)
    dense = (rng.random((20, 15)) < 0.25).astype(np.float32)
    interactions = Interactions.from_matrix(sparse.csr_matrix(dense))
    users, items = rng.integers(1, 5, 2)
    expected = brute_force_core(dense, users, items)
    if not expected.size:
        with pytest.raises(EmptyDataError):
            interactions.k_core(users=users, items=items)
        return
    core = interactions.k_core(users=users, items=items)
    np.testing.assert_array_equal(core.matrix.toarray(), expected)
    assert np.diff(core.matrix.indptr).min() >= users
    assert np.bincount(core.matrix.indices).min() >= items


def test_k_core_repeats_until_nothing_changes():
    np.testing.assert_array_equal(chain().k_core(users=3, items=3).matrix.toarray(), np.ones((3, 3)))
    with pytest.raises(EmptyDataError, match="no item of those left has 4 or more interactions; the most is 2"):
        chain().k_core(users=4, items=4)


def test_filter_that_leaves_nobody_names_the_most():
    with pytest.raises(EmptyDataError, match="no user of those left has 6 or more interactions; the most is 5"):
        chain().filter(min_user_interactions=6)
    with pytest.raises(EmptyDataError, match="no item of those left has 2 or more interactions; the most is 1"):
        chain().filter(min_user_interactions=5, min_item_interactions=2)


def test_filter_for_nothing_is_an_error():
    with pytest.raises(ConfigError, match="asked for nothing; pass min_weight"):
        chain().filter()


@pytest.mark.parametrize("value", [0, -1, 1.0, "2", True])
@pytest.mark.parametrize("name", ["min_user_interactions", "min_item_interactions"])
def test_activity_out_of_range_is_refused(name, value):
    with pytest.raises(ConfigError, match=rf"{name} is .*least 1"):
        chain().filter(**{name: value})
    short = name.split("_")[1] + "s"
    with pytest.raises(ConfigError, match=rf"{short} is .*least 1"):
        chain().k_core(**{"users": 1, "items": 1, short: value})


@pytest.mark.parametrize("mask", [np.ones(3, bool), np.ones(15), [True]])
def test_mask_of_another_form_is_refused(mask):
    with pytest.raises(ShapeError, match="is_kept_Z must be 15 bools"):
        chain().select_interactions(mask)


def test_the_least_weight_may_be_a_number_of_numpy():
    data = Interactions.from_matrix(sparse.csr_matrix(np.array([[0.7, 0.1, 0.9]], dtype=np.float32)))
    assert data.filter(min_weight=np.float64(0.7)).matrix.nnz == data.filter(min_weight=0.7).matrix.nnz == 2


@pytest.mark.parametrize("wrong", [float("nan"), "4", -1])
def test_a_least_weight_that_is_none_is_refused(wrong):
    data = Interactions.from_matrix(sparse.csr_matrix(np.ones((1, 2), dtype=np.float32)))
    with pytest.raises(ConfigError, match="min_weight is"):
        data.filter(min_weight=wrong)


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_a_column_that_names_items_and_titles_may_miss_nothing(kind):
    frame = pa.table({"u": [1, 2, 3], "n": pa.array(["a", None, "b"]).cast(kind)})
    with pytest.raises(DataError, match="column 'n' holds 1 missing values"):
        Interactions.from_frame(frame, user="u", item="n", title="n")


def test_titles_in_the_column_of_ids_leave_these_as_they_are(tmp_path):
    (tmp_path / "file.csv").write_text("u,i\n1,01\n2,05\n")
    data = Interactions.from_csv(tmp_path / "file.csv", user="u", item="i")
    assert data.item_ids == IdMap([1, 5])


def test_separators_within_quotes_stay_as_they_are(tmp_path):
    (tmp_path / "file.dat").write_text('u::i::"t::1"\n1::"a::b"::"one::two"\n2::c::three\n')
    data = Interactions.from_csv(tmp_path / "file.dat", user="u", item="i", title="t::1", separator="::")
    assert data.item_ids == IdMap(["a::b", "c"])
    assert data.titles == ("one::two", "three")


def test_an_encoding_of_more_bytes_is_refused(tmp_path):
    (tmp_path / "file.csv").write_text("u,i\n1,2\n", encoding="utf-16")
    with pytest.raises(ConfigError, match="convert the file to utf8"):
        Interactions.from_csv(tmp_path / "file.csv", user="u", item="i", encoding="utf-16")


def test_titles_are_strings_also_where_some_are_missing():
    frame = pa.table({"u": [1, 2], "i": [1, 2], "t": pa.array([4, None])})
    with pytest.raises(DataTypeError, match="column 't' holds int64; titles are a list of strings"):
        Interactions.from_frame(frame, user="u", item="i", title="t")


def test_times_may_be_categories():
    frame = pa.table({"u": [1, 2], "i": [1, 2], "t": pa.array([5, 6]).dictionary_encode()})
    assert Interactions.from_frame(frame, user="u", item="i", time="t").times.tolist() == [5, 6]


def test_pairs_of_weight_zero_are_no_interactions_and_are_counted(tmp_path, caplog):
    table = pa.table({"u": [1, 1, 1, 2], "i": [1, 2, 2, 1], "w": [0.0, 0.0, 2.0, 3.0]})
    parquet.write_table(table, tmp_path / "a.parquet")
    for mapped_to in (None, tmp_path / "mapped"):
        caplog.clear()
        read = Interactions.from_parquet(tmp_path / "a.parquet", user="u", item="i", weight="w", mapped_to=mapped_to)
        assert read.matrix.nnz == 2
        assert "1 of 3 pairs of user and item have the weight 0: they are no interactions" in caplog.text


def test_the_files_that_are_sorted_are_those_that_were_named(tmp_path):
    for name, user in (("p[1].parquet", 1), ("p1.parquet", 7), ("q?*.parquet", 3), ("qab.parquet", 8)):
        parquet.write_table(pa.table({"u": [user], "i": [1]}), tmp_path / name)
    for name, user in (("p[1].parquet", 1), ("q?*.parquet", 3)):
        read = Interactions.from_parquet(tmp_path / name, user="u", item="i", mapped_to=tmp_path / f"{user}")
        assert read.user_ids == IdMap([user])


def test_a_matrix_may_bring_ids():
    matrix = sparse.csr_matrix([[0, 2.0], [1, 0], [0, 0]])
    made = Interactions.from_matrix(matrix, ["A", "B"], user_ids=["ann", "bob", "cyd"], item_ids=np.array([7, 5]))
    assert made.user_ids == IdMap(["ann", "bob", "cyd"])
    assert made.item_ids == IdMap([7, 5])
    with pytest.raises(ShapeError, match="2"):
        Interactions.from_matrix(matrix, user_ids=["ann", "bob"])


def test_columns_of_our_own_frames_need_no_names():
    made = Interactions.from_matrix(sparse.csr_matrix([[0, 2.0], [1, 0]]), item_ids=["a", "b"])
    again = Interactions.from_frame(made.to_frame(), weight="weight")
    assert again.user_ids.raw_ids([0, 1]) == [0, 1]
    assert again.item_ids == IdMap(["b", "a"])
    with pytest.raises(ConfigError, match="user_id"):
        Interactions.from_frame(pa.table({"who": [1], "item_id": [2]}))
