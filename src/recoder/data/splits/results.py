"""What a split returns: training interactions, users to judge by, and a record of how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scipy import sparse

from recoder.data.datasets import RecommendationDataset
from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.data.summaries import split_html
from recoder.errors import ConfigError, DataTypeError, ShapeError

__all__ = ["HeldOut", "HoldoutSplit", "JsonValue", "Protocol", "StrongSplit", "sizes"]

JsonValue = str | int | float | None


class Protocol(Mapping[str, JsonValue]):
    """How a split was made, as JSON values by name; it never changes. ``dict(protocol)`` goes into a file.

    Args:
        values: the split's ``name``, its arguments, ``seed`` where it draws, the counts of what is in training
            (``train_users``, ``train_items``, ``train_interactions``) and what was left out everywhere
            (``dropped_users``, ``dropped_items``, ``dropped_interactions``).
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, JsonValue]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> JsonValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Protocol({self._values})"


@dataclass(frozen=True)
class HeldOut:
    """Users to judge a model by.

    Attributes:
        dataset: their history as input and what is to be found as target, over the training catalogue.
        user_ids: the raw ids of its rows.
        item_ids: the raw ids of its columns.

    Raises:
        DataTypeError: if one is something else.
        ShapeError: if there are not as many ids as rows and columns.
    """

    dataset: RecommendationDataset
    user_ids: IdMap
    item_ids: IdMap

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, RecommendationDataset):
            raise DataTypeError(f"dataset is a {type(self.dataset).__name__}; pass a RecommendationDataset")
        sizes = {"user_ids": self.dataset.num_users, "item_ids": self.dataset.num_items}
        for name, size in sizes.items():
            ids = getattr(self, name)
            if not isinstance(ids, IdMap):
                raise DataTypeError(f"{name} is a {type(ids).__name__}; pass recoder.data.IdMap({name})")
            if len(ids) != size:
                raise ShapeError(f"{name} are {len(ids)}, but the data set has {size} of them; pass one id for each")

    @property
    def history(self) -> Interactions:
        """What is known of the users, as interactions in their ids."""
        return Interactions(self.dataset.interactions_matrix, self.user_ids, self.item_ids)

    @property
    def target(self) -> Interactions:
        """What is to be found, likewise.

        Raises:
            ConfigError: if there is nothing to be found, as of users who are only to be recommended to.
        """
        if self.dataset.target_interactions_matrix is None:
            raise ConfigError("these users have no targets; pass a RecommendationDataset with targets")
        return Interactions(self.dataset.target_interactions_matrix, self.user_ids, self.item_ids)

    def _repr_html_(self) -> str:
        return split_html({"held out": self._matrices()})

    def _matrices(self) -> tuple[sparse.csr_matrix, sparse.csr_matrix | None]:
        return self.dataset.interactions_matrix, self.dataset.target_interactions_matrix


@dataclass(frozen=True)
class StrongSplit:
    """Training users, and users to validate and to test with; no user is in two of them.

    It unpacks: ``train, valid, test = strong_generalization(...)``.

    Attributes:
        train: all the interactions of the training users; its items are the catalogue of the other two.
        valid: users to choose settings by.
        test: users to report results on.
        protocol: how it was made, as JSON values.
    """

    train: Interactions
    valid: HeldOut
    test: HeldOut
    protocol: Mapping[str, JsonValue]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.train, self.valid, self.test))

    def _repr_html_(self) -> str:
        held_out = {"valid": self.valid._matrices(), "test": self.test._matrices()}
        return split_html({"train": (self.train.matrix, None), **held_out}, self.protocol)


@dataclass(frozen=True)
class HoldoutSplit:
    """A part of the users' interactions to train on, and another one to judge by; the users are the same.

    It unpacks: ``train, test = random_holdout(...)``.

    Attributes:
        train: what a model learns from.
        test: the same users over the same items: the input is what is trained on, the target what was taken out.
        protocol: how it was made, as JSON values.
    """

    train: Interactions
    test: HeldOut
    protocol: Mapping[str, JsonValue]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.train, self.test))

    def _repr_html_(self) -> str:
        return split_html({"train": (self.train.matrix, None), "test": self.test._matrices()}, self.protocol)


def sizes(train: Interactions, given: Interactions, *, num_users: int, num_interactions: int) -> dict[str, int]:
    """Returns the counts of a protocol.

    Args:
        train: the training interactions.
        given: what was split.
        num_users: how many users of it are in training or judged.
        num_interactions: how many interactions of it are in a training, history or target part.
    """
    return {
        "train_users": train.num_users,
        "train_items": train.num_items,
        "train_interactions": int(train.matrix.nnz),
        "dropped_users": given.num_users - num_users,
        "dropped_items": given.num_items - train.num_items,
        "dropped_interactions": int(given.matrix.nnz) - num_interactions,
    }
