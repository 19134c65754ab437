"""Some users: what they have, and what is recommended to them. Sizes: U users."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recoder.api.fitted import FittedModel
from recoder.data import RecommendationDataset, UsersInteractions
from recoder.metrics.ranking import IntArray
from recoder.report.judged import Judged
from recoder.report.parts import Person, Section

__all__ = ["people_section"]

_SHOWN = 10


def people_section(model: FittedModel, judged: Judged | None, num_users: int, seed: int) -> Section | None:
    """Returns users from the least to the most active, drawn by the seed.

    Args:
        model: what recommends.
        judged: held-out users, whose hits are ticked; None: users of the training data.
        num_users: how many, at least 1.
        seed: of the draw.

    Returns:
        None where no user's history is known.
    """
    if judged is not None:
        dataset, user_ids, rows = judged.held_out.dataset, judged.held_out.user_ids, judged.result.users
        lead = "Test users, from short histories to long ones. A tick marks what was held back and is found."
    elif model.has_histories:
        dataset, user_ids = RecommendationDataset(model.interactions.matrix), model.interactions.user_ids
        rows = np.arange(len(dataset))
        lead = "Users of the training data, from short histories to long ones."
    else:
        return None
    lengths_U = np.diff(dataset.interactions_matrix.indptr)
    rows = rows[lengths_U[rows] > 0]
    if not len(rows):
        return None
    chosen = _spread(rows, lengths_U[rows], num_users, seed)
    histories, targets = dataset[chosen]
    answering = model.answering() if judged is None else judged.answering
    ranked = answering.ranked(histories, _SHOWN)
    people = [
        _person(
            model,
            str(user_ids.ids[int(row)]),
            histories[place],
            None if targets is None else targets[place].interactions_matrix.indices,
            ranked[place],
        )
        for place, row in enumerate(chosen)
    ]
    lead += f" Of a longer history {_SHOWN} items are shown: the heaviest, among equals the most popular."
    return Section("users", "What users get", lead, people=people)


def _spread(rows: IntArray, lengths: npt.NDArray[np.integer], num_users: int, seed: int) -> IntArray:
    """Returns one row of each part of those that are sorted by activity."""
    order = rows[np.argsort(lengths, kind="stable")]
    rng = np.random.default_rng(seed)
    parts = np.array_split(order, min(num_users, len(order)))
    return np.array([rng.choice(part) for part in parts], dtype=np.int64)


def _person(
    model: FittedModel,
    name: str,
    history: UsersInteractions,
    wanted: npt.NDArray[np.integer] | None,
    ranked: IntArray,
) -> Person:
    matrix = history.interactions_matrix
    order = np.lexsort((-model.item_counts[matrix.indices], -matrix.data))
    title_of = model.interactions.title_of
    shown = [title_of(int(item)) for item in matrix.indices[order[:_SHOWN]]]
    hits = set() if wanted is None else set(wanted.tolist())
    recommended = [(title_of(int(item)), int(item) in hits) for item in ranked if item >= 0]
    summary = f"{matrix.nnz} in the history"
    if wanted is not None:
        num_found = sum(is_hit for _, is_hit in recommended)
        summary += f", {len(hits)} held back, {num_found} of them found"
    return Person(name, summary, shown, matrix.nnz - len(shown), recommended)
