"""Recommendations from a trained model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recoder._checks import whole_number
from recoder.data.datasets import UsersInteractions
from recoder.errors import DataTypeError
from recoder.recommender.base import Histories, Recommender, Scorer, as_lists, merge_histories, ranked_by

__all__ = ["InferenceRecommender"]


class InferenceRecommender(Recommender):
    """Recommends the items that a model scores highest, those in the user's history left out.

    Args:
        model: a trained ``recoder.model.Recoder``, or anything else that can rank; see ``Scorer``.
        num_recommendations: items for each user, at least 1; fewer come back where fewer are unseen.

    Raises:
        ConfigError: if ``num_recommendations`` is no whole number, or below 1.
        DataTypeError: if ``model`` cannot rank.
    """

    num_recommendations: int
    preferred_batch_size = 4096

    def __init__(self, model: Scorer, num_recommendations: int) -> None:
        if not callable(getattr(model, "ranked", None)):
            raise DataTypeError(
                f"model is a {type(model).__name__}, which has no method ranked(users_interactions, n); pass a trained "
                "recoder.model.Recoder, such as the attribute recoder of what recoder.fit returns"
            )
        self.model = model
        self.num_recommendations = whole_number("num_recommendations", num_recommendations, 1)

    def recommend(self, users_hist: Histories) -> list[list[int]]:
        """Returns the recommended items of each user, best first, as catalogue indices."""
        return as_lists(self.ranked(merge_histories(users_hist)))

    def ranked(self, users_hist: UsersInteractions) -> npt.NDArray[np.int64]:
        """Returns the same as an int64 array ``[B, K]``; shorter lists end in -1."""
        return ranked_by(self.model, users_hist, self.num_recommendations)
