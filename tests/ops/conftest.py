from __future__ import annotations

from collections.abc import Iterator

import pytest

from recoder.ops import topk
from recoder.ops.kernels import library


@pytest.fixture(scope="module", params=["compiled", "plain"])
def way_of_top_k(request: pytest.FixtureRequest) -> Iterator[None]:
    """How the best are found in float32 and bfloat16."""
    if request.param == "compiled" and library() is None:
        pytest.skip("no kernels are compiled")
    with pytest.MonkeyPatch.context() as monkeypatch:
        if request.param == "plain":
            monkeypatch.setattr(topk, "serve", lambda *tensors, **dtypes: False)
        yield
