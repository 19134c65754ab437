"""``recoder index``: a model's items in a file for nearest-neighbour search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recoder.cli.answers import load_model
from recoder.cli.out_files import check_outs
from recoder.embedding import AnnoyEmbeddingsIndex, ExactEmbeddingsIndex, VoyagerEmbeddingsIndex
from recoder.embedding.index import BackendIndex
from recoder.errors import ConfigError

__all__ = ["build_index"]

_KINDS: Mapping[str, Callable[..., BackendIndex]] = {
    "exact": ExactEmbeddingsIndex,
    "voyager": VoyagerEmbeddingsIndex,
    "annoy": AnnoyEmbeddingsIndex,
}


def build_index(path: Path, out: Path, kind: str) -> dict[str, Any]:
    """Writes an index of the items' factors under their own ids, and returns what it wrote, as JSON values.

    Args:
        path: of the model.
        out: the file to write; that of the search structure stands beside it.
        kind: ``exact``, ``voyager`` or ``annoy``.

    Raises:
        ConfigError: if the model has no factors of items.
        MissingDependencyError: if the package of that name is not installed.
        RecoderError, OSError: as loading and writing.
    """
    check_outs(inputs=[path], out=out)
    fitted = load_model(path)
    model = fitted.recoder.model
    if not model.is_factorized:
        raise ConfigError(
            f"{path} is of {type(model).__name__}, which has no factors of items to search; recoder similar asks it"
        )
    factors = model.item_factors()[0].detach().cpu().numpy()
    if factors.shape[1] == 1:
        raise ConfigError(
            f"{path} is of {type(model).__name__}, whose items have a single number each, by which none is similar"
        )
    index = _KINDS[kind](factors, id_map=fitted.item_ids.to_dict())
    index.build(out)
    return {"file": str(out), "kind": kind, "items": factors.shape[0], "factors": factors.shape[1]}
