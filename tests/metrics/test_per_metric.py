from __future__ import annotations

import math

import pytest

from recoder.errors import UnknownIdError
from recoder.metrics import NDCG, Recall
from recoder.metrics.per_metric import PerMetric, aligned_table, margin_text


def test_metric_or_its_name_finds_the_value():
    values = PerMetric({Recall(2): 1, NDCG(3): 2})
    assert values[NDCG(3)] == values["NDCG@3"] == values.get("NDCG@3") == 2
    assert "Recall@2" in values
    assert Recall(2) in values
    assert list(values) == [Recall(2), NDCG(3)]
    assert dict(values) == {Recall(2): 1, NDCG(3): 2}


def test_unknown_metric_is_a_key_error_that_names_the_known():
    values = PerMetric({Recall(2): 1, NDCG(3): 2})
    for key in ("NDCG@4", NDCG(4)):
        assert key not in values
        with pytest.raises(KeyError) as caught:
            values[key]
        assert isinstance(caught.value, UnknownIdError)
        assert str(caught.value) == "there is no metric NDCG@4 here; there are: Recall@2, NDCG@3"


def test_table_is_aligned():
    assert aligned_table([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc   d"


def test_margin_that_is_not_known_is_left_out():
    assert margin_text(0.12345) == "± 0.1235"
    assert margin_text(math.nan) == ""
