"""Recommenders: from users' histories to ranked items."""

from recoder.recommender.base import Recommender, Scorer
from recoder.recommender.inference import InferenceRecommender
from recoder.recommender.similarity import SimilarityRecommender

__all__ = ["InferenceRecommender", "Recommender", "Scorer", "SimilarityRecommender"]
