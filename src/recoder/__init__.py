"""Collaborative-filtering latent factor models on implicit feedback: train, evaluate, index, recommend.

The modules hold the documented names: ``recoder.model.Recoder`` trains ``recoder.nn`` models on ``recoder.data`` sets
with ``recoder.losses`` and judges them by ``recoder.metrics``; ``recoder.embedding`` and ``recoder.recommender`` serve
them.
"""

__version__ = "1.0.0.dev0"
