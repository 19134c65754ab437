from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.ops.kernels.factor_losses import served_dtypes
from recoder.ops.kernels.scores import write_scores
from recoder.ops.workspace import Workspace

pytestmark = pytest.mark.skipif(not served_dtypes(), reason="needs the compiled kernels and AVX-512")


@given(st.integers(0, 60), st.integers(0, 220), st.integers(1, 70), st.booleans(), st.integers(0, 100))
@settings(max_examples=120, deadline=None)
def test_scores_are_products_and_biases(num_users, num_items, num_factors, bias, seed):
    generator = torch.Generator().manual_seed(seed)
    factors, weight = (torch.randn(n, num_factors, generator=generator) for n in (num_users, num_items))
    biases = torch.randn(num_items, generator=generator) if bias else None
    # what lies beside them stays as it is
    memory = torch.full((num_users * num_items + 2,), 7.0)
    scores = memory[1:-1].view(num_users, num_items)
    write_scores(factors, weight, biases, scores, Workspace())
    expected = factors.double() @ weight.double().T + (0 if biases is None else biases.double())
    torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=1e-5)
    assert memory[0] == memory[-1] == 7
