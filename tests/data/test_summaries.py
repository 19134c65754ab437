from __future__ import annotations

import numpy as np
from scipy import sparse

from html_tables import read_html
from recoder.data import IdMap, Interactions, random_holdout, strong_generalization

DENSE = np.array([[1, 2, 0, 0], [0, 3, 0, 0], [5, 1, 1, 0]], dtype=np.float32)


def interactions(**more):
    return Interactions(sparse.csr_matrix(DENSE), IdMap(["u", "v", "w"]), IdMap([7, 8, 9, 10]), **more)


def test_interactions_show_how_they_spread_and_what_is_popular():
    found = read_html(interactions()._repr_html_())
    assert found.rows == [
        ["", "number", "fewest interactions", "median", "most"],
        ["users", "3", "1", "2", "3"],
        ["items", "4", "0", "1.5", "3"],
        ["item", "users"],
        ["8", "3"],
        ["7", "2"],
        ["9", "1"],
    ]
    assert found.captions == ["6 interactions, density 50.00%, weights 1 to 5", "most popular"]


def test_titles_and_times_are_shown_where_they_are_known_and_markup_in_titles_stays_text():
    times = np.array([0, 86_400, 5, 6, 7, 3 * 86_400])
    shown = interactions(titles=("A & B", "<i>x</i>", "c", "d"), times=times)
    found = read_html(shown.binarize()._repr_html_())
    assert found.rows[3:5] == [["item", "title", "users"], ["8", "<i>x</i>", "3"]]
    assert found.rows[5][1] == "A & B"
    assert "i" not in found.tags
    assert found.captions[0] == "6 interactions, density 50.00%, weight 1, 1970-01-01 to 1970-01-04"


def test_thousands_are_grouped():
    ones = Interactions.from_matrix(sparse.csr_matrix(np.ones((1200, 1), dtype=np.float32)))
    assert read_html(ones._repr_html_()).rows[1:3] == [
        ["users", "1,200", "1", "1", "1"],
        ["items", "1"] + ["1,200"] * 3,
    ]


def test_no_interactions_at_all_can_be_shown():
    found = read_html(Interactions.from_matrix(sparse.csr_matrix((3, 4), dtype=np.float32))._repr_html_())
    assert found.captions == ["0 interactions"]
    assert found.rows[1:] == [["users", "3", "0", "0", "0"], ["items", "4", "0", "0", "0"]]
    nobody = Interactions(sparse.csr_matrix((0, 4), dtype=np.float32), IdMap([]), IdMap([1, 2, 3, 4]))
    assert read_html(nobody._repr_html_()).rows[1] == ["users", "0", "-", "-", "-"]


def test_splits_show_the_sizes_of_their_parts_and_how_they_were_made():
    matrix = sparse.random(200, 30, 0.3, format="csr", random_state=0, dtype=np.float32)
    given = Interactions.from_matrix(matrix)
    split = strong_generalization(given, num_valid_users=20, num_test_users=30, seed=7)
    found = read_html(split._repr_html_())
    assert found.rows[0] == ["", "users", "items", "interactions", "to find"]
    assert found.rows[1] == ["train", "150", "30", f"{split.train.matrix.nnz:,}", ""]
    valid = split.valid.dataset
    sizes = ["20", "30", f"{valid.interactions_matrix.nnz:,}", f"{valid.target_interactions_matrix.nnz:,}"]
    assert found.rows[2] == ["valid", *sizes]
    assert found.rows[3][:3] == ["test", "30", "30"]
    assert found.captions[0].startswith("strong_generalization, seed 7, num_valid_users 20")
    assert "train_" not in found.captions[0]
    assert read_html(split.valid._repr_html_()).rows[1] == ["held out", *sizes]


def test_a_holdout_shows_training_and_test():
    matrix = sparse.random(50, 30, 0.3, format="csr", random_state=0, dtype=np.float32)
    split = random_holdout(Interactions.from_matrix(matrix), seed=1)
    assert [row[0] for row in read_html(split._repr_html_()).rows] == ["", "train", "test"]
