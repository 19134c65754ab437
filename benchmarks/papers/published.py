"""What papers report under this protocol: Recall@20, Recall@50, NDCG@100 of the test users."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """A paper's numbers.

    Attributes:
        model: what the paper calls it.
        recipe: ours of the same model.
        recall_20, recall_50, ndcg_100: the numbers, as printed.
        source: the paper.
    """

    model: str
    recipe: str
    recall_20: float
    recall_50: float
    ndcg_100: float
    source: str

    @property
    def values(self) -> tuple[float, float, float]:
        """The numbers in the order of the table."""
        return self.recall_20, self.recall_50, self.ndcg_100


_LIANG = "Liang et al. 2018, arXiv:1802.05814"
_STECK = "Steck 2019, arXiv:1905.03375"
_SHENBIN = "Shenbin et al. 2020, arXiv:1912.11160"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "ml-20m": (
        Published("popularity", "popularity", 0.162, 0.235, 0.191, _STECK),
        Published("Mult-VAE", "multvae", 0.395, 0.537, 0.426, _LIANG),
        Published("EASE", "ease", 0.391, 0.521, 0.420, _STECK),
        Published("RecVAE", "recvae", 0.414, 0.553, 0.442, _SHENBIN),
    ),
    "msd": (
        Published("popularity", "popularity", 0.043, 0.068, 0.058, _STECK),
        Published("Mult-VAE", "multvae", 0.266, 0.364, 0.316, _LIANG),
        Published("EASE", "ease", 0.333, 0.428, 0.389, _STECK),
        Published("RecVAE", "recvae", 0.276, 0.374, 0.326, _SHENBIN),
    ),
    "netflix": (
        Published("popularity", "popularity", 0.116, 0.175, 0.159, _STECK),
        Published("Mult-VAE", "multvae", 0.351, 0.444, 0.386, _LIANG),
        Published("EASE", "ease", 0.362, 0.445, 0.393, _STECK),
        Published("RecVAE", "recvae", 0.361, 0.452, 0.394, _SHENBIN),
    ),
}
