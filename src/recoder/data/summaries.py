"""What a notebook shows of interactions and of splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recoder._html import html_table
from recoder.data.mapped import item_counts

if TYPE_CHECKING:
    from recoder.data.interactions import Interactions

__all__ = ["interactions_html", "split_html"]

_NUM_POPULAR = 5


def interactions_html(interactions: Interactions) -> str:
    """Returns how many there are, how they spread over users and items, and the most popular items."""
    matrix = interactions.matrix
    counts_U = np.diff(matrix.indptr)
    counts_N = item_counts(matrix)
    spread = html_table(
        ["", "number", "fewest interactions", "median", "most"],
        [_spread("users", counts_U), _spread("items", counts_N)],
        caption=_in_words(interactions),
    )
    return spread + _most_popular(interactions, counts_N) if matrix.nnz else spread


def split_html(
    parts: Mapping[str, tuple[sparse.csr_matrix, sparse.csr_matrix | None]], protocol: Mapping[str, Any] | None = None
) -> str:
    """Returns the sizes of the parts of a split.

    Args:
        parts: by name: what is known, ``[U, N]``, and what is to be found.
        protocol: how the split was made.
    """
    rows = [
        [name, *(f"{size:,}" for size in (*known.shape, known.nnz)), "" if target is None else f"{target.nnz:,}"]
        for name, (known, target) in parts.items()
    ]
    # the sizes of training stand in the table, and only what was dropped is worth a word
    worth = {
        name: value
        for name, value in (protocol or {}).items()
        if not name.startswith("train_") and not (name.startswith("dropped_") and not value)
    }
    caption = ", ".join(str(value) if name == "name" else f"{name} {value}" for name, value in worth.items())
    return html_table(["", "users", "items", "interactions", "to find"], rows, caption=caption)


def _spread(name: str, counts: npt.NDArray[Any]) -> list[str]:
    if not len(counts):
        return [name, "0", "-", "-", "-"]
    return [name, f"{len(counts):,}", f"{counts.min():,}", f"{np.median(counts):,g}", f"{counts.max():,}"]


def _in_words(interactions: Interactions) -> str:
    matrix = interactions.matrix
    cells = matrix.shape[0] * matrix.shape[1]
    words = [f"{matrix.nnz:,} interactions"]
    if matrix.nnz:
        low, high = matrix.data.min(), matrix.data.max()
        weights = f"weight {low:g}" if low == high else f"weights {low:g} to {high:g}"
        words += [f"density {matrix.nnz / cells:.2%}", weights]
        if interactions.times is not None:
            first, last = (_date(interactions.times.min()), _date(interactions.times.max()))
            words.append(f"{first} to {last}")
    return ", ".join(words)


def _date(seconds: np.int64) -> str:
    return str(np.datetime64(int(seconds), "s").astype("datetime64[D]"))


def _most_popular(interactions: Interactions, counts_N: npt.NDArray[Any]) -> str:
    best = np.argsort(-counts_N, kind="stable")[:_NUM_POPULAR]
    best = best[counts_N[best] > 0]
    has_titles = interactions.titles is not None
    rows = []
    for item in best:
        raw_id = str(interactions.item_ids.ids[int(item)])
        named = [raw_id, interactions.title_of(int(item))] if has_titles else [raw_id]
        rows.append([*named, f"{counts_N[item]:,}"])
    named = ["item", "title"] if has_titles else ["item"]
    return html_table([*named, "users"], rows, caption="most popular", num_text_columns=len(named))
