"""Two sets of interactions as one.

Sizes: U users and N items in the result, Z interactions of both, repeated pairs twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from recoder.data.frames import csr_from_pairs
from recoder.data.id_map import IdMap
from recoder.data.times import Times, latest_times
from recoder.errors import DataTypeError

if TYPE_CHECKING:
    from recoder.data.interactions import Interactions

__all__ = ["merged"]


def merged(first: Interactions, second: Interactions) -> tuple[sparse.csr_matrix, Times | None, IdMap, IdMap]:
    """Returns matrix, times, user ids and item ids of both; see ``Interactions.merge``.

    Raises:
        DataTypeError: if ids are numbers in one and strings in the other.
    """
    user_ids, rows_V = _joined(first.user_ids, second.user_ids, "user")
    item_ids, cols_M = _joined(first.item_ids, second.item_ids, "item")
    shape = (len(user_ids), len(item_ids))
    entries = [part.matrix.tocoo() for part in (first, second)]
    users_Z = np.concatenate([entries[0].row, rows_V[entries[1].row]])
    items_Z = np.concatenate([entries[0].col, cols_M[entries[1].col]])
    values_Z = np.concatenate([part.matrix.data for part in (first, second)])
    matrix = csr_from_pairs(users_Z, items_Z, values_Z, shape)
    if (values_Z == 1).all():
        matrix.data[:] = 1
    times = None
    if first.times is not None and second.times is not None:
        times = latest_times(users_Z, items_Z, np.concatenate([first.times, second.times]), shape)
    return matrix, times, user_ids, item_ids


def _joined(first: IdMap, second: IdMap, kind: str) -> tuple[IdMap, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Returns the ids of both, those of the first in front, and the place of each of the second's."""
    if not len(first) or not len(second):
        filled = first if len(first) else second
        return filled, np.arange(len(second))
    if first.ids.type != second.ids.type:
        raise DataTypeError(
            f"{kind} ids are {first.ids.type} in one and {second.ids.type} in the other; cast them to the same type"
        )
    new = second.ids.filter(pc.invert(pc.is_in(second.ids, first.ids)))
    both = pa.concat_arrays([first.ids, new])
    return IdMap(both), pc.index_in(second.ids, both).to_numpy().astype(np.int64)
