"""The public surface: every documented call, with its order of arguments and its defaults."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

TRAIN = """train_dataset, val_dataset=None, lr=0.001, weight_decay=0, num_epochs=1, iters_per_epoch=None, batch_size=64,
    lr_milestones=None, negative_sampling=False, num_sampling_users=0, num_data_workers=0, model_checkpoint_prefix=None,
    checkpoint_freq=0, eval_freq=0, eval_num_recommendations=None, eval_num_users=None, metrics=None,
    eval_batch_size=None"""
FORWARD = "input, input_users=None, input_items=None, target_users=None, target_items=None"
INIT_MODEL = "num_items=None, num_users=None"

DOCUMENTED = {
    "model.Recoder": """model, num_items=None, num_users=None, optimizer_type='sgd', loss='mse', loss_params=None,
        use_cuda=False, user_based=True, item_based=True""",
    "model.Recoder.init_from_model_file": "model_file",
    "model.Recoder.save_state": "model_checkpoint_prefix",
    "model.Recoder.train": TRAIN,
    "model.Recoder.predict": "users_interactions, return_input=False",
    "model.Recoder.recommend": "users_interactions, num_recommendations",
    "model.Recoder.evaluate": "eval_dataset, num_recommendations, metrics, batch_size=1, num_users=None",
    "data.UsersInteractions": "users, interactions_matrix",
    "data.RecommendationDataset": "interactions_matrix, target_interactions_matrix=None",
    "data.RecommendationDataLoader": """dataset, batch_size, negative_sampling=False, num_sampling_users=0,
        num_workers=0, collate_fn=None""",
    "data.Batch": "users, items, indices, values, size",
    "data.BatchCollator": "batch_size, negative_sampling=False",
    "data.BatchCollator.collate": "users_interactions",
    "nn.FactorizationModel.init_model": INIT_MODEL,
    "nn.FactorizationModel.model_params": "",
    "nn.FactorizationModel.load_model_params": "model_params",
    "nn.FactorizationModel.forward": FORWARD,
    "nn.DynamicAutoencoder": """hidden_layers=None, activation_type='tanh', is_constrained=False, dropout_prob=0.0,
        noise_prob=0.0, sparse=False""",
    "nn.DynamicAutoencoder.init_model": INIT_MODEL,
    "nn.DynamicAutoencoder.model_params": "",
    "nn.DynamicAutoencoder.load_model_params": "model_params",
    "nn.DynamicAutoencoder.forward": FORWARD,
    "nn.MatrixFactorization": "embedding_size, activation_type='none', dropout_prob=0, sparse=False",
    "nn.MatrixFactorization.init_model": INIT_MODEL,
    "nn.MatrixFactorization.model_params": "",
    "nn.MatrixFactorization.load_model_params": "model_params",
    "nn.MatrixFactorization.forward": FORWARD,
    "losses.MSELoss": "confidence=0, reduction='elementwise_mean'",
    "losses.MSELoss.forward": "input, target",
    "losses.MultinomialNLLLoss": "reduction='elementwise_mean'",
    "losses.MultinomialNLLLoss.forward": "input, target",
    "embedding.EmbeddingsIndex.get_embedding": "embedding_id",
    "embedding.EmbeddingsIndex.get_nns_by_id": "embedding_id, n",
    "embedding.EmbeddingsIndex.get_nns_by_embedding": "embedding, n",
    "embedding.EmbeddingsIndex.get_similarity": "id1, id2",
    "embedding.AnnoyEmbeddingsIndex": """embeddings=None, id_map=None, n_trees=10, search_k=-1,
        include_distances=False""",
    "embedding.AnnoyEmbeddingsIndex.build": "index_file=None",
    "embedding.AnnoyEmbeddingsIndex.load": "index_file",
    "embedding.AnnoyEmbeddingsIndex.get_embedding": "embedding_id",
    "embedding.AnnoyEmbeddingsIndex.get_nns_by_id": "embedding_id, n",
    "embedding.AnnoyEmbeddingsIndex.get_nns_by_embedding": "embedding, n",
    "embedding.AnnoyEmbeddingsIndex.get_similarity": "id1, id2",
    "embedding.MemCacheEmbeddingsIndex": "embedding_index",
    "embedding.MemCacheEmbeddingsIndex.get_embedding": "embedding_id",
    "embedding.MemCacheEmbeddingsIndex.get_nns_by_embedding": "embedding, n",
    "embedding.MemCacheEmbeddingsIndex.get_nns_by_id": "embedding_id, n",
    "embedding.MemCacheEmbeddingsIndex.get_similarity": "id1, id2",
    "metrics.Metric": "metric_name",
    "metrics.Metric.evaluate": "x, y",
    "metrics.Recall": "k, normalize=True",
    "metrics.Recall.evaluate": "x, y",
    "metrics.NDCG": "k",
    "metrics.NDCG.evaluate": "x, y",
    "metrics.AveragePrecision": "k, normalize=True",
    "metrics.AveragePrecision.evaluate": "x, y",
    "metrics.recall": "x, y, k, normalize=True",
    "metrics.average_precision": "x, y, k, normalize=True",
    "metrics.ndcg": "x, y, k",
    "metrics.dcg": "x, y, k",
    "metrics.RecommenderEvaluator": "recommender, metrics",
    "metrics.RecommenderEvaluator.evaluate": "eval_dataset, batch_size=1, num_users=None, num_workers=0",
    "recommender.Recommender": "",
    "recommender.Recommender.recommend": "users_hist",
    "recommender.SimilarityRecommender": "embeddings_index, num_recommendations, n=1, scale=1",
    "recommender.SimilarityRecommender.recommend": "users_hist",
    "recommender.InferenceRecommender": "model, num_recommendations",
    "recommender.InferenceRecommender.recommend": "users_hist",
    "utils.normalize": "x, axis=None",
    "utils.dataframe_to_csr_matrix": """dataframe, user_col, item_col, inter_col, item_id_map=None,
        user_id_map=None""",
}

ADDED = {
    "model.Recoder": {"seed": None, "device": None, "precision": "fp32", "parallel": None, "optimizer_state": "fp32"},
    "model.Recoder.train": {
        "lr_schedule": "constant",
        "max_grad_norm": None,
        "popularity_bias": False,
        "num_uniform_negatives": 0,
        "logq_correction": False,
        "early_stopping": None,
        "callbacks": None,
    },
    "model.Recoder.save_state": {"interactions": None, "histories": False},
    "data.RecommendationDataLoader": {"shuffle": True, "seed": None, "num_uniform_negatives": 0, "even": False},
    "data.BatchCollator.collate": {"more_items": None, "num_batches": None},
    "nn.MatrixFactorization": {"fold_in": False, "l2_power": 0.0, "confidence_power": 0.0},
    "embedding.MemCacheEmbeddingsIndex": {"max_entries": 100_000},
    "metrics.RecommenderEvaluator.evaluate": {"progress": False},
    "utils.dataframe_to_csr_matrix": {"unknown": "error"},
}

PUBLIC = {
    "model": {"Recoder"},
    "data": {
        "Batch", "BatchCollator", "DatasetInfo", "HeldOut", "HoldoutSplit", "IdMap", "Interactions",
        "RecommendationDataLoader", "RecommendationDataset", "StrongSplit", "UsersInteractions", "dataset_info",
        "dataset_names", "global_time", "leave_last_out", "load_dataset", "load_official_split", "random_holdout",
        "strong_generalization",
    },
    "nn": {
        "EASE", "ELSA", "DynamicAutoencoder", "FactorTable", "FactorizationModel", "ItemSum", "MatrixFactorization",
        "MultVAE", "Phase", "Popularity", "RecVAE",
    },
    "recipes": {"RECIPES", "Recipe", "recipe"},
    "ops": {"SparseRows"},
    "training": {
        "Callback", "EarlyStopping", "EpochRecord", "EpochReport", "History", "TrainingRun", "join_parts",
    },
    "callbacks": {"BestCheckpoint", "CSVLog", "JSONLinesLog", "MLflowLog", "TensorBoardLog", "WandbLog"},
    "tuning": {"SPACES", "Choice", "Range", "Space", "Trial", "TuningResult", "tune"},
    "losses": {"LogisticLoss", "MSELoss", "MultinomialNLLLoss"},
    "embedding": {
        "AnnoyEmbeddingsIndex", "EmbeddingsIndex", "ExactEmbeddingsIndex", "MemCacheEmbeddingsIndex",
        "VoyagerEmbeddingsIndex",
    },
    "metrics": {
        "MRR", "NDCG", "AveragePopularity", "AveragePrecision", "CatalogueMetric", "Comparison", "Coverage",
        "CutoffMetric", "EvaluationResult", "Gini", "HitRate", "IntraListDiversity", "ListMetric", "Metric", "Novelty",
        "PairedDifference", "Precision", "RPrecision", "Recall", "RecommenderEvaluator", "average_precision",
        "compare", "dcg", "evaluate_frame", "ndcg", "recall",
    },
    "recommender": {"InferenceRecommender", "Recommender", "Scorer", "SimilarityRecommender"},
    "utils": {"dataframe_to_csr_matrix", "normalize"},
}  # fmt: skip

ERRORS = {
    "RecoderError": (Exception,),
    "ConfigError": (ValueError,),
    "DataError": (ValueError,),
    "ShapeError": (ValueError,),
    "EmptyDataError": (ValueError,),
    "DataTypeError": (TypeError,),
    "UnknownIdError": (KeyError,),
    "NotInitializedError": (RuntimeError,),
    "DivergedError": (ArithmeticError,),
    "MissingDependencyError": (ImportError,),
    "FileFormatError": (ValueError,),
    "UnsafeFileError": (ValueError,),
    "FileWriteError": (OSError,),
    "DownloadError": (OSError,),
    "NotEnoughMemoryError": (MemoryError,),
}


def found(path: str) -> Any:
    """Returns what the path names: ``module.name`` or ``module.class.method`` below ``recoder``."""
    module, *names = path.split(".")
    value: Any = importlib.import_module(f"recoder.{module}")
    for name in names:
        value = getattr(value, name)
    return value


def parameters(path: str) -> list[inspect.Parameter]:
    """Returns the parameters that a caller gives: without ``self``."""
    value = found(path)
    listed = list(inspect.signature(value).parameters.values())
    is_method = path.count(".") == 2
    return listed[1:] if is_method else listed


def in_order(listed: list[inspect.Parameter]) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in listed]


def documented_parameters(text: str) -> list[inspect.Parameter]:
    return list(inspect.signature(eval(f"lambda {text}: None")).parameters.values())


@pytest.mark.parametrize(("path", "text"), DOCUMENTED.items(), ids=list(DOCUMENTED))
def test_signature_and_defaults_are_the_documented_ones(path: str, text: str) -> None:
    documented = documented_parameters(" ".join(text.split()))
    actual = [p for p in parameters(path) if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert in_order(actual) == in_order(documented)
    assert [isinstance(p.default, bool) for p in actual] == [isinstance(p.default, bool) for p in documented]


@pytest.mark.parametrize("path", DOCUMENTED)
def test_what_was_added_to_a_documented_signature_is_keyword_only_and_optional(path: str) -> None:
    extra = [p for p in parameters(path) if p.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in extra)
    assert {p.name: p.default for p in extra} == ADDED.get(path, {})


def test_train_has_the_18_documented_arguments() -> None:
    by_position = inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert sum(p.kind is by_position for p in parameters("model.Recoder.train")) == 18


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_pinned(module: str) -> None:
    loaded = importlib.import_module(f"recoder.{module}")
    assert set(loaded.__all__) == PUBLIC[module]
    assert len(loaded.__all__) == len(PUBLIC[module])
    assert all(getattr(loaded, name) is not None for name in loaded.__all__)


@pytest.mark.parametrize("module", PUBLIC)
def test_every_documented_class_and_function_is_in_all(module: str) -> None:
    documented = {path.split(".")[1] for path in DOCUMENTED if path.startswith(f"{module}.")}
    assert documented <= PUBLIC[module]


@pytest.mark.parametrize(("name", "builtins"), ERRORS.items(), ids=list(ERRORS))
def test_errors_are_recoder_errors_and_the_builtin_a_caller_would_catch(
    name: str, builtins: tuple[type[Exception], ...]
) -> None:
    error = getattr(importlib.import_module("recoder.errors"), name)
    assert issubclass(error, importlib.import_module("recoder.errors").RecoderError)
    assert all(issubclass(error, builtin) for builtin in builtins)


def test_no_error_class_is_missing_from_the_table() -> None:
    errors = importlib.import_module("recoder.errors")
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert defined == set(ERRORS)


def test_optimizers_are_those_of_the_manual() -> None:
    from recoder.training.optimizers import OPTIMIZER_TYPES

    assert OPTIMIZER_TYPES == ("sgd", "adam", "adagrad", "rmsprop", "rowwise_adagrad")


@pytest.mark.parametrize("loss", ["mse", "logistic", "logloss"])
def test_losses_of_the_manual_are_accepted_by_name(loss: str) -> None:
    from recoder.losses import make_loss

    assert make_loss(loss, None).reduction == "sum"
