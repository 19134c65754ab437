from __future__ import annotations

import json
import struct

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import recoder
from forking import Forked
from recoder.callbacks import BestCheckpoint
from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import (
    ConfigError,
    DataTypeError,
    FileFormatError,
    FileWriteError,
    NotInitializedError,
    UnknownIdError,
    UnsafeFileError,
)
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, MatrixFactorization
from recoder.recipes import recipe

NAMES = ["autoencoder", "als", "ease", "popularity"]


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_model_answers_as_the_saved_one(fitted, tmp_path, name):
    model = fitted[name]
    bare = recoder.load(model.save(tmp_path / "bare.model"))
    whole = recoder.load(model.save(tmp_path / "whole.model", interactions=True))
    question = {"histories": [["m1", "m5"], []], "k": 4, "titles": True}
    for loaded in (bare, whole):
        pd.testing.assert_frame_equal(loaded.recommend(**question), model.recommend(**question))
        assert loaded.about.recipe == name
        assert loaded.about == model.about
    pd.testing.assert_frame_equal(whole.recommend(k=3), model.recommend(k=3))
    assert (bare.has_histories, whole.has_histories) == (False, True)
    np.testing.assert_array_equal(bare.item_counts, model.item_counts)


def test_without_interactions_a_file_names_no_user(fitted, tmp_path):
    path = fitted["autoencoder"].save(tmp_path / "a.model")
    content = (tmp_path / "a.model").read_bytes()
    assert b"u17" not in content
    assert b"m17" in content
    assert recoder.load(path).interactions.num_users == 0
    kept = fitted["autoencoder"].save(tmp_path / "b.model", interactions=True)
    assert b"u17" in (tmp_path / "b.model").read_bytes()
    with pytest.raises(NotInitializedError, match="none to keep"):
        recoder.load(path).save(tmp_path / "c.model", interactions=True)
    assert recoder.load(kept).interactions.num_users == 60


def test_a_file_holds_rows_of_users_only_where_they_are_needed(films, tmp_path):
    model = recoder.fit(films, "als", embedding_size=8, num_epochs=3, seed=1)
    rows = model.recoder.model.users.weight.detach().numpy()
    row = rows[3].tobytes()
    for name, kept in (("bare", {}), ("whole", {"interactions": True}), ("resumable", {"training_state": True})):
        file = tmp_path / f"{name}.model"
        loaded = recoder.load(model.save(file, **kept))
        assert (row in file.read_bytes()) == bool(kept), name
        question = {"histories": [["m1", "m5"], []], "k": 4}
        pd.testing.assert_frame_equal(loaded.recommend(**question), model.recommend(**question))
        assert len(loaded.recoder.model.users.weight) == (60 if kept else 0)
        assert repr(loaded).startswith("FittedModel(als, 60 users")
    again = recoder.load(recoder.load(tmp_path / "bare.model").save(tmp_path / "again.model"))
    pd.testing.assert_frame_equal(again.recommend(**question), model.recommend(**question))
    np.testing.assert_array_equal(model.recoder.model.users.weight.detach().numpy(), rows)


def test_a_file_without_rows_of_users_cannot_be_trained_further(films, tmp_path):
    path = recoder.fit(films, "als", embedding_size=8, num_epochs=3, seed=1).save(tmp_path / "a.model")
    bare = Recoder(MatrixFactorization(1))
    bare.init_from_model_file(path)
    with pytest.raises(UnknownIdError, match=r"saved without their rows of factors.* training_state=True"):
        bare.train(RecommendationDataset(films.matrix), num_epochs=4)


def test_a_model_that_looks_users_up_keeps_their_ids(films, tmp_path):
    model = recoder.fit(films, MatrixFactorization(4), optimizer_type="adam", loss="logistic", seed=1)
    loaded = recoder.load(model.save(tmp_path / "a.model"))
    expected = model.recommend(users=["u3"], k=5, exclude_seen=False)
    pd.testing.assert_frame_equal(loaded.recommend(users=["u3"], k=5, exclude_seen=False), expected)
    with pytest.raises(NotInitializedError, match="holds no histories"):
        loaded.recommend(users=["u3"], k=5)


def test_another_process_recommends_the_same_without_the_data(fitted, tmp_path):
    path = fitted["autoencoder"].save(tmp_path / "a.model")
    code = f"""
import recoder
answer = recoder.load({path!r}).recommend(histories=[["m1", "m7"]], k=4)
print(answer.to_json())
"""
    printed = Forked(code).printed()
    expected = fitted["autoencoder"].recommend(histories=[["m1", "m7"]], k=4)
    answered = pd.DataFrame(json.loads(printed)).reset_index(drop=True)
    pd.testing.assert_frame_equal(answered, expected, atol=1e-5, check_dtype=False)


def test_recipe_metrics_and_history_come_back(films, tmp_path):
    train, valid, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    model = recoder.fit(train, valid=valid, metrics=[NDCG(5)], num_epochs=2, seed=4)
    result = model.evaluate(test, [NDCG(5)])
    model.about.more = {"note": "for the shop"}
    loaded = recoder.load(model.save(tmp_path / "a.model"))
    assert loaded.about.metrics[0]["metrics"]["NDCG@5"]["mean"] == result.mean["NDCG@5"]
    assert loaded.about.train["num_epochs"] == 2
    assert loaded.about.more == {"note": "for the shop"}
    assert [record.metrics for record in loaded.recoder.history] == [record.metrics for record in model.recoder.history]
    assert loaded.recoder.seed == 4


def test_a_model_of_ones_own_class_is_passed_to_load(films, tmp_path):
    class Mine(DynamicAutoencoder):
        pass

    model = recoder.fit(films, Mine([8]), optimizer_type="adam", loss="logistic", seed=1)
    path = model.save(tmp_path / "a.model")
    with pytest.raises(ConfigError, match="holds a Mine, which is none of the library's; pass model="):
        recoder.load(path)
    loaded = recoder.load(path, model=Mine([8]))
    pd.testing.assert_frame_equal(loaded.recommend(histories=[["m1"]]), model.recommend(histories=[["m1"]]))


def test_a_file_of_a_recoder_is_loaded_where_it_holds_ids(films, tmp_path):
    trained = recoder.fit(films, "ease").recoder
    with_ids = trained.save_state(tmp_path / "a", interactions=films, histories=True)
    assert len(recoder.load(with_ids).recommend(users=["u1"], k=2)) == 2
    without = trained.save_state(tmp_path / "b")
    with pytest.raises(FileFormatError, match="holds no ids"):
        recoder.load(without)
    again = Recoder(type(trained.model)())
    again.init_from_model_file(recoder.fit(films, "ease").save(tmp_path / "c.model"))


@pytest.mark.parametrize("name", ["autoencoder", "als", "looked up"])
def test_a_checkpoint_of_fit_is_loaded_without_histories(films, tmp_path, name):
    train, valid, _ = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    best = BestCheckpoint(tmp_path / "films", NDCG(5))
    settings = {"num_epochs": 2, "model_checkpoint_prefix": tmp_path / "films"}
    if name == "looked up":
        chosen, metrics = MatrixFactorization(4), {"loss": "logistic", "optimizer_type": "adam"}
    else:
        chosen, metrics = name, {"valid": valid, "metrics": [NDCG(5)], "callbacks": [best]}
    model = recoder.fit(train, chosen, seed=4, **settings, **metrics)
    loaded = recoder.load(tmp_path / "films_epoch_2.model")
    assert loaded.about == model.about
    assert loaded.interactions.titles == train.titles
    assert not loaded.has_histories
    np.testing.assert_array_equal(loaded.item_counts, model.item_counts)
    if name == "looked up":
        assert loaded.interactions.user_ids == train.user_ids
        question = {"users": train.user_ids.raw_ids([1]), "exclude_seen": False}
    else:
        assert loaded.interactions.num_users == 0
        assert len(recoder.load(best.path).recommend(histories=[["m1"]], k=3)) == 3
        question = {"histories": [["m1", "m5"], []]}
    pd.testing.assert_frame_equal(loaded.recommend(**question), model.recommend(**question))
    with pytest.raises(FileFormatError, match="holds no ids"):
        recoder.load(model.recoder.save_state(tmp_path / "afterwards"))


def test_training_goes_on_from_a_checkpoint_of_fit_bit_for_bit(films, tmp_path):
    settings = {"num_epochs": 4, "seed": 4, "hidden_layers": [16]}
    whole = recoder.fit(films, model_checkpoint_prefix=tmp_path / "a", checkpoint_freq=2, **settings)
    resumed = Recoder(DynamicAutoencoder(), optimizer_type="adam", loss="logistic")
    resumed.init_from_model_file(tmp_path / "a_epoch_2.model")
    recipe("autoencoder").but(num_epochs=4).train_with(resumed, RecommendationDataset(films.matrix))
    assert len(resumed.history) == 4
    expected = whole.recoder.model.state_dict()
    assert all(bool((weight == expected[name]).all()) for name, weight in resumed.model.state_dict().items())


def test_a_checkpoint_of_partial_fit_holds_the_new_users_and_items(films, tmp_path):
    old = films.select_users(np.arange(40)).select_items(np.arange(20)).drop_empty()
    model = recoder.fit(old, num_epochs=2, seed=4)
    model.partial_fit(films, model_checkpoint_prefix=tmp_path / "a")
    loaded = recoder.load(tmp_path / "a_epoch_1.model")
    assert loaded.about == model.about
    assert loaded.about.num_users == 60
    assert loaded.item_ids == model.item_ids
    np.testing.assert_array_equal(loaded.item_counts, model.item_counts)


def test_foreign_and_damaged_files_are_said(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        recoder.load(tmp_path / "none.model")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FileFormatError, match="not a whole model file"):
        recoder.load(tmp_path / "text")
    path = tmp_path / "a.model"
    fitted["ease"].save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="cut short, damaged"):
        recoder.load(path)
    (tmp_path / "pickle").write_bytes(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.")
    with pytest.raises((UnsafeFileError, FileFormatError)):
        recoder.load(tmp_path / "pickle")


@pytest.mark.parametrize(
    "change",
    [
        {"library": "abacus"},
        {"library": 3},
        {"metrics": {}},
        {"model": {"hidden": 1}},
        {"model": {"l2": "much"}},
        {"unheard": 1},
    ],
)
def test_a_changed_description_is_said(fitted, tmp_path, change):
    path = tmp_path / "a.model"
    fitted["ease"].save(path)
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    described = json.loads(header["__metadata__"]["recoder"])
    described["about"] |= change
    header["__metadata__"]["recoder"] = json.dumps(described)
    changed = json.dumps(header).encode()
    changed += b" " * (-len(changed) % 8)
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + size :])
    with pytest.raises(FileFormatError, match="cannot be read"):
        recoder.load(path)


def test_a_file_that_cannot_be_written_leaves_the_old_one(fitted, tmp_path, monkeypatch):
    path = tmp_path / "a.model"
    fitted["ease"].save(path)
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recoder.training.model_file.save_file", full)
    with pytest.raises(FileWriteError):
        fitted["als"].save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_to_ship_has_no_state_of_the_optimizer(films, tmp_path):
    model = recoder.fit(films, num_epochs=2, seed=1)
    model.save(tmp_path / "shipped.model")
    model.save(tmp_path / "checkpoint.model", training_state=True)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["checkpoint.model"] > 2.5 * sizes["shipped.model"]
    states = {}
    for name in sizes:
        loaded = recoder.load(tmp_path / name)
        pd.testing.assert_frame_equal(
            loaded.recommend(histories=[["m1"]], k=3), model.recommend(histories=[["m1"]], k=3)
        )
        states[name] = loaded.recoder.file_content().optimizer
    assert states["shipped.model"] == {}
    assert states["checkpoint.model"].keys() == model.recoder.file_content().optimizer.keys()


def test_without_counts_nothing_is_called_popular(films, tmp_path):
    trained = recoder.fit(films, num_epochs=2, seed=1).recoder
    loaded = recoder.load(trained.save_state(tmp_path / "a", interactions=films))
    scores = loaded.recommend(histories=[[]], k=24)["score"].to_pylist()
    assert len(set(scores)) > 1
    expected = np.sort(trained.predict(UsersInteractions([0], sparse.csr_matrix((1, 24), dtype=np.float32))).numpy()[0])
    np.testing.assert_allclose(scores, expected[::-1], rtol=1e-5)


def test_a_wrong_argument_of_load_is_no_damage_to_the_file(fitted, tmp_path):
    path = fitted["autoencoder"].save(tmp_path / "a.model")
    with pytest.raises(ConfigError, match="device is 'gpu0'; pass for example 'cpu'"):
        recoder.load(path, device="gpu0")
    with pytest.raises(DataTypeError, match="model is a int"):
        recoder.load(path, model=3)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device is 'cuda', but there is no CUDA device"):
            recoder.load(path, device="cuda")


def test_a_model_without_histories_says_what_can_be_asked(films, fitted, tmp_path):
    bare = recoder.load(fitted["als"].save(tmp_path / "a.model"))
    with pytest.raises(NotInitializedError, match=r"holds no histories .*pass histories=\[\[item"):
        bare.recommend(users=["u3"])
    with pytest.raises(NotInitializedError, match=r"for them; save it with interactions=True"):
        bare.score(["u3"], ["m1"])
    with pytest.raises(NotInitializedError, match=r"pass history=\[item, \.\.\.\], or save it"):
        bare.explain("u3", "m1")
    with pytest.raises(NotInitializedError, match=r"pass histories=Interactions\(\.\.\.\), or"):
        bare.recommend_to_file(tmp_path / "a.csv")
    model = recoder.fit(films, MatrixFactorization(4), optimizer_type="adam", loss="logistic", seed=1)
    looks_up = recoder.load(model.save(tmp_path / "b.model"))
    with pytest.raises(NotInitializedError, match="pass exclude_seen=False, or save it with interactions=True"):
        looks_up.recommend(users=["u3"])
