"""Models: the contract that they share, and those of the library."""

from recoder.nn.autoencoder import DynamicAutoencoder
from recoder.nn.base import FactorizationModel
from recoder.nn.matrix_factorization import MatrixFactorization
from recoder.nn.popularity import Popularity

__all__ = ["DynamicAutoencoder", "FactorizationModel", "MatrixFactorization", "Popularity"]
