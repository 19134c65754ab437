from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import recoder
from recoder.data import HeldOut, IdMap, RecommendationDataset
from recoder.metrics import NDCG, IntraListDiversity, Recall
from recoder.report import write_report
from recoder.training import EarlyStopping
from report.pages import read


@pytest.fixture(scope="module")
def page(page_file):
    return read(page_file)


def test_the_data_is_summed_up(page, split):
    train = split.train
    tiles = page.parts["data"].tiles
    assert tiles["users"] == "200"
    assert tiles["items"] == "40"
    assert tiles["interactions"] == f"{train.matrix.nnz:,}"
    assert tiles["density"] == f"{100 * train.matrix.nnz / 8000:.3g} %"
    counts = np.sort(train.matrix.getnnz(axis=0))[::-1]
    assert (
        f"The most popular tenth of the items has {100 * counts[:4].sum() / counts.sum():.3g} %"
        in page.parts["data"].text
    )
    assert f"from {counts[0]} to {counts[-1]}" in page.parts["data"].charts[0]


def test_the_histogram_holds_every_user_once(page, split):
    bars = [int(height) for height in re.findall(r"<title>[\d-]+: (\d+)</title>", page.html)]
    assert sum(bars) == 200


def test_without_histories_the_activity_of_users_is_left_out(fitted, tmp_path):
    part = read(write_report(recoder.load(fitted["als"].save(tmp_path / "a.model")), tmp_path / "a.html")).parts["data"]
    assert part.headings == ["Training data", "Popularity of items"]
    assert part.tiles["users"] == "200"
    assert "no histories" in part.text


def test_training_curves_are_drawn_for_what_the_history_holds(page, fitted):
    part, history = page.parts["training"], fitted["autoencoder"].recoder.history
    assert part.headings == ["Training", "Training loss", "Validation loss", "Validation metrics"]
    assert part.tiles["epochs"] == "6"
    assert part.tiles["NDCG@100, validation"] == f"{history[-1].metrics['NDCG@100']:.4f}"
    assert f"from {history[0].loss:.4g} to {history[-1].loss:.4g}" in part.charts[0]
    assert page.html.count('class="band') == 3


def test_a_closed_form_has_a_note_in_place_of_curves(fitted, tmp_path):
    part = read(write_report(fitted["ease"], tmp_path / "a.html")).parts["training"]
    assert part.headings == ["Training"]
    assert not part.charts
    assert "computed at once" in part.text


def test_the_epoch_whose_weights_the_model_has_is_marked(split, tmp_path):
    stopping = EarlyStopping(NDCG(100), patience=1)
    model = recoder.fit(
        split.train, "autoencoder", valid=split.valid, seed=1, hidden_layers=[8], num_epochs=30, lr=0.3,
        num_uniform_negatives=0, early_stopping=stopping,
    )  # fmt: skip
    best = model.recoder.history.best_epoch
    assert best < len(model.recoder.history)
    page = read(write_report(model, tmp_path / "a.html"))
    part = page.parts["training"]
    assert part.tiles["weights of epoch"] == str(best)
    assert part.tiles["NDCG@100, validation"] == f"{model.recoder.history[best - 1].metrics['NDCG@100']:.4f}"
    assert page.html.count('class="mark"') == 3


def test_users_get_what_recommend_says_and_hits_are_ticked(page, fitted, split):
    part = page.parts["users"]
    users = [heading.removeprefix("User ") for heading in part.headings[1:]]
    assert len(users) == 12
    lengths = []
    for user, history, recommended in zip(users, part.lists[::2], part.lists[1::2], strict=True):
        row = int(split.test.user_ids.indices([user])[0])
        seen, target = split.test.dataset[row]
        lengths.append(seen.interactions_matrix.nnz)
        wanted = {split.train.title_of(item) for item in target.interactions_matrix.indices}
        (items,) = fitted["autoencoder"].recoder.recommend(seen, 10)
        titles = [split.train.title_of(item) for item in items]
        assert recommended == [f"{title} ✓" if title in wanted else title for title in titles]
        known = {split.train.title_of(item) for item in seen.interactions_matrix.indices}
        assert set(history[:10]) <= known
        assert history[10:] == ([f"and {len(known) - 10} more"] if len(known) > 10 else [])
    assert lengths == sorted(lengths)


def test_the_most_popular_items_of_a_long_history_are_shown(page, fitted, split):
    part, counts = page.parts["users"], fitted["autoencoder"].item_counts
    user, history = part.headings[-1].removeprefix("User "), part.lists[-2]
    cols = split.test.dataset[int(split.test.user_ids.indices([user])[0])][0].interactions_matrix.indices
    shown = split.train.item_ids.indices([title.removeprefix("Title of ") for title in history[:10]])
    assert counts[shown].tolist() == sorted(counts[cols], reverse=True)[:10]


def test_users_of_the_training_data_are_shown_where_there_are_no_others(fitted, split, tmp_path):
    part = read(write_report(fitted["als"], tmp_path / "a.html", num_users=3)).parts["users"]
    users = [heading.removeprefix("User ") for heading in part.headings[1:]]
    assert len(users) == 3
    answer = fitted["als"].recommend(users=users, titles=True)
    assert [title for recommended in part.lists[1::2] for title in recommended] == answer["title"].tolist()
    assert "✓" not in part.text


def test_users_are_no_more_than_there_are(fitted, split, tmp_path):
    part = read(write_report(fitted["ease"], tmp_path / "a.html", test=split.test, num_users=500)).parts["users"]
    assert len(part.headings) == 1 + 60


def test_the_map_parts_what_different_users_like(fitted, tmp_path):
    html = read(write_report(fitted["als"], tmp_path / "a.html")).html
    spots = re.findall(r'<circle class="spot" cx="([\d.]+)" [^>]*><title>Title of m(\d+)</title>', html)
    assert len(spots) == 40
    x = {int(item): float(at) for at, item in spots}
    even, odd = ([x[item] for item in x if item % 2 == rest] for rest in (0, 1))
    assert max(even) < min(odd) or max(odd) < min(even)


def test_labels_on_the_map_do_not_overlap(fitted, tmp_path):
    html = read(write_report(fitted["als"], tmp_path / "a.html")).html
    for name, size in (("wide", 14), ("narrow", 30)):
        group = re.search(rf'<g class="labels {name}" font-size="{size}">(.*?)</g>', html).group(1)
        found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)"[^>]*>([^<]*)<', group)
        assert len(found) > 4
        boxes = []
        for x, y, anchor, text in found:
            left = float(x) - (0.5 * size * len(text) if anchor == "end" else 0)
            boxes.append((left, float(y) - 0.8 * size, left + 0.5 * size * len(text), float(y)))
        for place, one in enumerate(boxes):
            for other in boxes[:place]:
                assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]


def test_users_who_are_looked_up_are_shown_what_they_are_recommended(split, tmp_path):
    train, test = split.train.split("random", seed=1)
    model = recoder.fit(train, "als", fold_in=False, embedding_size=6, seed=3)
    order = np.arange(len(test.user_ids))[::-1]
    matrices = test.dataset.interactions_matrix[order], test.dataset.target_interactions_matrix[order]
    turned = HeldOut(RecommendationDataset(*matrices), IdMap(test.user_ids.raw_ids(order)), test.item_ids)
    for held in (test, turned):
        part = read(write_report(model, tmp_path / "a.html", test=held)).parts["users"]
        users = [heading.removeprefix("User ") for heading in part.headings[1:]]
        answer = model.recommend(users=users, titles=True)
        shown = [title.removesuffix(" ✓") for recommended in part.lists[1::2] for title in recommended]
        assert shown == answer["title"].tolist()


def test_metrics_that_nobody_has_a_value_of_have_no_curve(split, tmp_path):
    metric = IntraListDiversity(1, np.eye(split.train.num_items, dtype=np.float32))
    settings = {"hidden_layers": [8], "num_uniform_negatives": 0, "num_epochs": 3, "seed": 3}
    model = recoder.fit(split.train, "autoencoder", valid=split.valid, metrics=[metric], **settings)
    part = read(write_report(model, tmp_path / "a.html")).parts["training"]
    assert part.headings == ["Training", "Training loss", "Validation loss"]


def test_every_curve_has_a_colour(split, tmp_path):
    settings = {"hidden_layers": [8], "num_uniform_negatives": 0, "num_epochs": 2, "seed": 3}
    metrics = [Recall(k) for k in range(1, 9)]
    model = recoder.fit(split.train, "autoencoder", valid=split.valid, metrics=metrics, **settings)
    page = Path(write_report(model, tmp_path / "a.html")).read_text(encoding="utf-8")
    used = set(re.findall(r'class="(?:line )?(s\d)', page))
    assert len(used) > 4
    assert used <= set(re.findall(r"\.(s\d) \{", page))
