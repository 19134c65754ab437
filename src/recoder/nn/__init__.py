"""Models: the contract that they share, and those of the library."""

from recoder.nn.autoencoder import DynamicAutoencoder
from recoder.nn.base import FactorizationModel, Phase
from recoder.nn.ease import EASE
from recoder.nn.elsa import ELSA
from recoder.nn.item_sum import ItemSum
from recoder.nn.matrix_factorization import MatrixFactorization
from recoder.nn.mult_vae import MultVAE
from recoder.nn.popularity import Popularity
from recoder.nn.rec_vae import RecVAE
from recoder.nn.tables import FactorTable

__all__ = [
    "EASE",
    "ELSA",
    "DynamicAutoencoder",
    "FactorTable",
    "FactorizationModel",
    "ItemSum",
    "MatrixFactorization",
    "MultVAE",
    "Phase",
    "Popularity",
    "RecVAE",
]
