from __future__ import annotations

import numpy as np
import pytest

import recoder
from recoder.metrics import Coverage, Gini, Novelty
from recoder.report.popularity import BUCKETS, buckets, most_popular
from report.pages import read


def test_head_and_tail_each_take_up_a_fifth_of_the_interactions():
    # of 100 interactions: the most popular item has 20; ten items of 6 have 60; the last twenty have 20
    counts = np.array([6] * 5 + [1] * 20 + [20] + [6] * 5)
    places = buckets(counts)
    assert places[25] == 0
    assert set(places[np.flatnonzero(counts == 6)]) == {1}
    assert set(places[np.flatnonzero(counts == 1)]) == {2}


def test_what_nobody_has_is_in_the_tail_and_one_item_may_be_all_of_the_head():
    assert buckets(np.array([0, 90, 10])).tolist() == [2, 0, 2]


def test_most_popular_recommends_as_the_model_does(split, fitted):
    histories = split.test.dataset[np.arange(60)][0]
    expected = recoder.fit(split.train, "popularity").recoder.ranked(histories, 20)
    np.testing.assert_array_equal(most_popular(fitted["ease"].item_counts).ranked(histories, 20), expected)


@pytest.fixture(scope="module")
def part(page_file):
    return read(page_file).parts["breadth"]


def test_tiles_are_the_numbers_of_evaluate(part, fitted, evaluated, split):
    novelty = Novelty(20, fitted["autoencoder"].item_counts)
    mean = evaluated("autoencoder", split.test, [Coverage(20), Gini(20), novelty]).mean
    assert part.tiles["Coverage@20"] == f"{100 * mean['Coverage@20']:.3g} %".replace("1e+02", "100")
    assert part.tiles["Gini@20"] == f"{mean['Gini@20']:.3f}"
    assert part.tiles["Novelty@20"] == f"{mean['Novelty@20']:.2f}"


def test_shares_and_recall_of_each_bucket_are_as_counted_one_by_one(part, fitted, split):
    model, dataset = fitted["autoencoder"], split.test.dataset
    places = buckets(model.item_counts)
    shown = np.zeros(len(BUCKETS))
    recalls = [[], [], []]
    for row in range(len(dataset)):
        history, target = dataset[row]
        (items,) = model.recoder.recommend(history, 20)
        wanted = set(target.interactions_matrix.indices.tolist())
        for item in items:
            shown[places[item]] += 1
        for place in range(len(BUCKETS)):
            here = [item for item in wanted if places[item] == place]
            if here:
                recalls[place].append(len(set(here) & set(items)) / min(20, len(here)))
    (rows,) = part.tables.values()
    assert rows[0][1:5] == [
        "in the catalogue",
        "of interactions",
        "recommended by this model",
        "recommended by most popular",
    ]
    for place, name in enumerate(BUCKETS):
        row = rows[1 + place]
        assert row[0] == name
        assert int(row[1]) == (places == place).sum()
        assert row[3] == f"{100 * shown[place] / shown.sum():.3g} %"
        assert row[5].split()[0] == f"{np.mean(recalls[place]):.4f}"
