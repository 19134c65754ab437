"""Reading Annoy's files, and the index files of recoder 0.4.0, without trusting them.

0.4.0 wrote a pickle of ``{"embedding_size": int, "id_map": dict}`` and beside it, as ``<name>.embeddings``,
Annoy's file. Sizes: N embeddings, D dimensions, M nodes.
"""

from __future__ import annotations

import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recoder.embedding.base import Floats
from recoder.embedding.ids import EmbeddingIds
from recoder.errors import FileFormatError, RecoderError, UnsafeFileError

__all__ = ["is_legacy_state", "read_annoy_vectors", "read_legacy_state"]

_LEGACY_SUFFIX = ".embeddings"
_BLOCK_NODES = 1 << 14


def is_legacy_state(path: Path) -> bool:
    """Returns whether the file starts as a pickle does, and not as a safetensors file."""
    with path.open("rb") as file:
        head = file.read(9)
    is_safetensors = len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 32
    # protocols 2 to 5 open with their number; 0 and 1 with a mark, an empty dict or a name to import
    return not is_safetensors and head[:1] in {b"\x80", b"(", b"}", b"c"}


def read_legacy_state(path: Path) -> tuple[int, EmbeddingIds, int, Path]:
    """Returns what a state file of 0.4.0 says: D, the ids, N and the path of Annoy's file.

    Raises:
        UnsafeFileError: if the pickle names anything to be imported or called, numpy's numbers excepted.
        FileFormatError: if it is no state of an index, or Annoy's file is missing.
    """
    state = _unpickled(path)
    if not isinstance(state, dict) or set(state) != {"embedding_size", "id_map"}:
        raise FileFormatError(f"{path} is a pickle, but not the state of an index of recoder 0.4.0")
    dims, id_map = state["embedding_size"], state["id_map"]
    if type(dims) is not int or dims < 1 or not isinstance(id_map, dict) or not id_map:
        raise FileFormatError(f"{path} is not a whole index of recoder 0.4.0: it has no embedding size or no ids")
    try:
        ids = EmbeddingIds.from_dict(id_map, len(id_map))
    except RecoderError as error:
        raise FileFormatError(f"{path} is not a whole index of recoder 0.4.0: {error}") from error
    path = Path(os.path.realpath(path))  # the two lie side by side, not beside a link
    sibling = path.with_name(path.name + _LEGACY_SUFFIX)
    if not sibling.is_file():
        raise FileFormatError(
            f"{path} needs the file {sibling.name} in the same folder, which is not there; keep the two together"
        )
    return dims, ids, len(id_map), sibling


def read_annoy_vectors(path: Path, size: int, dims: int) -> Floats:
    """Returns the vectors of an Annoy file (angular), after checking that its nodes form trees, within its bounds.

    A node is ``n_descendants``, then two children (or, of an item, its norm and padding), then the vector or
    the normal of a split; in a leaf the children go on through the space of the vector. Nodes 0 to N - 1 are
    the items, and every child of a node was written before it. Roots say that they have N descendants, and stand
    there twice: where they were made, and all together at the end.

    Returns:
        float32 ``[N, D]``, mapped from the file.

    Raises:
        FileFormatError: if it is not an Annoy file of ``size`` vectors of ``dims`` dimensions.
    """
    width = 3 + dims
    num_nodes, rest = divmod(path.stat().st_size, 4 * width)
    if rest or num_nodes <= size:
        raise _not_annoy(path, size, dims, f"its length of {path.stat().st_size} bytes does not fit")
    nodes = np.memmap(path, dtype="<i4", mode="r", shape=(num_nodes, width))
    if not (nodes[:size, 0] == 1).all() or nodes[-1, 0] != size:
        raise _not_annoy(path, size, dims, "it is cut short, or holds another number of items")
    for start in range(size, num_nodes, _BLOCK_NODES):
        if not _children_in_bounds(nodes[start : start + _BLOCK_NODES], start, size):
            raise _not_annoy(path, size, dims, "its trees point outside it")
    if not _are_trees(np.array(nodes[size:, :3]), size, num_children=width - 1):
        raise _not_annoy(path, size, dims, "its trees share nodes, so that a search might not end")
    vectors_ND = np.asarray(nodes[:size, 3:]).view("<f4")
    if not np.isfinite(vectors_ND).all():
        raise _not_annoy(path, size, dims, "its vectors hold NaN or infinite values")
    return vectors_ND


def _children_in_bounds(nodes: npt.NDArray[np.int32], start: int, size: int) -> bool:
    descendants = nodes[:, :1]
    children = nodes[:, 1:]
    is_leaf = descendants <= children.shape[1]
    used = np.arange(children.shape[1]) < np.where(is_leaf, descendants, 2)
    limit = np.where(is_leaf, size, start + np.arange(len(nodes))[:, None])
    in_bounds = (children >= 0) & (children < limit)
    return bool(((descendants >= 1) & (descendants <= size)).all() and (in_bounds | ~used).all())


def _are_trees(heads: npt.NDArray[np.int32], size: int, num_children: int) -> bool:
    """Returns whether no search can come to a node more than twice.

    Annoy follows whatever leads to a node: of forty that each have the one before as both children, it would look at
    the first 2^40 times.

    Args:
        heads: int32 ``[M - N, 3]``: descendants and children of all nodes but the items, which end a search.
        size: N.
        num_children: how many a leaf has room for.
    """
    is_split, is_root = heads[:, 0] > num_children, heads[:, 0] == size
    of_roots, of_others = (
        np.bincount(heads[is_split & of_these, 1:].ravel(), minlength=size + len(heads))[size:]
        for of_these in (is_root, ~is_root)
    )
    # a root has no parent; what is below it has two, the root and its copy; every other node has one
    return bool((2 * of_others + of_roots <= np.where(is_root, 0, 2)).all())


def _not_annoy(path: Path, size: int, dims: int, problem: str) -> FileFormatError:
    return FileFormatError(
        f"{path} is not an Annoy index of {size} vectors with {dims} dimensions: {problem}; build the index again"
    )


def _unpickled(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{path} {error}") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise FileFormatError(f"{path} is not an index file: it is damaged or cut short ({error})") from error


class _PlainUnpickler(pickle.Unpickler):
    """Reads Python's plain types, and numpy's numbers and strings by stand-ins; nothing else is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        # made anew for each file: a pickle may set attributes of what it looks up, and these are nobody else's
        if (module, name) == ("numpy", "dtype"):
            return type("Dtype", (_DtypeStandIn,), {})
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name == "scalar":
            return lambda dtype, data: _scalar(dtype, data)
        raise UnsafeFileError(
            f"asks for {module}.{name} to be loaded, which no index needs; nothing of it was run. Do not use this file"
        )


class _DtypeStandIn:
    """Remembers which dtype a pickle names; numpy's own would also take object types, and unpickle those."""

    def __init__(self, name: str, align: bool, copy: bool) -> None:
        self.name = name
        self.byte_order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = state[1].replace("|", "=")


def _scalar(dtype: _DtypeStandIn, data: bytes) -> int | str:
    described = dtype.byte_order + dtype.name
    if not re.fullmatch(r"[<>=][iuU]\d+", described):
        raise UnsafeFileError(f"holds a numpy {dtype.name}, which is no id; nothing of it was run")
    value: int | str = np.frombuffer(data, described)[0].item()
    return value
