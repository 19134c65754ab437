"""The optional part of a model file: the user's own ids, titles and interactions, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.data.texts import pack_texts, unpack_texts
from recoder.errors import DataError, DataTypeError, FileFormatError, ShapeError

__all__ = ["pack_interactions", "unpack_interactions"]


def pack_interactions(interactions: Interactions, *, histories: bool) -> dict[str, Tensor]:
    """Returns ids and titles, and with ``histories`` the matrix too, as tensors by name.

    ``ids/users`` and ``ids/items``, each ``.../int64`` or ``.../bytes`` with ``.../offsets``; ``titles/bytes`` with
    ``titles/offsets``; ``histories/indptr``, ``histories/indices`` and ``histories/data``.
    Times are not kept.
    """
    arrays = {f"ids/users/{key}": value for key, value in interactions.user_ids.to_arrays().items()}
    arrays |= {f"ids/items/{key}": value for key, value in interactions.item_ids.to_arrays().items()}
    if interactions.titles is not None:
        arrays |= {f"titles/{key}": value for key, value in pack_texts(interactions.titles).items()}
    if histories:
        matrix = interactions.matrix
        arrays |= {
            "histories/indptr": matrix.indptr.astype(np.int64),
            "histories/indices": matrix.indices.astype(np.int64),
            "histories/data": matrix.data,
        }
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def unpack_interactions(tensors: Mapping[str, Tensor]) -> Interactions | None:
    """Returns what ``pack_interactions`` took apart: without any interactions if it left them out; None without ids.

    Raises:
        FileFormatError: if the tensors do not describe interactions.
    """
    users = _section(tensors, "ids/users/")
    items = _section(tensors, "ids/items/")
    titles = _section(tensors, "titles/")
    histories = _section(tensors, "histories/")
    if not users and not items:
        return None
    user_ids, item_ids = IdMap.from_arrays(users), IdMap.from_arrays(items)
    shape = (len(user_ids), len(item_ids))
    try:
        if not histories:
            nothing = np.empty(0, np.int64)
            histories = {
                "data": np.empty(0, np.float32),
                "indices": nothing,
                "indptr": np.zeros(shape[0] + 1, np.int64),
            }
        matrix = sparse.csr_matrix((histories["data"], histories["indices"], histories["indptr"]), shape=shape)
        return Interactions(matrix, user_ids, item_ids, unpack_texts(titles) if titles else None)
    except (ValueError, KeyError, DataError, DataTypeError, ShapeError) as error:
        raise FileFormatError(f"the file's ids, titles and histories do not fit one another: {error}") from error


def _section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, npt.NDArray[Any]]:
    # these only: numpy has no bfloat16, which weights may be
    return {name.removeprefix(prefix): t.numpy() for name, t in tensors.items() if name.startswith(prefix)}
