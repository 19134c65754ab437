from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.errors import ConfigError, DivergedError, ShapeError
from recoder.ops import topk as module
from recoder.ops.rows import SparseRows
from recoder.ops.topk import candidates, largest, top_k

pytestmark = pytest.mark.usefixtures("way_of_top_k")
INF = float("inf")


@pytest.fixture
def always_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEWEST_SCORES", 0)
    monkeypatch.setattr(module, "_FEWEST_GROUPS", 1)


def seen_rows(mask: torch.Tensor) -> SparseRows:
    return SparseRows.from_dense(mask.to(torch.float32))


def brute_force(scores: torch.Tensor, k: int, seen: torch.Tensor | None) -> tuple[list[list[int]], list[list[float]]]:
    ids, values = [], []
    for row, line in enumerate(scores.tolist()):
        left = [i for i in range(len(line)) if line[i] > -INF and not (seen is not None and seen[row, i])]
        best = sorted(left, key=lambda i: (-line[i], i))[:k]
        short = min(k, len(line)) - len(best)
        ids.append(best + [-1] * short)
        values.append([line[i] for i in best] + [-INF] * short)
    return ids, values


@st.composite
def cases(draw: st.DrawFn, widest: int) -> tuple[torch.Tensor, int, torch.Tensor | None]:
    rows, cols = draw(st.integers(0, 6)), draw(st.integers(1, widest))
    seed = draw(st.integers(0, 2**31))
    levels = draw(st.sampled_from([1, 2, 3, 8, 1000]))
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (rows, cols), generator=generator).float() - levels // 2
    if draw(st.booleans()):
        scores[torch.rand(rows, cols, generator=generator) < 0.2] = -INF
    seen = None
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
        seen = torch.rand(rows, cols, generator=generator) < share
    return scores, draw(st.integers(1, 30)), seen


@settings(deadline=None, max_examples=150, derandomize=True)
@given(cases(widest=24))
def test_equals_brute_force_with_many_ties(case: tuple[torch.Tensor, int, torch.Tensor | None]) -> None:
    assert_equals_brute_force(*case)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(cases(widest=300))
def test_equals_brute_force_where_only_groups_are_looked_into(
    case: tuple[torch.Tensor, int, torch.Tensor | None],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEWEST_SCORES", 0)
        patch.setattr(module, "_FEWEST_GROUPS", 1)
        assert_equals_brute_force(*case)


def assert_equals_brute_force(scores: torch.Tensor, k: int, seen: torch.Tensor | None) -> None:
    expected_ids, expected_values = brute_force(scores, k, seen)
    ids, values = top_k(scores.clone(), k, None if seen is None else seen_rows(seen))
    assert ids.dtype == torch.int64
    assert ids.shape == (scores.shape[0], min(k, scores.shape[1]))
    assert ids.tolist() == expected_ids
    assert values.tolist() == expected_values


def test_ties_over_a_wide_row_go_to_the_lower_ids() -> None:
    scores = torch.zeros(3, 20_000)
    scores[1, 19_999] = 1.0
    scores[2, ::2] = 1.0
    ids, _ = top_k(scores, 100)
    assert ids[0].tolist() == list(range(100))
    assert ids[1].tolist() == [19_999, *range(99)]
    assert ids[2].tolist() == list(range(0, 200, 2))


def test_negative_zero_ties_with_zero() -> None:
    ids, _ = top_k(torch.tensor([[-0.0, 0.0, -1.0], [-0.0, 0.0, 1.0]]), 1)
    assert ids.tolist() == [[0], [2]]
    ids, _ = top_k(torch.tensor([[-0.0, 0.0, -0.0]]), 2)
    assert ids.tolist() == [[0, 1]]


def test_a_tie_between_groups_at_the_cut_goes_to_the_lower_ids() -> None:
    # wide enough for groups by the module's own measure: columns 0, 2,000, 4,000 and 6,000 are one group of 8,000
    scores = torch.randn(40, 8_000, generator=torch.Generator().manual_seed(0)).clamp_max(2.0)
    assert (scores == 2.0).sum(dim=1).min() > 60
    ids, values = top_k(scores, 50)
    for row in range(40):
        assert ids[row].tolist() == (scores[row] == 2.0).nonzero().squeeze(1)[:50].tolist()
    assert (values == 2.0).all()


@pytest.mark.parametrize("cols", [8_000, 8_001, 8_003])
@pytest.mark.parametrize("in_order", [True, False])
def test_largest_selects_what_a_sort_does(cols: int, in_order: bool) -> None:
    scores = torch.randn(40, cols, generator=torch.Generator().manual_seed(cols))
    scores[:, -1] = 9.0  # in no group, where 4 does not divide
    values, ids = largest(scores, 30, in_order=in_order)
    assert torch.equal(scores.gather(1, ids), values)
    expected = scores.sort(dim=1, descending=True).values[:, :30]
    assert torch.equal(values if in_order else values.sort(dim=1, descending=True).values, expected)
    assert all(len(set(row)) == 30 for row in ids.tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_agrees_with_a_stable_sort_in_every_dtype(dtype: torch.dtype) -> None:
    # bfloat16 keeps 8 bits, so 5,000 draws tie often
    scores = torch.randn(40, 5_000, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected_values, expected_ids = torch.sort(scores, dim=1, descending=True, stable=True)
    ids, values = top_k(scores, 50)
    assert values.dtype == dtype
    assert torch.equal(ids, expected_ids[:, :50])
    assert torch.equal(values, expected_values[:, :50])


def test_one_item_is_found_and_hidden_once_seen() -> None:
    ids, values = top_k(torch.tensor([[0.5], [0.25]]), 3, seen_rows(torch.tensor([[True], [False]])))
    assert ids.tolist() == [[-1], [0]]
    assert values.tolist() == [[-INF], [0.25]]


def test_everything_seen_leaves_an_empty_list() -> None:
    ids, values = top_k(torch.randn(2, 5), 3, seen_rows(torch.ones(2, 5)))
    assert (ids == -1).all()
    assert (values == -INF).all()


def test_without_seen_the_scores_stay_as_they_were() -> None:
    scores = torch.randn(4, 9)
    before = scores.clone()
    top_k(scores, 3)
    assert torch.equal(scores, before)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_an_error(k: int) -> None:
    with pytest.raises(ConfigError, match=f"k is {k}"):
        top_k(torch.zeros(1, 3), k)


@pytest.mark.usefixtures("always_in_groups")
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("column", range(0, 131, 10))
def test_nan_is_an_error_in_whichever_group_it_stands(column: int, sign: int) -> None:
    scores = torch.arange(262, dtype=torch.float32).view(2, 131)
    scores[1, column] = sign * np.nan
    scores[0, 7] = INF
    with pytest.raises(DivergedError, match="NaN"):
        top_k(scores, 3)


@pytest.mark.usefixtures("always_in_groups")
def test_infinite_scores_are_ranked_and_minus_infinity_is_left_out() -> None:
    scores = torch.full((1, 100), -INF)
    scores[0, [90, 3]] = INF
    scores[0, 50] = -1e38
    ids, values = top_k(scores, 5)
    assert ids.tolist() == [[3, 90, 50, -1, -1]]
    assert torch.equal(values, torch.tensor([[INF, INF, -1e38, -INF, -INF]]))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_nan_is_an_error_wherever_it_stands(k: int) -> None:
    for column in range(3):
        scores = torch.tensor([[1.0, INF, 3.0], [0.0, 0.0, 0.0]])
        scores[0, column] = np.nan
        with pytest.raises(DivergedError, match="NaN"):
            top_k(scores, k)


def test_nan_of_a_seen_item_does_not_matter() -> None:
    scores = torch.tensor([[np.nan, 1.0, 2.0]])
    ids, _ = top_k(scores, 2, seen_rows(torch.tensor([[True, False, False]])))
    assert ids.tolist() == [[2, 1]]


@pytest.mark.parametrize(("offsets", "cols"), [([0, 1], [6]), ([0, 1], [-1]), ([0, 9], [1]), ([-3, 1], [1])])
@pytest.mark.parametrize("function", [top_k, candidates])
def test_what_was_seen_beyond_the_scores_is_refused_where_the_kernels_would_write_it(
    function: Any, offsets: list[int], cols: list[int]
) -> None:
    scores = torch.zeros(1, 6)
    if not module.serve(scores):
        pytest.skip("there are no kernels")
    seen = SparseRows(torch.tensor(offsets), torch.tensor(cols), torch.ones(len(cols)), 6)
    with pytest.raises(ShapeError, match="not among the 6 of the scores"):
        function(scores, 2, seen)


def test_rows_with_gaps_between_their_numbers_are_left_out_too() -> None:
    wide = torch.tensor([[0, 9], [2, 9]])
    seen = SparseRows(torch.tensor([0, 2]), wide[:, 0], torch.ones(2), 4)
    assert top_k(torch.tensor([[4.0, 3.0, 2.0, 1.0]]), 3, seen)[0].tolist() == [[1, 3, -1]]


def test_seen_of_another_shape_is_an_error() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(2, 4\)"):
        top_k(torch.zeros(2, 3), 1, seen_rows(torch.zeros(2, 4)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("k", [1, 7, 100, 600])
@pytest.mark.parametrize("order", ["random", "ascending", "descending", "equal", "two levels"])
def test_wide_rows_in_any_order(dtype: torch.dtype, k: int, order: str) -> None:
    generator = torch.Generator().manual_seed(k)
    scores = {
        "random": torch.randn(5, 700, generator=generator),
        "ascending": torch.arange(3500.0).reshape(5, 700),
        "descending": torch.arange(3500.0).reshape(5, 700).flip(1),
        "equal": torch.full((5, 700), -2.5),
        "two levels": torch.randint(0, 2, (5, 700), generator=generator).float(),
    }[order].to(dtype)
    seen = torch.rand(5, 700, generator=generator) < 0.3
    ids, values = brute_force(scores, k, seen)
    our_ids, our_values = top_k(scores, k, seen_rows(seen))
    assert our_ids.tolist() == ids
    assert our_values.tolist() == values


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_candidates_are_the_best_in_some_order_and_excluded_ones_fill_up(dtype: torch.dtype) -> None:
    scores = torch.randn(4, 90, generator=torch.Generator().manual_seed(0)).to(dtype)
    seen = torch.zeros(4, 90, dtype=torch.bool)
    seen[1, 5:] = True
    seen[2] = True
    expected_ids, _ = brute_force(scores, 10, seen)
    ids, values = candidates(scores, 10, seen_rows(seen))
    assert torch.equal(values, scores.gather(1, ids).where(values > -INF, values))
    for row in range(4):
        assert set(ids[row, values[row] > -INF].tolist()) == {item for item in expected_ids[row] if item >= 0}


def test_candidates_hold_what_is_not_a_number() -> None:
    scores = torch.zeros(2, 50)
    scores[1, 30] = float("nan")
    ids, values = candidates(scores, 3)
    assert values.isnan().sum(dim=1).tolist() == [0, 1]
    assert 30 in ids[1].tolist()


def test_a_processor_that_flushes_small_numbers_to_zero_loses_none() -> None:
    scores = torch.zeros(2, 1000)
    scores[:, 7] = 1
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not")
    try:
        ids, _ = top_k(scores, 5)
    finally:
        torch.set_flush_denormal(False)
    assert ids.tolist() == [[7, 0, 1, 2, 3]] * 2
