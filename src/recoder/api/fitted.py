"""``FittedModel``: a trained model that speaks the user's own ids.

Sizes: B users, N items, K recommendations, P pairs, H items of a history.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recoder._checks import check_unknown, path_text, whole_number
from recoder.api import files
from recoder.api.about import About, facts_of
from recoder.api.answering import Answering
from recoder.api.asking import (
    Asked,
    check_histories,
    chosen_items,
    from_histories,
    in_parts,
    known_rows,
    of_known_users,
    raw_list,
)
from recoder.api.explaining import score_drops
from recoder.api.judging import DEFAULT_METRICS, aligned
from recoder.api.neighbours import similar_items, similar_users
from recoder.api.updating import check_names_users, forgotten, updated
from recoder.data import HeldOut, IdMap, Interactions, UsersInteractions
from recoder.data.mapped import item_counts as count_items
from recoder.data.native_frames import make_frame
from recoder.data.table_files import write_tables
from recoder.errors import ConfigError, DivergedError, EmptyDataError, ShapeError
from recoder.metrics import EvaluationResult, Metric, RecommenderEvaluator
from recoder.metrics.judging import distinct_metrics
from recoder.metrics.metric import list_length
from recoder.model import Recoder
from recoder.recommender.inference import InferenceRecommender
from recoder.training.history import History

__all__ = ["FittedModel"]


class FittedModel:
    """A trained model with the ids of its users and items: what ``recoder.fit`` and ``recoder.load`` return.

    Answers are data frames of the library that the training data came in; after ``load`` of the same, or pyarrow
    tables where it is not installed. Questions are lists of the user's own ids, or columns of data frames.

    Args:
        recoder: what was trained.
        interactions: ids and titles of its users and items, and who interacted with what.
        about: what is known of it beside that.
        item_counts: int64 ``[N]``: users of each item in training. None: those of ``interactions``, which then holds
            histories.

    Attributes:
        recoder: the ``recoder.model.Recoder``; all of its methods can be used.
        interactions: as given; without any interactions where ``has_histories`` is False.
        about: as given.
        has_histories: whether it knows what its users interacted with.
    """

    def __init__(
        self,
        recoder: Recoder,
        interactions: Interactions,
        about: About,
        *,
        item_counts: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.recoder = recoder
        self.interactions = interactions
        self.about = about
        self.has_histories = item_counts is None
        counts = count_items(interactions.matrix) if item_counts is None else item_counts
        self._item_counts: npt.NDArray[np.int64] = np.asarray(counts, dtype=np.int64)

    @property
    def history(self) -> History:
        """What happened in each epoch of the training, with the metrics of validation; it can ``plot()``."""
        return self.recoder.history

    @property
    def item_ids(self) -> IdMap:
        """The ids of the catalogue's items."""
        return self.interactions.item_ids

    @property
    def user_ids(self) -> IdMap:
        """The ids of the users that can be asked for; none after loading a file that names no users."""
        return self.interactions.user_ids

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        histories: Any = None,
        exclude_seen: bool = True,
        exclude: Any = None,
        candidates: Any = None,
        titles: bool = False,
        unknown: str = "error",
    ) -> Any:
        """Returns the best items of each user: a data frame ``user_id, item_id, score, rank``, best first.

        A user gets fewer than ``k`` where fewer are left. Users without any history, whom a model that folds users in
        knows nothing about, get the most popular items, scored by the share of training users who have them; so do
        users for whom every item of the catalogue has score 0, whose items nobody has beside others.

        Args:
            users: ids of users in training; None, without ``histories``: all of them.
            k: the length of the lists, at least 1.
            histories: instead of ``users``, what somebody interacted with: a list of histories, each a list of item ids
                or a dict from item id to weight, for users 0, 1, ...; a dict from your own user ids to such;
                ``Interactions``; or held-out users, as from ``interactions.split``.
            exclude_seen: leave out what is in a user's history.
            exclude: ids of items to leave out for everyone.
            candidates: ids of the only items to recommend.
            titles: add a column ``title``.
            unknown: what to do with ids that are not known: ``"error"``, or ``"drop"`` them; where no user is left, the
                answer has no rows.

        Raises:
            ConfigError: if both ``users`` and ``histories`` are given, ``k`` is below 1, the model cannot score users
                who were not in training, or there are no titles to add.
            NotInitializedError: for ``users``, if the model's file holds no histories.
            UnknownIdError, EmptyDataError, DataTypeError: for ids that are not known, no ids, or other things.
        """
        k = whole_number("k", k, 1)
        check_unknown(unknown)  # there may be no id to look up
        self._check_titles(titles)
        asked = self._asked(
            users,
            histories,
            unknown,
            needs_histories=exclude_seen or self.recoder.model.folds_in_users,
            instead=self._instead("pass histories=[[item, ...], ...]"),
        )
        items = chosen_items(self.item_ids, candidates=candidates, exclude=exclude, unknown=unknown)
        return make_frame(self._best(asked, k, items, exclude_seen=exclude_seen, titles=titles), self.about.library)

    def recommend_to_file(
        self,
        path: str | os.PathLike[str],
        k: int = 10,
        *,
        histories: Interactions | None = None,
        exclude_seen: bool = True,
        exclude: Any = None,
        candidates: Any = None,
        titles: bool = False,
        unknown: str = "error",
        users_at_once: int = 20_000,
    ) -> int:
        """Writes the best items of all users to a file and returns how many rows it has.

        The rows are those of ``recommend``. Never more than some users and their lists are in memory.

        Args:
            path: the file, whose ending, ``.parquet``, ``.csv`` or ``.tsv``, says in what form; a previous one stays
                whole until the new one is.
            k: the length of the lists, at least 1.
            histories: of the users to recommend to. None: all users in training.
            exclude_seen: as in ``recommend``, like the following.
            exclude: ids of items to leave out.
            candidates: ids of the only items to recommend.
            titles: add a column ``title``.
            unknown: ``"error"`` or ``"drop"`` ids that are not known.
            users_at_once: how many users.

        Raises:
            ConfigError: if a number is out of range, files do not end so, the model cannot score users who were not in
                training, or there are no titles to add.
            FileWriteError: if the file cannot be written.
            NotInitializedError, UnknownIdError, EmptyDataError, DataTypeError: as ``recommend``.
        """
        k = whole_number("k", k, 1)
        check_unknown(unknown)
        self._check_titles(titles)
        if histories is not None:
            self._check_folds_in()
        parts = in_parts(
            self.interactions,
            histories,
            self.has_histories,
            needs_histories=exclude_seen or self.recoder.model.folds_in_users,
            unknown=unknown,
            users_at_once=whole_number("users_at_once", users_at_once, 1),
            instead=self._instead("pass histories=Interactions(...)"),
        )
        items = chosen_items(self.item_ids, candidates=candidates, exclude=exclude, unknown=unknown)
        tables = (pa.table(self._best(asked, k, items, exclude_seen=exclude_seen, titles=titles)) for asked in parts)
        return write_tables(Path(path_text("path", path)), tables)

    def score(self, users: Any, items: Any) -> Any:
        """Returns the scores of pairs: a data frame ``user_id, item_id, score``, in the order of the lists.

        They are those of ``recommend``: for users without any history, too. Who has items that say nothing to the model
        scores 0 everywhere, where ``recommend`` answers by what is popular.

        Args:
            users: ids of users in training, ``[P]``.
            items: ids of items, ``[P]``.

        Raises:
            ShapeError: if they are not equally many.
            NotInitializedError, UnknownIdError, EmptyDataError, DataTypeError: as ``recommend``.
            DivergedError: if a score is NaN.
        """
        listed, of_items = raw_list("users", users), raw_list("items", items)
        if len(listed) != len(of_items):
            raise ShapeError(f"there are {len(listed)} users and {len(of_items)} items; pass one item for each user")
        check_histories(self.has_histories, self.recoder.model.folds_in_users)
        user_rows_P = known_rows(self.interactions.user_ids, listed, "users", None)
        cols_P = known_rows(self.item_ids, of_items, "items", None)
        distinct, rows_P = np.unique(user_rows_P, return_inverse=True)
        histories = self.interactions.matrix[distinct]
        scores_P = self._pair_scores(UsersInteractions(distinct, histories), rows_P, cols_P)
        answering = self.answering()
        if answering.knows_popularity:
            is_empty_P = (np.diff(histories.indptr) == 0)[rows_P]
            scores_P[is_empty_P] = answering.popularity(cols_P[is_empty_P])
        user_ids, item_ids = self.interactions.user_ids.ids, self.item_ids.ids
        columns = {"user_id": user_ids.take(pa.array(user_rows_P)), "item_id": item_ids.take(pa.array(cols_P))}
        return make_frame({**columns, "score": scores_P}, self.about.library)

    def similar_items(
        self,
        items: Any,
        k: int = 10,
        *,
        exclude: Any = None,
        candidates: Any = None,
        titles: bool = False,
        unknown: str = "error",
    ) -> Any:
        """Returns the items most similar to each, itself left out: ``item_id, similar_item_id, score, rank``.

        It is a data frame. The score is the cosine of the items' factors; for a model without them, such as EASE, the
        score that the similar item has for a user whose only interaction is the item. Items without users have no
        similar ones; in a model without factors, nor have those that nobody has beside others.

        Args:
            items: ids.
            k: the length of the lists, at least 1.
            exclude: ids of items to leave out.
            candidates: ids of the only items to choose from.
            titles: add a column ``title``, of the similar item.
            unknown: ``"error"`` or ``"drop"`` ids that are not known; where none is left, the answer has no rows.

        Raises:
            ConfigError: if ``k`` is below 1, all items of the model are alike, or there are no titles to add.
            UnknownIdError, EmptyDataError, DataTypeError: as ``recommend``.
        """
        k = whole_number("k", k, 1)
        self._check_titles(titles)
        cols_Q = known_rows(self.item_ids, items, "items", unknown)
        choice = chosen_items(self.item_ids, candidates=candidates, exclude=exclude, unknown=unknown)
        ids_QK, scores_QK = similar_items(self.recoder, cols_Q, k, choice, self._item_counts)
        asked_ids = self.item_ids.ids.take(pa.array(cols_Q))
        columns = self._ranking("item_id", asked_ids, "similar_item_id", ids_QK, scores_QK, titles=titles)
        return make_frame(columns, self.about.library)

    def similar_users(self, users: Any, k: int = 10, *, unknown: str = "error") -> Any:
        """Returns the training users most similar to each: a data frame ``user_id, similar_user_id, score, rank``.

        The score is the cosine of the users' factors; for a model without them, such as EASE, of their histories.
        Users without any history, whom a model that folds users in knows nothing about, have no similar ones and are
        similar to nobody.

        Args:
            users: ids.
            k: the length of the lists, at least 1.
            unknown: ``"error"`` or ``"drop"`` ids that are not known; where none is left, the answer has no rows.

        Raises:
            ConfigError: if ``k`` is below 1, or all users of the model are alike.
            NotInitializedError, UnknownIdError, EmptyDataError, DataTypeError: as ``recommend``.
        """
        k = whole_number("k", k, 1)
        needs = self.recoder.model.folds_in_users or not self.recoder.model.is_factorized
        everyone = of_known_users(None, self.interactions, self.has_histories, needs_histories=needs, unknown=unknown)
        rows_Q = known_rows(self.interactions.user_ids, users, "users", unknown)
        ids_QK, scores_QK = similar_users(self.recoder, everyone.users, rows_Q, k)
        asked_ids = self.interactions.user_ids.ids.take(pa.array(rows_Q))
        columns = self._ranking("user_id", asked_ids, "similar_user_id", ids_QK, scores_QK, of_items=False)
        return make_frame(columns, self.about.library)

    def explain(self, user: Any = None, item: Any = None, *, history: Any = None, titles: bool = False) -> Any:
        """Returns which items of a user's history speak for an item: ``item_id, score_drop, rank``, strongest first.

        ``score_drop`` is by how much the item's score falls when the one interaction is left out of the history and
        all others stay; below 0 where it speaks against the item. What the only interaction of a history adds is
        counted from the model's own score for nothing, not from the popularity that ``recommend`` then answers by.

        Args:
            user: id of a user in training.
            item: id of the item.
            history: instead of ``user``, a list of item ids, or a dict from item id to weight.
            titles: add a column ``title``.

        Raises:
            ConfigError: if not just one of ``user`` and ``history`` is given, the model looks users up, so that its
                scores do not follow from histories, or there are no titles to add.
            EmptyDataError: if the history is empty.
            NotInitializedError, UnknownIdError, DataTypeError: as ``recommend``.
        """
        if (user is None) == (history is None) or item is None:
            raise ConfigError("explain takes an item, and either a user or a history")
        if not self.recoder.model.folds_in_users:
            raise ConfigError(
                f"a {type(self.recoder.model).__name__} looks users up: their scores do not follow from histories; "
                "train one with fold_in=True, or an autoencoder"
            )
        self._check_titles(titles)
        users, histories = (None if user is None else [user]), (None if history is None else [history])
        asked = self._asked(users, histories, None, needs_histories=True, instead="pass history=[item, ...]")
        (col,) = known_rows(self.item_ids, [item], "items", None)
        cols_H, drops_H = score_drops(self.recoder, asked.users, int(col))
        columns = {"item_id": self.item_ids.ids.take(pa.array(cols_H)), "score_drop": drops_H}
        if titles:
            columns["title"] = self._titles(cols_H)
        return make_frame({**columns, "rank": np.arange(1, len(cols_H) + 1)}, self.about.library)

    def evaluate(
        self,
        test: HeldOut | Interactions,
        metrics: Sequence[Metric | str] | None = None,
        *,
        k: int | None = None,
        unknown: str = "error",
    ) -> EvaluationResult:
        """Returns each metric's value for each user, whose means with standard errors are shown as a table.

        Args:
            test: held-out users, as from ``interactions.split``; or interactions of users in training: what their
                histories do not hold is to be found from these. Users without any history are judged by what is
                popular, which they are recommended. A model that looks users up can be judged by users in training
                only.
            metrics: or their names, such as ``"NDCG@100"``. None: ``Recall(20)``, ``Recall(50)`` and ``NDCG(100)``.
            k: items to recommend to each user. None: as many as the metrics look at.
            unknown: what to do with items that held-out users interacted with, and with users who must have been in
                training, that are not known: ``"error"``, or ``"drop"`` them. Items of interactions that are not known
                are never looked for.

        Raises:
            ConfigError: if a metric looks beyond ``k``, or does not say how far it looks and ``k`` is None.
            DataTypeError: if ``test`` or a metric is something else.
            EmptyDataError: if no user has a target that is in the catalogue.
            UnknownIdError: if users or items are not known and ``unknown`` is ``"error"``.
        """
        check_unknown(unknown)
        chosen = DEFAULT_METRICS if metrics is None else distinct_metrics(metrics)
        length = list_length(chosen, None if k is None else whole_number("k", k, 1), "k")
        judged, answering = self.judging(test, unknown)
        recommender = InferenceRecommender(answering, length)
        result = RecommenderEvaluator(recommender, chosen).evaluate(judged.dataset, progress=None)
        named = result.with_user_ids(IdMap(judged.user_ids.ids.take(pa.array(result.users))))
        self.about.add_result(named)
        return named

    def report(self, path: str | os.PathLike[str], *, test: HeldOut | Interactions | None = None) -> str:
        """Writes one HTML page about the model and returns its path; ``recoder.report.write_report`` has more to set.

        Args:
            path: the file.
            test: users to judge by, as in ``evaluate``; without them the page tells only of the model and its data.

        Raises:
            MissingDependencyError, FileWriteError and others: as ``write_report``.
        """
        from recoder.report import write_report  # which reads what this class gives

        return write_report(self, path, test=test)

    def partial_fit(self, new: Interactions, **settings: Any) -> FittedModel:
        """Learns from new interactions, of users and items that are known or new, and returns itself.

        A model that is trained by steps goes on from its parameters over all interactions, for a fourteenth of the
        epochs of its training (1.5 at most), or 12 steps if that is more, though no more than a tenth of its training,
        with a third of the learning rate. One by least squares solves for users and items that are new, and goes a step
        for users with new interactions and items with a tenth more of them. A closed form is computed anew from all
        interactions, which is logged. New users and items come after those that are known, and start as the mean of the
        most similar of these. ``history`` then tells of this alone.

        Args:
            new: what came since.
            settings: arguments of ``Recoder.train`` for this, such as ``num_epochs=2``; none of validation.

        Raises:
            NotInitializedError: if the model's file holds no histories: what it learnt would be overwritten.
            DataTypeError: if ``new`` are no ``Interactions``, or ids are of another type than those in training.
            ConfigError: for settings that are unknown or out of range.
            DivergedError and others: as ``Recoder.train``. The model then is as it was before.
        """
        self.recoder, self.interactions = updated(
            self.recoder, self.interactions, new, self.about, has_histories=self.has_histories, settings=settings
        )
        self._recount()
        self.about.metrics = []
        return self

    def forget(self, users: Any, *, unknown: str = "error") -> str:
        """Drops users: their ids, their histories and their rows of factors. Returns what trained weights keep.

        Args:
            users: ids.
            unknown: ``"error"`` or ``"drop"`` ids that are not known.

        Raises:
            EmptyDataError: if nobody of them is known, or nobody would be left.
            NotInitializedError: if the model's file names no users.
            ConfigError: if the model looks users up in another way than a ``MatrixFactorization``.
            UnknownIdError, DataTypeError: as ``recommend``.
        """
        check_names_users(self.recoder, self.interactions)
        rows = np.unique(known_rows(self.interactions.user_ids, users, "users", unknown))
        if not len(rows):
            raise EmptyDataError("users holds nobody who is known; pass at least one id")
        self.recoder, self.interactions, said = forgotten(
            self.recoder, self.interactions, rows, has_histories=self.has_histories
        )
        if self.has_histories:
            self._recount()
        self.about.num_users, self.about.metrics = self.interactions.num_users, []
        return said

    def save(self, path: str | os.PathLike[str], *, interactions: bool = False, training_state: bool = False) -> str:
        """Writes all that answers need to one file, and returns its path.

        The file holds parameters, ids and titles of items, the recipe and the metrics. ``recoder.load`` needs no more.
        A ``MatrixFactorization`` with ``fold_in`` is saved without its rows of training users, which answers to
        histories do not use, unless one of the arguments is True. A closed form of fewer users than items is computed
        over the users: its weights are their interactions, which the file then holds, without their ids; the log says
        so.

        Args:
            path: the file; a previous one stays whole until the new one is.
            interactions: keep the users' ids and histories too, so that ``users=`` can be answered and ``partial_fit``
                works after loading. Think of privacy before you pass such a file on. Without them a model that looks
                users up keeps their ids alone.
            training_state: keep what the optimizer remembers too, so that a training that was interrupted goes on
                exactly; with Adam the file is three times as large.

        Raises:
            NotInitializedError: if there are no histories to keep.
            ConfigError, DivergedError, FileWriteError: as ``Recoder.save_state``.
        """
        return files.save(self, path, interactions=interactions, training_state=training_state)

    @property
    def item_counts(self) -> npt.NDArray[np.int64]:
        """How many users of the training data have each item: int64 ``[N]``."""
        return self._item_counts

    def __repr__(self) -> str:
        name = self.about.recipe or type(self.recoder.model).__name__
        titles = "" if self.interactions.titles is None else " with titles"
        histories = "with" if self.has_histories else "without"
        num_users = self.interactions.num_users or self.about.num_users
        return f"FittedModel({name}, {num_users} users, {len(self.item_ids)} items{titles}, {histories} histories)"

    def _asked(self, users: Any, histories: Any, unknown: str | None, *, needs_histories: bool, instead: str) -> Asked:
        if histories is None:
            return of_known_users(
                users,
                self.interactions,
                self.has_histories,
                needs_histories=needs_histories,
                unknown=unknown,
                instead=instead,
            )
        if users is not None:
            raise ConfigError("pass users or histories, not both; histories may be a dict from user id to history")
        self._check_folds_in()
        return from_histories(histories, self.item_ids, unknown=unknown)

    def _instead(self, otherwise: str) -> str:
        """Returns what can be asked of a model without histories; one that looks users up needs them for one thing."""
        return otherwise if self.recoder.model.folds_in_users else "pass exclude_seen=False"

    def _check_titles(self, titles: bool) -> None:
        if titles and self.interactions.titles is None:
            raise ConfigError("titles=True, but there are none; read the data with title=..., or leave titles out")

    def _check_folds_in(self) -> None:
        if not self.recoder.model.folds_in_users:
            raise ConfigError(
                f"a {type(self.recoder.model).__name__} looks users up and knows none but those in training; "
                "train one with fold_in=True, or an autoencoder, to recommend from histories"
            )

    def _best(
        self, asked: Asked, k: int, items: npt.NDArray[np.int64] | None, *, exclude_seen: bool, titles: bool
    ) -> dict[str, Any]:
        """Returns the columns of ``recommend``."""
        ids_BK, scores_BK = self.answering().best(asked.users, k, exclude_seen=exclude_seen, items=items)
        return self._ranking("user_id", asked.user_ids, "item_id", ids_BK, scores_BK, titles=titles)

    def judging(self, test: HeldOut | Interactions, unknown: str | None) -> tuple[HeldOut, Answering]:
        """Returns the users to judge by, over the model's items, and what ranks for them by their rows there.

        Args:
            test: as in ``evaluate``.
            unknown: likewise; None: an error, where there is no such argument.

        Raises:
            DataTypeError, EmptyDataError, NotInitializedError, UnknownIdError: as ``evaluate``.
        """
        judged, rows = aligned(
            test,
            self.interactions,
            has_histories=self.has_histories,
            looks_users_up=not self.recoder.model.folds_in_users,
            unknown=unknown,
        )
        return judged, self.answering(rows)

    def answering(self, rows: npt.NDArray[np.int64] | None = None) -> Answering:
        """Returns what ranks as ``recommend`` does, in rows and columns; ``rows`` as in ``Answering``."""
        return Answering(self.recoder, self._item_counts, self.about.num_users, rows=rows)

    def _pair_scores(
        self, users: UsersInteractions, rows_P: npt.NDArray[np.int64], cols_P: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.floating[Any]]:
        """Returns the scores of pairs, in any order and however often.

        Raises:
            DivergedError: if a score is NaN.
        """
        keys, places_P = np.unique(rows_P * len(self.item_ids) + cols_P, return_inverse=True)
        scores = self.recoder.scorer().at(users, *np.divmod(keys, len(self.item_ids)))
        if np.isnan(scores).any():
            raise DivergedError(
                f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN; the model has diverged: train it "
                "again with a lower lr, or load an earlier checkpoint"
            )
        pair_scores: npt.NDArray[np.floating[Any]] = scores[places_P]
        return pair_scores

    def _ranking(
        self,
        asked: str,
        asked_ids: pa.Array,
        found: str,
        ids_BK: npt.NDArray[np.int64],
        scores_BK: npt.NDArray[np.floating[Any]],
        *,
        of_items: bool = True,
        titles: bool = False,
    ) -> dict[str, Any]:
        """Returns lists as columns with a row for each place that is filled."""
        is_filled = ids_BK >= 0
        rows_Z, ranks_Z = np.nonzero(is_filled)
        found_Z = ids_BK[is_filled]
        ids = self.item_ids if of_items else self.interactions.user_ids
        columns: dict[str, Any] = {
            asked: asked_ids.take(pa.array(rows_Z)),
            found: ids.ids.take(pa.array(found_Z)),
            "score": scores_BK[is_filled],
            "rank": ranks_Z + 1,
        }
        if titles:
            columns["title"] = self._titles(found_Z)
        return columns

    def _titles(self, cols: npt.NDArray[np.int64]) -> pa.Array:
        assert self.interactions.titles is not None  # checked with the arguments
        return pa.array([self.interactions.titles[col] for col in cols.tolist()], pa.string())

    def _recount(self) -> None:
        self._item_counts = count_items(self.interactions.matrix)
        for name, value in facts_of(self.interactions.matrix).items():
            setattr(self.about, name, value)
