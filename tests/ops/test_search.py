from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recoder.errors import ConfigError, DivergedError
from recoder.ops import search as module
from recoder.ops.rows import SparseRows
from recoder.ops.search import FactorSearch, Precision
from recoder.ops.topk import top_k

pytestmark = pytest.mark.usefixtures("way_of_top_k")
PRECISIONS: list[Precision] = ["fp32", "bf16"]


@pytest.fixture(scope="module", autouse=True)
def rounding_for_small_catalogues():
    """As few items as here would not be worth it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "_CANDIDATES_SHARE", 24)
        yield


def reference(factors: Tensor, weight: Tensor, bias: Tensor | None, k: int, seen: Tensor | None) -> Tensor:
    scores = factors @ weight.T
    if bias is not None:
        scores += bias
    return top_k(scores, k, rows_of(seen))[0]


def search_of(weight: Tensor, bias: Tensor | None, k: int, precision: Precision) -> FactorSearch:
    search = FactorSearch(weight, bias, k, precision=precision)
    assert (search._rounded is not None) == (precision == "bf16")
    return search


def found(search: FactorSearch, factors: Tensor, seen: Tensor | None = None) -> Tensor:
    starts = range(0, max(1, len(factors)), search.users_per_block)
    blocks = [slice(start, start + search.users_per_block) for start in starts]
    return torch.cat(
        [search.top_k(factors[block], rows_of(None if seen is None else seen[block]))[0] for block in blocks]
    )


def rows_of(seen: Tensor | None) -> SparseRows | None:
    return None if seen is None else SparseRows.from_dense(seen.to(torch.float32))


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole(seed: int, most: int, *shape: int) -> Tensor:
    """Whole numbers from ``-most`` to ``most``: sums of their products are exact in float32, and tie often."""
    return torch.randint(-most, most + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor | None, int, Tensor | None]:
    users, items, size = draw(st.integers(0, 9)), draw(st.integers(1, 400)), draw(st.integers(1, 9))
    seed, most = draw(st.integers(0, 2**31)), draw(st.sampled_from([0, 1, 3, 300]))
    bias = whole(seed + 2, most, items) if draw(st.booleans()) else None
    seen = None
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.0, 0.3, 0.95, 1.0]))
        seen = torch.rand(users, items, generator=torch.Generator().manual_seed(seed)) < share
    k = draw(st.sampled_from([1, 2, 7, 50, 500]))
    return whole(seed, most, users, size), whole(seed + 1, most, items, size), bias, k, seen


@settings(deadline=None, max_examples=150, derandomize=True)
@given(cases(), st.sampled_from(PRECISIONS), st.sampled_from([3, 150, 1 << 16]), st.sampled_from([1, 1000, 1 << 23]))
def test_equals_the_top_k_of_the_product(
    case: tuple[Tensor, Tensor, Tensor | None, int, Tensor | None],
    precision: Precision,
    range_items: int,
    block_scores: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_RANGE_ITEMS", range_items)
        patch.setattr(module, "_BLOCK_SCORES", block_scores)
        patch.setattr(module, "_PRODUCT_ITEMS", 11)
        patch.setattr(module, "_FEWEST_USERS", 2)
        patch.setattr(module, "_FEWEST_SPARE", 2)
        patch.setattr(module, "_CANDIDATES_SHARE", 1)
        patch.setattr(module, "_CAST_ITEMS", 13)
        factors, weight, bias, k, seen = case
        search = FactorSearch(weight, bias, k, precision=precision)
        assert found(search, factors, seen).tolist() == reference(*case).tolist()


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0])
def test_bf16_finds_the_items_of_fp32(with_bias: bool, spread: float) -> None:
    # a large common part of all factors leaves little of bfloat16's 8 bits for what tells items apart
    factors, weight = random(1, 600, 40) + spread, random(2, 3000, 40) + spread
    bias = random(3, 3000) * 5 if with_bias else None
    seen = random(4, 600, 3000) > 2
    single, rounded = (found(search_of(weight, bias, 20, precision), factors, seen) for precision in PRECISIONS)
    assert torch.equal(single.sort(dim=1).values, rounded.sort(dim=1).values)
    assert (single == rounded).all(dim=1).float().mean() > 0.98


def test_bf16_scores_are_those_of_float32() -> None:
    factors, weight, bias = random(1, 50, 40), random(2, 3000, 40), random(3, 3000)
    ids, scores = search_of(weight, bias, 20, "bf16").top_k(factors)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, (factors @ weight.T + bias).gather(1, ids))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_users_without_any_preference_get_the_lowest_unseen_ids(precision: Precision) -> None:
    weight, seen = random(1, 3000, 8), torch.zeros(3, 3000, dtype=torch.bool)
    seen[1, :5] = True
    ids = found(search_of(weight, None, 10, precision), torch.zeros(3, 8), seen)
    assert ids.tolist() == [list(range(10)), list(range(5, 15)), list(range(10))]


def margins_of(factors: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the exact scores, the rounded ones and how far above each of these the margin reaches."""
    rounded = module._RoundedProducts(weight, bias)
    rough = rounded(factors, 0, len(weight)).float()
    exact = factors.double() @ weight.double().T + bias.double()
    return exact, rough.double(), torch.stack([rounded.margin(factors, column) for column in rough.T], dim=1)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e10])
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_no_score_exceeds_its_rounded_one_by_more_than_the_margin(scale: float, spread: float) -> None:
    factors, weight, bias = (random(1, 100, 200) + spread) * scale, random(2, 500, 200), random(3, 500) * scale
    exact, rough, margins = margins_of(factors, weight, bias)
    assert (exact <= rough + margins).all()


def test_the_margin_is_a_small_part_of_the_spread_of_scores() -> None:
    exact, _, margins = margins_of(random(1, 100, 200), random(2, 500, 200), random(3, 500))
    assert (margins.mean(dim=1) < exact.std(dim=1) / 10).all()


def test_rounding_is_given_up_where_it_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    product = module._RoundedProducts.__call__
    monkeypatch.setattr(
        module._RoundedProducts, "__call__", lambda self, *args: calls.append(1) or product(self, *args)
    )
    factors, weight = torch.ones(10, 4), torch.ones(2000, 4)
    search = search_of(weight, None, 5, "bf16")
    for _ in range(3):
        assert search.top_k(factors)[0].tolist() == [list(range(5))] * 10
    assert len(calls) == 1
    search = search_of(random(1, 2000, 4), None, 5, "bf16")
    for _ in range(3):
        search.top_k(random(2, 10, 4))
    assert len(calls) == 4


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_view_of_the_weights_does_as_well(precision: Precision) -> None:
    factors, weight = whole(1, 3, 20, 8), whole(2, 3, 8, 2000).T
    assert not weight.is_contiguous()
    ids = found(search_of(weight, None, 9, precision), factors)
    assert torch.equal(ids, reference(factors, weight, None, 9, None))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_another_dtype_are_searched_in_their_own(precision: Precision, dtype: torch.dtype) -> None:
    factors, weight = whole(1, 1, 20, 8).to(dtype), whole(2, 1, 1000, 8).to(dtype)
    search = FactorSearch(weight, None, 9, precision=precision)
    ids, scores = search.top_k(factors)
    assert scores.dtype == dtype
    assert torch.equal(ids, reference(factors, weight, None, 9, None))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("place", ["factors", "weight", "bias"])
def test_nan_is_an_error(precision: Precision, place: str) -> None:
    tensors = {"factors": random(1, 20, 8), "weight": random(2, 2000, 8), "bias": random(3, 2000)}
    tensors[place][-1] = float("nan")
    with pytest.raises(DivergedError, match="NaN"):
        search_of(tensors["weight"], tensors["bias"], 5, precision).top_k(tensors["factors"])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_factors_that_bfloat16_cannot_hold_are_searched_all_the_same(precision: Precision) -> None:
    factors = torch.full((3, 1), 3.4e38)  # rounds to infinity
    weight = torch.linspace(-0.5, 0.5, 2000)[:, None]
    weight[7] = 0
    assert found(search_of(weight, None, 2, precision), factors).tolist() == [[1999, 1998]] * 3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_fewer_than_one_item_is_an_error(precision: Precision) -> None:
    with pytest.raises(ConfigError, match="k is 0"):
        FactorSearch(torch.ones(3, 2), None, 0, precision=precision)


@pytest.mark.parametrize("num_items", [1, 1000, 20_000, 65_536, 65_537, 3_000_000])
@pytest.mark.parametrize("k", [10, 100_000])
def test_a_block_of_scores_takes_at_most_32_mib(num_items: int, k: int) -> None:
    search = FactorSearch(torch.empty(num_items, 0), None, k)
    at_once = num_items if k > 10 else -(-num_items // -(-num_items // 65_536))
    assert search.users_per_block * at_once * 4 <= 32 << 20
    # and enough users share a pass over the items, if there is not to be room for whole rows anyway
    assert search.users_per_block >= 128 or k > 10


def test_factors_of_another_width_are_refused_by_many_users_too():
    for users, items in ((8, 16), (16, 8)):
        search = FactorSearch(torch.randn(50, items), torch.randn(50), 5)
        with pytest.raises(RuntimeError, match="shape"):
            search.top_k(torch.randn(200, users))
