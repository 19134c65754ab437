from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import recoder
from recoder.data import IdMap, Interactions
from recoder.errors import ConfigError, DataError, DataTypeError, NotInitializedError
from recoder.losses import MSELoss
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import MatrixFactorization
from recoder.ops.least_squares import spectrum_of
from recoder.training import Callback, EarlyStopping


@pytest.fixture(scope="module")
def parts():
    """Interactions of eight tastes: training, new users and items, and users to judge by."""
    rng = np.random.default_rng(0)
    fits = rng.integers(8, size=900)[:, None] == rng.integers(8, size=240)
    liked = rng.random(fits.shape) < np.where(fits, 0.4, 0.02)
    users, items = np.nonzero(liked)
    frame = pd.DataFrame({"user": users, "item": items})
    data = recoder.Interactions.from_frame(frame, user="user", item="item")
    train, valid, _ = data.split("strong", seed=1, num_valid_users=150, num_test_users=1)
    rows = np.repeat(np.arange(train.num_users), np.diff(train.matrix.indptr))
    is_new = (rows % 20 == 7) | (train.matrix.indices % 20 == 3)
    return train.select_interactions(~is_new).drop_empty(), train.select_interactions(is_new).drop_empty(), train, valid


SETTINGS = {
    "autoencoder": {"hidden_layers": [32], "num_uniform_negatives": 0, "num_epochs": 20},
    "als": {"embedding_size": 16},
    "ease": {},
    "multvae": {"hidden_layers": [64, 32]},
    "elsa": {"embedding_size": 32},
    "recvae": {"hidden_size": 64, "latent_size": 32, "num_epochs": 4},
}


@pytest.fixture(scope="module")
def fitted(parts):
    """Returns a function that returns a model of the older interactions, fitted once for all that ask for the same.

    Updates make another ``Recoder`` and leave the one that was fitted as it is.
    """
    models = {}

    def fitted(name, seed=2, **settings):
        asked = (name, seed, repr(sorted(settings.items())))
        if asked not in models:
            models[asked] = recoder.fit(parts[0], name, seed=seed, **(settings or SETTINGS[name]))
        model = models[asked]
        return recoder.FittedModel(model.recoder, model.interactions, copy.deepcopy(model.about))

    return fitted


@pytest.mark.parametrize("name", SETTINGS)
def test_quality_is_nearly_that_of_training_anew(parts, fitted, name):
    _, new, train, valid = parts
    reached, possible = 0.0, 0.0
    for seed in (2, 3):  # of a single one either can be lucky
        model = fitted(name, seed).partial_fit(new)
        whole = recoder.fit(train, name, seed=seed, **SETTINGS[name])
        reached += model.evaluate(valid, [NDCG(50)]).mean["NDCG@50"]
        possible += whole.evaluate(valid, [NDCG(50)]).mean["NDCG@50"]
    assert reached > 0.95 * possible


@pytest.mark.parametrize("name", SETTINGS)
def test_new_users_and_items_are_known_afterwards(parts, fitted, name):
    _, new, train, _ = parts
    model = fitted(name)
    known = model.interactions
    assert model.partial_fit(new) is model
    assert model.interactions.num_users == train.num_users
    assert model.interactions.num_items == train.num_items
    assert model.interactions.matrix.nnz == train.matrix.nnz
    assert model.interactions.user_ids.ids[: known.num_users].equals(known.user_ids.ids)
    added = new.user_ids.ids.to_pylist()[-1]
    assert len(model.recommend(users=[added], k=5)) == 5


def test_what_is_drawn_for_new_users_does_not_move_known_items(parts, fitted, monkeypatch):
    old, new, _, _ = parts
    drawn = Recoder.extended
    results = []
    for scale in (1.0, 1000.0):

        def extended(self, dataset, *, scale=scale, **more):
            larger = drawn(self, dataset, **more)
            larger.model.users.weight.data[old.num_users :] *= scale
            return larger

        monkeypatch.setattr(Recoder, "extended", extended)
        model = fitted("als", embedding_size=16, num_epochs=2).partial_fit(new)
        results.append(model.recoder.model.items.weight.detach().numpy())
    np.testing.assert_array_equal(*results)


def test_a_file_of_a_recoder_learns_with_the_settings_that_it_was_trained_with(parts, fitted, tmp_path):
    old, new, _, valid = parts
    model = fitted("als", embedding_size=16, num_epochs=2)
    loaded = recoder.load(model.recoder.save_state(tmp_path / "a", interactions=old, histories=True))
    assert loaded.about.recipe is None
    told = [each.partial_fit(new).evaluate(valid, [NDCG(50)])["NDCG@50"] for each in (loaded, model)]
    np.testing.assert_allclose(*told, atol=1e-5)


def test_a_model_of_ones_own_by_least_squares_goes_on_without_a_weight_decay(parts):
    old, new, _, _ = parts
    own = MatrixFactorization(16, fold_in=True)
    model = recoder.fit(old, own, optimizer_type="als", loss_params={"confidence": 10.0}, num_epochs=2, seed=2)
    assert model.partial_fit(new).interactions.num_users > old.num_users


def test_validation_and_checkpoints_are_of_the_training_that_was(parts, tmp_path):
    old, new, _, _ = parts
    old, valid, _ = old.split("strong", seed=1, num_valid_users=50, num_test_users=1)
    settings = SETTINGS["autoencoder"] | {"num_epochs": 2, "eval_freq": 2, "checkpoint_freq": 1}
    prefix = str(tmp_path / "run")
    model = recoder.fit(old, valid=valid, metrics=[NDCG(5)], model_checkpoint_prefix=prefix, seed=2, **settings)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before
    model.partial_fit(new)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_model_that_looks_users_up_learns_about_new_ones(parts):
    old, new, _, _ = parts
    model = recoder.fit(old, "als", fold_in=False, embedding_size=16, seed=2)
    model.partial_fit(new)
    users = new.user_ids.ids.to_pylist()
    newest = [user for user in users if user not in old.user_ids][:20]
    answer = model.recommend(users=newest, k=5)
    assert set(answer["user_id"]) == set(newest)


def test_known_parameters_stay_where_no_step_is_taken(parts, fitted):
    _, new, _, _ = parts
    model = fitted("autoencoder")
    before = model.recoder.model.items.weight.detach().clone()
    model.partial_fit(new, lr=0.0, weight_decay=0.0)
    after = model.recoder.model.items.weight.detach()
    np.testing.assert_array_equal(after[: len(before)], before)
    assert len(after) > len(before)


def test_settings_say_how_long_to_go_on(parts, fitted):
    _, new, _, _ = parts
    model = fitted("autoencoder")
    model.partial_fit(new, num_epochs=3)
    assert len(model.recoder.history) == 3
    with pytest.raises(ConfigError, match="the recipe has no epochs"):
        model.partial_fit(new, epochs=3)
    closed = fitted("ease")
    with pytest.raises(ConfigError, match="computed, not trained by steps; leave out num_epochs"):
        closed.partial_fit(new, num_epochs=3)


def test_what_the_model_was_made_with_cannot_be_changed(parts):
    old, new, _, _ = parts
    model = recoder.fit(old, "autoencoder", hidden_layers=[8], num_epochs=1, seed=2)
    with pytest.raises(ConfigError, match=r"optimizer_type: the model was made with it.* arguments of Recoder\.train"):
        model.partial_fit(new, optimizer_type="sgd")
    assert model.interactions is old


@pytest.mark.filterwarnings("error")
def test_weights_that_the_loss_is_not_defined_for_are_the_only_thing_said(parts):
    old, new, _, _ = parts
    model = recoder.fit(old, seed=2, **{**SETTINGS["autoencoder"], "num_epochs": 1})
    heavy = dataclasses.replace(new, matrix=new.matrix * 2000)
    with pytest.raises(DataError, match=r"the logistic loss needs interactions in \[0, 1\]"):
        model.partial_fit(heavy)


def test_a_failed_update_leaves_the_model(parts, fitted):
    old, new, _, _ = parts
    model = fitted("autoencoder")
    before = model.recommend(k=3)
    with pytest.raises(ConfigError):
        model.partial_fit(new, num_epochs=-1)
    pd.testing.assert_frame_equal(model.recommend(k=3), before)
    assert model.interactions is old


def test_a_loaded_model_goes_on_where_its_file_has_histories(parts, fitted, tmp_path):
    _, new, train, _ = parts
    model = fitted("autoencoder")
    whole = recoder.load(model.save(tmp_path / "a.model", interactions=True))
    bare = recoder.load(model.save(tmp_path / "b.model"))
    pd.testing.assert_frame_equal(whole.partial_fit(new).recommend(k=3), model.partial_fit(new).recommend(k=3))
    assert whole.interactions.num_users == train.num_users
    with pytest.raises(NotInitializedError, match="would overwrite what it knows"):
        bare.partial_fit(new)


def test_only_interactions_are_learnt_from(fitted):
    model = fitted("ease")
    with pytest.raises(DataTypeError, match=r"partial_fit takes recoder.Interactions"):
        model.partial_fit(pd.DataFrame({"user": [1], "item": [1]}))
    strings = recoder.Interactions.from_frame(pd.DataFrame({"u": ["a"], "i": ["b"]}), user="u", item="i")
    with pytest.raises(DataTypeError, match="user ids are int64 in one and large_string in the other"):
        model.partial_fit(strings)


@pytest.mark.parametrize("name", ["autoencoder", "als", "ease"])
def test_new_interactions_of_known_users_and_items_are_enough(parts, fitted, name):
    old, _, _, _ = parts
    model = fitted(name)
    user, item = old.user_ids.ids[0].as_py(), old.item_ids.ids[7].as_py()
    more = recoder.Interactions.from_frame(pd.DataFrame({"u": [user], "i": [item]}), user="u", item="i")
    model.partial_fit(more)
    assert (model.interactions.num_users, model.interactions.num_items) == (old.num_users, old.num_items)
    assert item not in model.recommend(users=[user], k=200)["item_id"].tolist()


def test_settings_of_numpy_and_tuples_are_remembered(parts):
    old, new, _, _ = parts
    plain = {"embedding_size": 4, "num_epochs": 2, "weight_decay": 30.0}
    others = {"embedding_size": np.int64(4), "num_epochs": np.int16(2), "weight_decay": np.float32(30)}
    first, second = (recoder.fit(old, "als", seed=2, **settings) for settings in (plain, others))
    assert first.about.train == second.about.train
    expected, told = (model.partial_fit(new).recommend(k=3) for model in (first, second))
    pd.testing.assert_frame_equal(told, expected)
    assert recoder.fit(old, "autoencoder", num_epochs=1, hidden_layers=(4,)).about.model["hidden_layers"] == [4]


def test_a_model_learns_titles(parts):
    old, _, _, _ = parts
    model = recoder.fit(old, "popularity")
    assert model.interactions.titles is None
    item = old.item_ids.ids[3].as_py()
    more = pd.DataFrame({"u": [10**6], "i": [item], "t": ["a title"]})
    model.partial_fit(recoder.Interactions.from_frame(more, user="u", item="i", title="t"))
    assert model.interactions.title_of(3) == "a title"
    assert model.interactions.title_of(4) == str(old.item_ids.ids[4])


SMALL = {"hidden_layers": [8], "num_epochs": 10, "num_uniform_negatives": 20}


def test_each_update_visits_other_users(parts, fitted):
    old, _, _, _ = parts
    model = fitted("autoencoder", **SMALL)
    seeds = [model.recoder.seed]
    for _ in range(2):
        user, item = seeds[-1] % old.num_users, len(seeds)
        more = sparse.csr_matrix(([1.0], ([user], [item])), shape=old.matrix.shape)
        model.partial_fit(Interactions(more, old.user_ids, old.item_ids))
        seeds.append(model.recoder.seed)
    assert len(set(seeds)) == 3
    again = fitted("autoencoder", **SMALL)
    first = sparse.csr_matrix(([1.0], ([2 % old.num_users], [1])), shape=old.matrix.shape)
    assert again.partial_fit(Interactions(first, old.user_ids, old.item_ids)).recoder.seed == seeds[1]


def test_steps_of_an_epoch_that_were_chosen_bound_an_update(parts):
    old, new, _, _ = parts
    model = recoder.fit(old, "autoencoder", seed=2, batch_size=5, iters_per_epoch=2, **SMALL)
    steps = []

    class Counts(Callback):
        def on_step_end(self):
            steps.append(None)

    model.partial_fit(new, callbacks=[Counts()])
    assert len(steps) == 2  # a tenth of 20; a fourteenth of them is fewer


def test_sampling_users_that_fitted_the_batches_fit_larger_ones_too(parts):
    old, new, _, _ = parts
    batch = recoder.recipes.recipe("autoencoder").batch_size(old.num_users)
    model = recoder.fit(old, "autoencoder", seed=2, num_sampling_users=2 * batch, **SMALL)
    merged = old.merge(new)
    often = sparse.vstack([merged.matrix] * 8).tocsr()
    many = Interactions(often, IdMap(np.arange(often.shape[0]) + 100_000), merged.item_ids)
    model.partial_fit(many)
    batch_now = recoder.recipes.recipe("autoencoder").batch_size(model.interactions.num_users)
    assert (2 * batch) % batch_now  # as many sampling users as before would be an error


def test_what_was_frozen_stays_so(parts):
    old, new, _, _ = parts
    model = recoder.fit(old, "autoencoder", seed=2, **SMALL)
    model.recoder.model.items.weight.requires_grad_(False)
    before = model.recoder.model.items.weight.detach().clone()
    model.partial_fit(new)
    after = model.recoder.model.items.weight
    assert not after.requires_grad
    np.testing.assert_array_equal(after[: len(before)].numpy(), before.numpy())
    model.forget([old.user_ids.ids[0].as_py()])
    assert not model.recoder.model.items.weight.requires_grad


def test_least_squares_learn_by_a_loss_that_was_an_object(parts):
    old, new, _, _ = parts
    settings = {"embedding_size": 8, "num_epochs": 2, "seed": 2}
    by_name = recoder.fit(old, "als", loss_params={"confidence": 5}, **settings).partial_fit(new)
    loss = MSELoss(confidence=5, reduction="sum")
    by_object = recoder.fit(old, "als", loss=loss, loss_params=None, **settings).partial_fit(new)
    for one, other in zip(by_name.recoder.model.parameters(), by_object.recoder.model.parameters(), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-5)


@pytest.mark.parametrize("name", ["als", "autoencoder"])
def test_a_loaded_model_whose_loss_was_an_object_does_not_learn_without_it_but_forgets(parts, name, tmp_path):
    old, new, _, _ = parts
    loss = MSELoss(confidence=5, reduction="sum")
    settings = {"num_epochs": 1, "seed": 2, "loss": loss}
    settings |= {"loss_params": None, "embedding_size": 8} if name == "als" else {"popularity_bias": False}
    path = recoder.fit(old, name, **settings).save(tmp_path / "m", interactions=True)
    with pytest.raises(ConfigError, match="trained with a loss module, which its file does not hold"):
        recoder.load(path).partial_fit(new)
    model = recoder.load(path)
    model.forget(old.user_ids.ids[:1])
    assert model.interactions.num_users == old.num_users - 1


@pytest.mark.parametrize("name", ["als", "ease"])
def test_a_day_without_any_interaction_brings_its_users(parts, fitted, name):
    old, new, _, _ = parts
    model = fitted(name)
    model.partial_fit(new.select_interactions(np.zeros(new.matrix.nnz, bool)))
    assert model.interactions.num_users == old.merge(new).num_users


def test_metrics_are_of_the_model_as_it_is(parts, fitted):
    old, new, _, valid = parts
    model = fitted("ease")
    model.evaluate(valid, [NDCG(5)], unknown="drop")
    assert len(model.about.metrics) == 1
    assert model.partial_fit(new).about.metrics == []
    model.evaluate(valid, [NDCG(5)])
    model.forget([old.user_ids.ids[0].as_py()])
    assert (model.about.metrics, model.about.num_users) == ([], model.interactions.num_users)


def test_after_an_update_least_squares_fold_in_as_quickly_as_before(parts, fitted):
    _, new, _, _ = parts
    model = fitted("als")

    def spectrum(one):
        weight = one.recoder.model.items.weight.detach()
        return spectrum_of(weight.T @ weight, 1.0)

    assert spectrum(model) is not None
    assert spectrum(model.partial_fit(new)) is not None


class TestLeastSquaresOfTheNew:
    """What is connected with known users and items only through what is new itself."""

    def data(self, pairs):
        users, items = zip(*pairs, strict=True)
        frame = pd.DataFrame({"user": users, "item": items})
        return Interactions.from_frame(frame, user="user", item="item")

    def known(self):
        rng = np.random.default_rng(0)
        return [(f"u{user}", f"m{item}") for user in range(40) for item in rng.permutation(12)[:5]]

    def updated(self, new, **settings):
        known = self.data(self.known())
        model = recoder.fit(known, "als", embedding_size=8, seed=3, **settings)
        return model.partial_fit(self.data(new))

    def test_users_and_items_of_an_island_find_one_another(self):
        island = [(f"new{user}", f"p{item}") for user in range(6) for item in range(6) if item != user]
        model = self.updated(island)
        for user in range(6):
            assert model.recommend(users=[f"new{user}"], k=1)["item_id"].tolist() == [f"p{user}"]
        similar = model.similar_items(["p0"], k=5)["similar_item_id"].tolist()
        assert sorted(similar) == [f"p{item}" for item in range(1, 6)]

    def test_known_items_learn_from_new_users(self):
        # m0 and m1 have nothing to do with one another, until everybody who is new has both
        pairs = [(user, item) for user, item in self.known() if item != "m1"]
        known = self.data([*pairs, *((f"v{user}", "m1") for user in range(10))])
        model = recoder.fit(known, "als", embedding_size=8, seed=3)
        likes = [user for user, item in pairs if item == "m0"][:1]
        apart = model.score(users=likes, items=["m1"])["score"][0]
        model.partial_fit(self.data([(f"new{user}", item) for user in range(30) for item in ("m0", "m1")]))
        assert model.score(users=likes, items=["m1"])["score"][0] > apart + 0.01

    def test_an_item_that_nobody_had_is_learnt_from_those_who_take_it_up(self):
        known = self.data(self.known())
        wider = sparse.hstack([known.matrix, sparse.csr_matrix((known.num_users, 1), dtype=np.float32)]).tocsr()
        ids = IdMap([*known.item_ids.ids.to_pylist(), "late"])
        model = recoder.fit(Interactions(wider, known.user_ids, ids, library="pandas"), "als", embedding_size=8, seed=3)
        model.partial_fit(self.data([(f"new{user}", item) for user in range(20) for item in ("m3", "late")]))
        assert model.recommend(histories=[["m3"]], k=1)["item_id"].tolist() == ["late"]

    def test_an_item_that_nobody_has_counts_for_nothing(self):
        new = self.data([("c", "m3"), ("c", "late")])
        wider = sparse.hstack([new.matrix, sparse.csr_matrix((new.num_users, 1), dtype=np.float32)]).tocsr()
        ids = IdMap([*new.item_ids.ids.to_pylist(), "nobody has it"])
        model = recoder.fit(self.data(self.known()), "als", embedding_size=8, seed=3)
        model.partial_fit(Interactions(wider, new.user_ids, ids, library="pandas"))
        factors = model.recoder.model.items.weight[model.item_ids.indices(["late", "nobody has it"])]
        assert factors.count_nonzero(dim=1).tolist() == [8, 0]

    def test_users_whose_rows_are_looked_up_learn_of_new_items(self):
        new = [("u1", "late"), ("c", "late"), *((f"u{user}", "late") for user in range(2, 12))]
        model = self.updated(new, fold_in=False)
        lists = model.recommend(users=["c"], k=3)
        assert (lists["score"] != 0).all()
        row = model.interactions.user_ids.indices(["c"])[0]
        assert model.recoder.model.users.weight[row].count_nonzero() > 0


def test_nobody_is_validated(parts, fitted):
    model = fitted("autoencoder")
    for settings in ({"metrics": ["NDCG@10"], "eval_freq": 1}, {"early_stopping": EarlyStopping()}):
        with pytest.raises(ConfigError, match=f"validates nobody, so {', '.join(settings)} would"):
            model.partial_fit(parts[1], **settings)


def test_an_update_is_a_share_of_the_epochs_that_the_training_took(parts):
    old, new, _, _ = parts
    old, valid, _ = old.split("strong", seed=1, num_valid_users=50, num_test_users=1)
    stopping = EarlyStopping(min_delta=10.0, patience=1)  # nothing is as much better
    small = {"hidden_layers": [8], "batch_size": 10, "num_epochs": 500, "early_stopping": stopping}
    model = recoder.fit(old, "autoencoder", valid=valid, seed=2, **small)
    assert (model.about.num_epochs, len(model.history)) == (1, 2)
    steps = []

    class Counts(Callback):
        def on_train_start(self, run):
            steps.append(run.num_steps)

    model.partial_fit(new, callbacks=[Counts()])
    assert 0 < steps[0] < len(model.interactions.user_ids) / 10
