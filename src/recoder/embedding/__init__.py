"""Nearest-neighbour search among the embeddings of items.

``ExactEmbeddingsIndex`` looks at every item; ``AnnoyEmbeddingsIndex`` and ``VoyagerEmbeddingsIndex`` are
approximate and need the package of that name, which they import when they are built or loaded;
``MemCacheEmbeddingsIndex`` keeps the answers of any of them. ``EmbeddingsIndex`` is the base class for an
index of your own.
"""

from recoder.embedding.annoy import AnnoyEmbeddingsIndex
from recoder.embedding.base import EmbeddingsIndex
from recoder.embedding.exact import ExactEmbeddingsIndex
from recoder.embedding.memcache import MemCacheEmbeddingsIndex
from recoder.embedding.voyager import VoyagerEmbeddingsIndex

__all__ = [
    "AnnoyEmbeddingsIndex",
    "EmbeddingsIndex",
    "ExactEmbeddingsIndex",
    "MemCacheEmbeddingsIndex",
    "VoyagerEmbeddingsIndex",
]
