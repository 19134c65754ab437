"""Conformance suites: what every model and every index must do, as tests that your own can be put through.

They are classes for pytest, which must be installed to import this package.
"""

from recoder.testing.embeddings_index import EmbeddingsIndexSuite
from recoder.testing.factorization_model import FactorizationModelSuite

__all__ = ["EmbeddingsIndexSuite", "FactorizationModelSuite"]
