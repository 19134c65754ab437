from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from tqdm.auto import tqdm

from recoder import _progress
from recoder.data.datasets import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.metrics import (
    MRR,
    NDCG,
    AveragePopularity,
    AveragePrecision,
    CatalogueMetric,
    Coverage,
    EvaluationResult,
    Gini,
    HitRate,
    IntraListDiversity,
    ListMetric,
    Metric,
    Novelty,
    Precision,
    Recall,
    RecommenderEvaluator,
    RPrecision,
)
from recoder.model import Recoder
from recoder.nn import MatrixFactorization
from recoder.recommender import InferenceRecommender
from recoder.recommender.base import Recommender

NUM_USERS, NUM_ITEMS, NUM_RANKS = 30, 25, 10
METRICS = [Recall(3), Recall(10, normalize=False), NDCG(10), AveragePrecision(5)]
POPULARITY = np.random.default_rng(5).integers(0, 9, NUM_ITEMS)
EMBEDDINGS = np.random.default_rng(6).normal(size=(NUM_ITEMS, 3))
BEYOND = [Novelty(4, POPULARITY), AveragePopularity(10, POPULARITY), IntraListDiversity(6, EMBEDDINGS)]
OF_ALL = [Coverage(2), Gini(7), Coverage(10)]
EVERY = [*METRICS, Precision(5), HitRate(2), MRR(10), RPrecision(10), *BEYOND, *OF_ALL]


class Table(Recommender):
    """Recommends to user ``u`` what row ``u`` of a table says, and remembers who was asked for together."""

    def __init__(self, table: list[list[int]], num_recommendations: int | None = None) -> None:
        self.table = table
        self.num_recommendations = num_recommendations
        self.calls: list[list[int]] = []

    def recommend(self, users_hist) -> list[list[int]]:
        assert isinstance(users_hist, UsersInteractions)
        self.calls.append(users_hist.users.tolist())
        return [self.table[user] for user in users_hist.users]


class FirstHit(Metric):
    """The rank of the first hit; a plain metric with only the documented method."""

    def evaluate(self, x, y) -> float:
        return next((float(rank) for rank, item in enumerate(x) if item in y), -1.0)


class Failing(Metric):
    def evaluate(self, x, y) -> float:
        raise ZeroDivisionError("one of the user's own")


class GenerousRecall(Recall):
    def evaluate(self, x, y) -> float:
        return 1.0


def random_table(seed: int = 0) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, NUM_RANKS + 1, NUM_USERS)  # short and empty lists included
    return [generator.permutation(NUM_ITEMS)[:length].tolist() for length in lengths]


def random_dataset(seed: int = 1) -> RecommendationDataset:
    generator = np.random.default_rng(seed)
    history = generator.random((NUM_USERS, NUM_ITEMS)) < 0.2
    target = generator.random((NUM_USERS, NUM_ITEMS)) < 0.2
    target[[0, 4, 5, NUM_USERS - 1]] = False
    return RecommendationDataset(sparse.csr_matrix(history * 1.0), sparse.csr_matrix(target * 1.0))


def evaluate(table, dataset, metrics=METRICS, **options) -> EvaluationResult:
    return RecommenderEvaluator(Table(table), metrics).evaluate(dataset, **options)


def test_values_equal_one_user_at_a_time_in_the_order_of_the_data_set():
    table, dataset = random_table(), random_dataset()
    result = evaluate(table, dataset, batch_size=7)
    counted = [user for user in range(NUM_USERS) if user not in (0, 4, 5, NUM_USERS - 1)]
    assert result.users.tolist() == counted
    assert list(result) == METRICS
    for metric in METRICS:
        expected = [
            metric.evaluate(table[user], dataset.target_interactions_matrix[[user]].indices.tolist())
            for user in counted
        ]
        np.testing.assert_array_equal(result[metric], expected)
    assert 0 < result.mean["NDCG@10"] < 1


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_values_do_not_depend_on_the_batch_size(batch_size):
    table, dataset = random_table(), random_dataset()
    metrics = [*METRICS, FirstHit("first hit")]
    assert evaluate(table, dataset, metrics, batch_size=batch_size) == evaluate(table, dataset, metrics, batch_size=7)


class Scoring(Recommender):
    """Ranks by whole-number scores, so that a list follows from the history alone, to the last bit."""

    num_recommendations = 10

    def recommend(self, users_hist) -> list[list[int]]:
        weights = np.random.default_rng(8).integers(-9, 9, (NUM_ITEMS, NUM_ITEMS))
        scores = users_hist.interactions_matrix.toarray().astype(int) @ weights
        return [row.argsort(kind="stable")[: 1 + row[0] % 10].tolist() for row in -scores]


@given(st.integers(1, NUM_USERS + 5), st.integers(0, 100))
def test_any_batch_size_gives_the_very_same_result(batch_size, seed):
    evaluator, dataset = RecommenderEvaluator(Scoring(), EVERY), random_dataset(seed)
    assert evaluator.evaluate(dataset, batch_size=batch_size) == evaluator.evaluate(dataset, batch_size=NUM_USERS)


@pytest.fixture(scope="module")
def factorization():
    recoder = Recoder(MatrixFactorization(4), optimizer_type="adam", loss="logistic", seed=3)
    recoder.train(random_dataset(), num_epochs=2, batch_size=10, lr=0.05)
    return recoder


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 16, 25, 26])
def test_batch_size_moves_no_value_of_a_model_with_float_factors(batch_size, factorization):
    recommender = InferenceRecommender(factorization, 10)
    recommender.preferred_batch_size = 1
    one = RecommenderEvaluator(recommender, EVERY).evaluate(random_dataset(), batch_size=batch_size)
    whole = factorization.evaluate(random_dataset(), 10, EVERY)
    assert one.users.tolist() == whole.users.tolist()
    for metric in whole:
        np.testing.assert_allclose(one[metric], whole[metric], atol=1e-4)
    for metric in whole.mean:
        assert one.mean[metric] == pytest.approx(whole.mean[metric], abs=1e-4)


def test_list_metrics_equal_one_user_at_a_time():
    table, result = random_table(), evaluate(random_table(), random_dataset(), EVERY, batch_size=7)
    for metric in BEYOND:
        expected = [metric.evaluate(table[user], []) for user in result.users]
        np.testing.assert_array_equal(result[metric], expected)
        assert np.isnan(expected).any()  # some lists are empty
        assert result.mean[metric] == np.nanmean(expected)


def test_catalogue_metrics_are_of_all_lists_of_users_with_a_target():
    table, result = random_table(), evaluate(random_table(), random_dataset(), EVERY, batch_size=7)
    for metric in OF_ALL:
        shown = [item for user in result.users for item in table[user][: metric.k]]
        counts = np.array([shown.count(item) for item in range(NUM_ITEMS)])
        assert result.mean[metric] == metric.from_counts(counts)
    assert result.mean[Coverage(2)] < result.mean[Coverage(10)]


def test_catalogue_metrics_need_no_others():
    result = evaluate(random_table(), random_dataset(), [Gini(10)], batch_size=7)
    assert list(result) == []
    assert result.users.size == 26
    assert 0 < result.mean["Gini@10"] < 1


def test_item_that_is_recommended_twice_is_shown_once():
    dataset = RecommendationDataset(sparse.csr_matrix((1, 4)), sparse.csr_matrix(np.eye(1, 4)))
    metrics = [Coverage(2), Gini(3), AveragePopularity(2, [1, 2, 3, 4])]
    result = evaluate([[3, 3, 1]], dataset, metrics)
    assert (result.mean["Coverage@2"], result.mean["ARP@2"]) == (1 / 4, 4)
    assert result.mean["Gini@3"] == Gini(3).from_counts(np.array([0, 1, 0, 1]))


def test_own_metrics_of_lists_and_of_the_catalogue_are_used():
    class Length(ListMetric):
        def from_lists(self, ranked_BC):
            return (ranked_BC >= 0).sum(axis=1)

    class Most(CatalogueMetric):
        def from_counts(self, counts_N):
            return counts_N.max()

    class Own(Length):
        def evaluate(self, x, y):
            return -1.0

    table = random_table()
    result = evaluate(table, random_dataset(), [Own("own", 2), Length("length", 4), Most("most", 10)])
    assert list(result.mean) == [Own("own", 2), Length("length", 4), Most("most", 10)]
    assert result["length"].tolist() == [min(4, len(table[user])) for user in result.users]
    assert set(result["own"]) == {-1.0}
    shown = [item for user in result.users for item in table[user]]
    assert result.mean["most"] == max(map(shown.count, shown))


def test_own_metric_that_returns_something_else_than_a_value_for_each_user_is_an_error():
    class Sum(ListMetric):
        def from_lists(self, ranked_BC):
            return ranked_BC.sum()

    with pytest.raises(ShapeError, match=r"sum was asked for 5 users and returned an array of shape \(\)"):
        evaluate(random_table(), random_dataset(), [Sum("sum", 3)], batch_size=5)


def test_metric_of_another_catalogue_is_an_error_before_anybody_is_asked():
    recommender = Table(random_table())
    for metric in (Novelty(3, POPULARITY[1:]), IntraListDiversity(3, EMBEDDINGS[1:])):
        with pytest.raises(ShapeError, match=f"{metric} was made for 24 items, but 25 can be recommended"):
            RecommenderEvaluator(recommender, [metric]).evaluate(random_dataset())
    assert recommender.calls == []


@pytest.mark.parametrize("metric", [Coverage(10), Novelty(10, POPULARITY), RPrecision(10)])
def test_no_metric_looks_beyond_the_number_of_recommendations(metric):
    evaluator = RecommenderEvaluator(Table(random_table(), num_recommendations=9), [metric])
    with pytest.raises(ConfigError, match=f"{metric} looks at 10 recommendations, but num_recommendations is 9"):
        evaluator.evaluate(random_dataset())


def test_permuting_users_permutes_values():
    table, dataset = random_table(), random_dataset()
    order = np.random.default_rng(3).permutation(NUM_USERS)
    permuted = RecommendationDataset(dataset.interactions_matrix[order], dataset.target_interactions_matrix[order])
    straight, shuffled = evaluate(table, dataset), evaluate([table[user] for user in order], permuted)
    assert sorted(order[shuffled.users]) == straight.users.tolist()
    place = {user: at for at, user in enumerate(straight.users.tolist())}
    back = [place[user] for user in order[shuffled.users].tolist()]
    for metric in METRICS:
        np.testing.assert_array_equal(shuffled[metric], straight[metric][back])


def test_users_without_a_target_are_not_even_asked_for():
    recommender = Table(random_table())
    RecommenderEvaluator(recommender, METRICS).evaluate(random_dataset(), batch_size=4, num_users=6)
    assert recommender.calls == [[1, 2, 3, 6], [7, 8]]


@pytest.mark.parametrize(("num_users", "counted"), [(1, 1), (6, 6), (26, 26), (27, 26), (None, 26)])
def test_num_users_counts_users_with_a_target(num_users, counted):
    whole = evaluate(random_table(), random_dataset())
    part = evaluate(random_table(), random_dataset(), num_users=num_users)
    assert part.users.tolist() == whole.users[:counted].tolist()
    np.testing.assert_array_equal(part["NDCG@10"], whole["NDCG@10"][:counted])


def test_users_are_grouped_as_the_recommender_prefers():
    recommender = Table(random_table())
    recommender.preferred_batch_size = 20
    RecommenderEvaluator(recommender, METRICS).evaluate(random_dataset())
    assert [len(call) for call in recommender.calls] == [20, 6]
    recommender.calls.clear()
    RecommenderEvaluator(recommender, METRICS).evaluate(random_dataset(), batch_size=25)
    assert [len(call) for call in recommender.calls] == [25, 1]


def test_custom_metric_gets_plain_lists_without_padding():
    seen = []

    class Spy(Metric):
        def evaluate(self, x, y) -> float:
            seen.append((x, y))
            return 0.0

    target = sparse.csr_matrix(np.array([[0, 0, 1, 1], [1, 0, 0, 0]]))
    dataset = RecommendationDataset(sparse.csr_matrix((2, 4)), target)
    evaluate([[3, 1, 0], [2]], dataset, [Spy("spy")], batch_size=2)
    assert seen == [([3, 1, 0], [2, 3]), ([2], [0])]
    assert all(type(item) is int for lists in seen for items in lists for item in items)


def test_recommender_that_finds_nothing_scores_zero():
    result = evaluate([[]] * NUM_USERS, random_dataset(), [*METRICS, FirstHit("first hit")])
    assert [result.mean[metric] for metric in METRICS] == [0, 0, 0, 0]
    assert result.mean["first hit"] == -1


def test_values_keep_the_order_of_the_metrics():
    metrics = [FirstHit("first hit"), NDCG(10), FirstHit("again"), Recall(3)]
    result = evaluate(random_table(), random_dataset(), metrics)
    assert list(result) == metrics
    assert result == evaluate(random_table(), random_dataset(), [*metrics, NDCG(10)])
    np.testing.assert_array_equal(result["first hit"], result["again"])


def test_subclass_with_its_own_evaluate_is_judged_by_it():
    assert evaluate(random_table(), random_dataset(), [GenerousRecall(3)]).mean["Recall@3"] == 1.0


@pytest.mark.parametrize("batch_size", [1, 10])
def test_worker_processes_give_the_same_result(batch_size):
    metrics = [FirstHit("first hit"), *METRICS, GenerousRecall(1)]
    alone = evaluate(random_table(), random_dataset(), metrics)
    assert evaluate(random_table(), random_dataset(), metrics, batch_size=batch_size, num_workers=2) == alone


def test_workers_are_not_started_for_built_in_metrics(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a pool was made")

    monkeypatch.setattr("recoder.metrics.custom.ProcessPoolExecutor", refuse)
    assert evaluate(random_table(), random_dataset(), num_workers=2) == evaluate(random_table(), random_dataset())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_error_of_a_custom_metric_comes_through(num_workers):
    with pytest.raises(ZeroDivisionError, match="one of the user's own"):
        evaluate(random_table(), random_dataset(), [Failing("failing")], num_workers=num_workers)


def test_custom_metric_that_cannot_be_sent_to_a_worker_is_a_clear_error():
    class Local(FirstHit):
        pass

    assert evaluate(random_table(), random_dataset(), [Local("local")]).users.size == 26
    with pytest.raises(ConfigError, match=r"the metric local cannot be sent .* or use num_workers=0"):
        evaluate(random_table(), random_dataset(), [Local("local")], num_workers=1)


def test_cutoff_beyond_the_number_of_recommendations_is_an_error_that_names_both():
    evaluator = RecommenderEvaluator(Table(random_table(), num_recommendations=9), METRICS)
    with pytest.raises(ConfigError, match=r"looks at 10 recommendations, but num_recommendations is 9"):
        evaluator.evaluate(random_dataset())
    assert evaluator.recommender.calls == []
    allowed = RecommenderEvaluator(Table(random_table(), num_recommendations=10), METRICS)
    assert allowed.evaluate(random_dataset()).users.size == 26


def test_data_set_without_target_is_an_error():
    with pytest.raises(ConfigError, match="target_interactions_matrix"):
        evaluate(random_table(), RecommendationDataset(sparse.csr_matrix(np.eye(3))))


def test_data_set_in_which_no_user_has_a_target_is_an_error():
    dataset = RecommendationDataset(sparse.csr_matrix(np.eye(3)), sparse.csr_matrix((3, 3)))
    with pytest.raises(EmptyDataError, match="none of the data set's 3 users"):
        evaluate(random_table(), dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_users": 0}, "num_users is 0; it must be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number of at least 1"),
        ({"num_workers": -1}, "num_workers is -1; it must be a whole number of at least 0"),
    ],
)
def test_argument_out_of_range_is_an_error(options, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(random_table(), random_dataset(), **options)


def test_wrong_kinds_of_object_are_errors():
    with pytest.raises(DataTypeError, match="InferenceRecommender"):
        RecommenderEvaluator(object(), METRICS)
    with pytest.raises(DataTypeError, match="not 100"):
        RecommenderEvaluator(Table([]), [100])
    with pytest.raises(DataTypeError, match="RecommendationDataset, not csr_matrix"):
        evaluate(random_table(), sparse.csr_matrix(np.eye(3)))


def test_metrics_must_be_there_and_told_apart_by_name():
    with pytest.raises(ConfigError, match="metrics is empty"):
        RecommenderEvaluator(Table([]), [])
    with pytest.raises(ConfigError, match=r"two different metrics are named Recall@3"):
        RecommenderEvaluator(Table([]), [Recall(3), GenerousRecall(3)])


def test_recommender_that_returns_what_was_not_asked_for_is_an_error():
    class Short(Table):
        def recommend(self, users_hist) -> list[list[int]]:
            return super().recommend(users_hist)[1:]

    with pytest.raises(ShapeError, match=r"Short was asked for 5 users"):
        RecommenderEvaluator(Short(random_table()), METRICS).evaluate(random_dataset(), batch_size=5)
    with pytest.raises(UnknownIdError, match="recommends item 25, outside the data set's 25 items"):
        evaluate([[NUM_ITEMS]] * NUM_USERS, random_dataset())


def test_progress_bar_is_shown_only_on_request(capsys):
    evaluate(random_table(), random_dataset(), batch_size=20)
    assert capsys.readouterr().err == ""
    evaluate(random_table(), random_dataset(), batch_size=20, progress=True)
    assert "26/26" in capsys.readouterr().err


def test_a_bar_that_is_left_to_the_terminal_is_quiet_without_one_and_comes_after_a_second(capsys, monkeypatch):
    def said(wait_s):
        """Returns what is said where a bar that is to wait for a second waits so long."""

        def bar(*, delay, **settings):
            assert delay == 1
            return tqdm(delay=wait_s, **settings)

        monkeypatch.setattr(_progress, "tqdm", bar)
        evaluate(random_table(), random_dataset(), batch_size=20, progress=None)
        return capsys.readouterr().err

    assert said(wait_s=0) == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert said(wait_s=3600) == ""
    assert "/26" in said(wait_s=0)


def test_documented_signature():
    parameters = list(inspect.signature(RecommenderEvaluator.evaluate).parameters.values())
    assert [(parameter.name, parameter.default) for parameter in parameters[1:5]] == [
        ("eval_dataset", inspect.Parameter.empty),
        ("batch_size", 1),
        ("num_users", None),
        ("num_workers", 0),
    ]


def test_what_a_recommender_returns_is_whole_numbers():
    class Halves(Table):
        def ranked(self, users_hist):
            return np.full((len(users_hist.users), 1), 1.5)

    with pytest.raises(DataTypeError, match="Halves returned an array of float64; items are whole numbers"):
        RecommenderEvaluator(Halves([]), ["Recall@1"]).evaluate(random_dataset())


@pytest.mark.parametrize("lists", [[["12", "7"]], [[], [1.5, 2.0]], [[True, False]]])
def test_lists_of_ids_of_ones_own_are_not_taken_for_columns(lists):
    class Own(Recommender):
        def recommend(self, users_hist):
            return lists

    with pytest.raises(DataTypeError, match=r"Own.recommend returned .*; items are columns of the matrix: pass whole"):
        Own().ranked(None)
