"""Collaborative-filtering latent factor models on implicit feedback: train, evaluate, index, recommend.

``recoder.fit`` leads from ``recoder.Interactions`` to a ``recoder.FittedModel``, which answers in your own ids;
``recoder.load`` brings one back from its file. The modules hold the rest: ``recoder.model.Recoder`` trains
``recoder.nn`` models on ``recoder.data`` sets with ``recoder.losses`` and judges them by ``recoder.metrics``;
``recoder.embedding`` and ``recoder.recommender`` serve them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recoder.api import FittedModel, fit, load
    from recoder.data import Interactions

__all__ = ["FittedModel", "Interactions", "__version__", "fit", "load"]

__version__ = "1.0.0.dev0"

_HOMES = {"FittedModel": "recoder.api", "Interactions": "recoder.data", "fit": "recoder.api", "load": "recoder.api"}
_MODULES = (
    "callbacks",
    "data",
    "embedding",
    "errors",
    "losses",
    "metrics",
    "model",
    "nn",
    "recipes",
    "recommender",
    "report",
    "training",
    "tuning",
    "utils",
)


def __getattr__(name: str) -> Any:
    # on first use: torch takes seconds to import, and whoever asks for the version does not need it
    if name in _MODULES:
        return importlib.import_module(f"recoder.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'recoder' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
