from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import recoder
from recoder.metrics import NDCG
from recoder.report import write_report
from report.pages import read


@pytest.fixture(scope="module")
def page(page_file):
    return read(page_file)


@pytest.fixture(scope="module")
def compared(evaluated, split):
    baseline = recoder.fit(split.train, "popularity").evaluate(split.test)
    result = evaluated("autoencoder", split.test)
    return result, baseline, result.compare(baseline)


def test_metrics_are_those_of_evaluate_beside_most_popular(page, compared):
    result, baseline, comparison = compared
    rows = {row[0]: row[1:] for row in page.parts["accuracy"].tables["60 test users: mean and 95 % interval"]}
    assert rows["metric"] == ["this model", "most popular", "difference"]
    for metric in result:
        paired = comparison[metric]
        model, popular, difference = rows[str(metric)]
        assert model.split()[0] == f"{result.mean[metric]:.4f}"
        assert popular.split()[0] == f"{baseline.mean[metric]:.4f}"
        assert difference == f"{paired.difference:+.4f} {paired.low:+.4f} to {paired.high:+.4f}"


def test_intervals_are_of_students_t(page, compared):
    values = compared[0]["NDCG@100"]
    margin = 2.0009953 * values.std(ddof=1) / np.sqrt(60)  # the 97.5 % quantile for 59 degrees of freedom, from a table
    rows = {row[0]: row[1] for row in page.parts["accuracy"].tables["60 test users: mean and 95 % interval"]}
    assert rows["NDCG@100"] == f"{values.mean():.4f} {values.mean() - margin:.4f} to {values.mean() + margin:.4f}"


def test_validation_users_stand_below_those_of_test(page, evaluated, split):
    tables = page.parts["accuracy"].tables
    assert list(tables) == ["60 test users: mean and 95 % interval", "40 validation users: mean and 95 % interval"]
    valid = evaluated("autoencoder", split.valid)
    rows = {row[0]: row[1] for row in tables["40 validation users: mean and 95 % interval"]}
    assert rows["Recall@20"].split()[0] == f"{valid.mean['Recall@20']:.4f}"


def test_tiles_tell_the_main_metric_and_its_lead(page, compared):
    tiles = page.parts["accuracy"].tiles
    assert tiles["NDCG@100"] == f"{compared[0].mean['NDCG@100']:.4f}"
    assert tiles["over most popular"] == f"{compared[2]['NDCG@100'].difference:+.4f}"
    assert tiles["test users"] == "60"


def test_most_popular_is_not_compared_with_itself(fitted, split, tmp_path):
    part = read(write_report(fitted["popularity"], tmp_path / "a.html", test=split.test)).parts["accuracy"]
    (rows,) = part.tables.values()
    assert rows[0] == ["metric", "this model"]
    assert "over most popular" not in part.tiles


def test_a_file_without_histories_knows_how_popular_items_were(fitted, split, tmp_path, compared):
    loaded = recoder.load(fitted["autoencoder"].save(tmp_path / "a.model"))
    part = read(write_report(loaded, tmp_path / "a.html", test=split.test)).parts["accuracy"]
    assert part.tiles["over most popular"] == f"{compared[2]['NDCG@100'].difference:+.4f}"


def test_interactions_of_known_users_are_found_from_their_histories(fitted, evaluated, split, tmp_path):
    train = split.train
    moved = sparse.csr_matrix(np.roll(train.matrix[:50].toarray(), 1, axis=1))
    later = recoder.Interactions(moved, train.select_users(np.arange(50)).user_ids, train.item_ids)
    part = read(write_report(fitted["ease"], tmp_path / "a.html", test=later)).parts["accuracy"]
    expected = evaluated("ease", later)
    assert part.tiles["NDCG@100"] == f"{expected.mean['NDCG@100']:.4f}"


def test_without_test_users_the_last_evaluation_is_remembered(split, tmp_path):
    model = recoder.fit(split.train, "ease")
    model.evaluate(split.valid)
    result = model.evaluate(split.test, [NDCG(10)])
    part = read(write_report(recoder.load(model.save(tmp_path / "a.model")), tmp_path / "a.html")).parts["accuracy"]
    (row,) = part.tables["Earlier evaluation"][1:]
    mean, margin = result.mean["NDCG@10"], 2.0009953 * result.stderr["NDCG@10"]
    assert row == ["NDCG@10", f"{mean:.4f} {mean - margin:.4f} to {mean + margin:.4f}"]
    assert "60 users" in part.text


def test_users_are_grouped_by_the_length_of_their_history(page, compared, split):
    lengths = np.diff(split.test.dataset.interactions_matrix.indptr)
    values = compared[0]["NDCG@100"]
    (rows,) = page.parts["activity"].tables.values()
    total = 0
    for span, users, model, _ in rows[1:]:
        low, _, high = span.partition("-")
        chosen = (lengths >= int(low)) & (lengths <= int(high or low))
        assert int(users) == chosen.sum()
        assert model.split()[0] == f"{values[chosen].mean():.4f}"
        total += int(users)
    assert total == 60
    assert len(rows) == 1 + 4
