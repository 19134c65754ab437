"""What a study is of, so that it does not go on with something else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from recoder import __version__
from recoder.data.interactions import Interactions
from recoder.data.mapped import entry_blocks
from recoder.data.splits import HeldOut
from recoder.errors import ConfigError
from recoder.metrics import Metric
from recoder.recipes import Recipe
from recoder.tuning.spaces import Space

__all__ = ["check_same", "describe"]


def describe(
    recipe: Recipe, space: Space, metric: Metric, train: Interactions, valid: HeldOut, seed: int
) -> dict[str, Any]:
    """Returns as JSON values what makes two studies the same."""
    known = valid.dataset.interactions_matrix
    described = {
        "model": _model_name(recipe),
        "data": f"{train.num_users} users, {train.num_items} items, {train.matrix.nnz} interactions, "
        f"{known.shape[0]} validation users",
        "fingerprint": _fingerprint(train, valid),
        "metric": str(metric),
        "settings": {
            **recipe.model,
            **recipe.recoder,
            **recipe.train,
            "users_per_batch": asdict(recipe.users_per_batch),
        },
        "space": {name: str(choice) for name, choice in space.items()},
        "seed": seed,
        "version": __version__,
    }
    # as it comes out of the study again
    return dict(json.loads(json.dumps(described, default=_described)))


def check_same(path: str, stored: Any, now: Mapping[str, Any]) -> None:
    """Checks that a study is of the same model, data and settings as now.

    Raises:
        ConfigError: if not.
    """
    if not isinstance(stored, dict) or stored.keys() != now.keys():
        raise ConfigError(f"the study in {path} was not made by this version of tune; choose another file")
    instead = "go on with the same, or choose another file for the study"
    if (stored["data"], stored["fingerprint"]) != (now["data"], now["fingerprint"]):
        detail = "" if stored["data"] != now["data"] else ", though there are as many"
        raise ConfigError(
            f"the study in {path} is of other data ({stored['data']}) than these ({now['data']}){detail}; {instead}"
        )
    for name in ("model", "metric", "seed", "version"):
        if stored[name] != now[name]:
            raise ConfigError(f"the study in {path} has {name} {stored[name]}, not {now[name]}; {instead}")
    for name in ("settings", "space"):
        differing = [
            f"{key} {stored[name].get(key, 'not there')} (now {now[name].get(key, 'not there')})"
            for key in sorted(stored[name].keys() | now[name].keys())
            if stored[name].get(key) != now[name].get(key)
        ]
        if differing:
            raise ConfigError(f"the study in {path} has another {name}: {', '.join(differing)}; {instead}")


def _described(value: Any) -> str:
    """Returns what an object says of itself, without the address that Python's own description has."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _model_name(recipe: Recipe) -> str:
    """Returns the name of what makes the model; where that has none, the model's class with its hyper-parameters."""
    name: str = getattr(recipe.make_model, "__name__", "<lambda>")
    if name != "<lambda>":
        return name
    model = recipe.make_model(**recipe.model)
    params = ", ".join(f"{key}={value!r}" for key, value in model.model_params().items())
    return f"{type(model).__name__}({params})"


def _fingerprint(train: Interactions, valid: HeldOut) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for matrix in (train.matrix, valid.dataset.interactions_matrix, valid.dataset.target_interactions_matrix):
        if matrix is not None:
            for array, dtype in ((matrix.indptr, np.int64), (matrix.indices, np.int64), (matrix.data, np.float32)):
                _add(digest, array, dtype)
    for ids in (train.user_ids, train.item_ids):
        for array in ids.to_arrays().values():
            _add(digest, array, array.dtype)
    return digest.hexdigest()


def _add(digest: Any, array: npt.NDArray[Any], dtype: npt.DTypeLike) -> None:
    digest.update(str(array.shape).encode())
    for block in entry_blocks(len(array)):
        digest.update(np.ascontiguousarray(array[block], dtype).data)
