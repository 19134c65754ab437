"""Files of recoder 0.4.0: real ones of four models, with the scores that it gave, and hostile ones."""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import pickle
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import FileFormatError, UnsafeFileError
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization
from recoder.nn.noise import StepNoise
from recoder.training.legacy import read_legacy

LEGACY = Path(__file__).parents[1] / "legacy"
MODELS: dict[str, Callable[..., FactorizationModel]] = {
    "ae": DynamicAutoencoder,
    "ae_deep_tied": DynamicAutoencoder,
    "ae_sparse": DynamicAutoencoder,
    "mf": lambda **kwargs: MatrixFactorization(embedding_size=1, **kwargs),
}
LR = 1e-2
WEIGHT_DECAY = 1e-5


def path_of(name: str) -> Path:
    return LEGACY / f"{name}_epoch_3.model"


def loaded(name: str, *, sparse_gradients: bool = False) -> Recoder:
    recoder = Recoder(MODELS[name](sparse=sparse_gradients))
    recoder.init_from_model_file(path_of(name))
    return recoder


@pytest.fixture(scope="module")
def matrix() -> sparse.csr_matrix:
    return sparse.load_npz(LEGACY / "interactions.npz").tocsr()


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(LEGACY / "expected.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def first_users(matrix: sparse.csr_matrix) -> UsersInteractions:
    return UsersInteractions(np.arange(10), matrix[:10])


@pytest.mark.parametrize("name", MODELS)
def test_scores_equal_those_of_0_4_0(name: str, first_users: UsersInteractions, expected: dict[str, Any]) -> None:
    scores = loaded(name).predict(first_users)
    np.testing.assert_allclose(scores.numpy(), expected[f"{name}_scores"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_top_20_equals_that_of_0_4_0(name: str, first_users: UsersInteractions, expected: dict[str, Any]) -> None:
    assert loaded(name).recommend(first_users, 20) == expected[f"{name}_top20"].tolist()


@pytest.mark.parametrize(
    ("name", "loss", "loss_params"),
    [
        ("ae", "logistic", {}),
        ("ae_deep_tied", "logloss", {}),
        ("ae_sparse", "mse", {"confidence": 3}),
        ("mf", "logistic", {}),
    ],
)
def test_loss_optimizer_and_sizes_come_from_the_file(name: str, loss: str, loss_params: dict[str, Any]) -> None:
    recoder = loaded(name)
    assert (recoder.loss, recoder.loss_params, recoder.optimizer_type) == (loss, loss_params, "adam")
    assert (recoder.num_items, recoder.num_users) == (300, 120)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sparse_gradients", [False, True])
def test_training_goes_on_after_epoch_3(name: str, sparse_gradients: bool, matrix: sparse.csr_matrix) -> None:
    recoder = loaded(name, sparse_gradients=sparse_gradients)
    history = recoder.train(
        RecommendationDataset(matrix), lr=LR, num_epochs=13, batch_size=40, negative_sampling=True, weight_decay=1e-5
    )
    assert [record.epoch for record in history] == list(range(4, 14))
    assert history[-1].loss < history[0].loss


@pytest.mark.parametrize("name", MODELS)
def test_saved_again_it_is_a_file_of_this_version(
    name: str, first_users: UsersInteractions, expected: dict[str, Any], tmp_path: Path
) -> None:
    path = loaded(name).save_state(tmp_path / "again")
    assert path == str(tmp_path / "again_epoch_3.model")
    again = Recoder(MODELS[name]())
    again.init_from_model_file(path)
    np.testing.assert_allclose(again.predict(first_users).numpy(), expected[f"{name}_scores"], atol=1e-5, rtol=0)
    assert (again.loss, again.optimizer_type) == (loaded(name).loss, "adam")


def test_threads_that_load_at_once_do_not_take_from_each_other_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    load, allowed_before = torch.load, set(torch.serialization.get_safe_globals())

    def slow(*arguments: Any, **more: Any) -> Any:
        time.sleep(0.1)
        return load(*arguments, **more)

    monkeypatch.setattr(torch, "load", slow)
    with ThreadPoolExecutor(2) as threads:
        loading = []
        for _ in range(2):
            loading.append(threads.submit(read_legacy, path_of("ae")))
            time.sleep(0.05)  # the first one ends while the second one loads
        first, second = (each.result() for each in loading)
    assert first.weights.keys() == second.weights.keys()
    assert set(torch.serialization.get_safe_globals()) == allowed_before


# the first step after loading, against torch's Adam and the model written out


def raw(name: str) -> dict[str, Any]:
    """Returns the file's content by torch's own reader, without ours."""
    allowed = [(np.empty(0).__reduce__()[0], "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype]
    with torch.serialization.safe_globals([*allowed, type(np.dtype(np.int64))]):
        return torch.load(path_of(name), weights_only=True)


EN_WEIGHT = "en_embedding_layer.weight"
EN_BIAS = "_DynamicAutoencoder__en_linear_embedding_layer.bias"
DE_WEIGHT = "de_embedding_layer.weight"
DE_BIAS = "_DynamicAutoencoder__de_linear_embedding_layer.bias"


def autoencoder_logits(w: dict[str, Tensor], x_BN: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    hidden = act(F.normalize(x_BN, dim=1) @ w[EN_WEIGHT] + w[EN_BIAS])
    return hidden @ w[DE_WEIGHT].T + w[DE_BIAS]


def deep_tied_logits(w: dict[str, Tensor], x_BN: Tensor) -> Tensor:
    hidden = torch.tanh(F.normalize(x_BN, dim=1) @ w[EN_WEIGHT] + w[EN_BIAS])
    hidden = torch.tanh(hidden @ w["encoding_layers.0.weight"].T + w["encoding_layers.0.bias"])
    hidden = torch.tanh(hidden @ w["encoding_layers.0.weight"] + w["decoding_layers.0.bias"])
    return hidden @ w[EN_WEIGHT].T + w[DE_BIAS]


def factorization_logits(w: dict[str, Tensor], x_BN: Tensor) -> Tensor:
    return torch.tanh(w["user_embedding_layer.weight"]) @ w["item_embedding_layer.weight"].T + w["bias"]


def logistic(x: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(x, y, reduction="sum")


# parameters in the order in which 0.4.0 numbered them
REFERENCES: dict[str, tuple[list[str], Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "ae": ([EN_WEIGHT, EN_BIAS, DE_WEIGHT, DE_BIAS], lambda w, x: autoencoder_logits(w, x, torch.tanh), logistic),
    "ae_deep_tied": (
        [
            EN_WEIGHT,
            EN_BIAS,
            "encoding_layers.0.weight",
            "encoding_layers.0.bias",
            "decoding_layers.0.bias",
            DE_BIAS,
        ],
        deep_tied_logits,
        lambda x, y: -(y * F.log_softmax(x, dim=1)).sum(),
    ),
    "ae_sparse": (
        [EN_BIAS, DE_BIAS, EN_WEIGHT, DE_WEIGHT],
        lambda w, x: autoencoder_logits(w, x, torch.sigmoid),
        lambda x, y: ((1 + 3 * y) * (x - y).square()).sum(),
    ),
    "mf": (
        ["bias", "user_embedding_layer.weight", "item_embedding_layer.weight"],
        factorization_logits,
        logistic,
    ),
}
NOW = {
    "ae": {EN_WEIGHT: "item_sum.table.weight", EN_BIAS: "input_bias", DE_WEIGHT: "items.weight", DE_BIAS: "items.bias"},
    "mf": {
        "bias": "items.bias",
        "user_embedding_layer.weight": "users.weight",
        "item_embedding_layer.weight": "items.weight",
    },
}
NOW["ae_sparse"] = NOW["ae"]
NOW["ae_deep_tied"] = {
    EN_WEIGHT: "items.weight",
    EN_BIAS: "input_bias",
    DE_BIAS: "items.bias",
    "encoding_layers.0.weight": "encoder.0.weight",
    "encoding_layers.0.bias": "encoder.0.bias",
    "decoding_layers.0.bias": "decoder.0.bias",
}


def stepped_by_torch(name: str, matrix: sparse.csr_matrix) -> dict[str, Tensor]:
    """Returns the weights after one step of torch's Adam, from the file's weights and moments, on all users at once."""
    order, logits, loss = REFERENCES[name]
    content = raw(name)
    weights = {old: content["model"][old].clone().requires_grad_() for old in order}
    groups = [
        {"params": [weight], "weight_decay": 0.0 if old.lower().endswith("bias") else WEIGHT_DECAY}
        for old, weight in weights.items()
    ]
    adam = torch.optim.Adam(groups, lr=LR)
    state = adam.state_dict()
    state["state"] = content["optimizer"]["state"]
    adam.load_state_dict(state)
    dense = torch.from_numpy(matrix.toarray()).float()
    (loss(logits(weights, dense), dense) / len(dense)).backward()
    adam.step()
    return {NOW[name][old]: weight.detach() for old, weight in weights.items()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sparse_gradients", [False, True])
def test_first_step_equals_torchs_adam_from_the_moments_of_the_file(
    name: str, sparse_gradients: bool, matrix: sparse.csr_matrix
) -> None:
    # with an interaction of every item and all users in the step, rows only or whole tables make no difference
    assert (matrix.getnnz(axis=0) > 0).all()
    recoder = loaded(name, sparse_gradients=sparse_gradients)
    for module in recoder.model.modules():
        if isinstance(module, StepNoise):
            module.prob = 0.0
    before = {key: value.clone() for key, value in recoder.model.state_dict().items()}
    recoder.train(RecommendationDataset(matrix), lr=LR, weight_decay=WEIGHT_DECAY, num_epochs=4, batch_size=120)
    after = recoder.model.state_dict()
    for key, expected in stepped_by_torch(name, matrix).items():
        assert not torch.equal(before[key], after[key])
        torch.testing.assert_close(after[key], expected, atol=1e-6, rtol=0)


def test_moments_that_0_4_0_did_not_save_start_at_zero_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "recoder"):
        content = read_legacy(path_of("ae_sparse"))
    assert set(content.optimizer) == {"input_bias", "items.bias"}
    (record,) = caplog.records
    assert "item_sum.table.weight, items.weight" in record.getMessage()
    assert "starts at zero" in record.getMessage()


@pytest.mark.parametrize("name", ["ae", "ae_deep_tied", "mf"])
def test_files_with_all_moments_give_no_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "recoder"):
        content = read_legacy(path_of(name))
    assert caplog.records == []
    assert {key for entries in content.optimizer.values() for key in entries} == {"step", "exp_avg", "exp_avg_sq"}


def test_moments_of_the_file_stay_float32(matrix: sparse.csr_matrix) -> None:
    recoder = Recoder(DynamicAutoencoder(), optimizer_type="adam", optimizer_state="bf16")
    recoder.init_from_model_file(LEGACY / "ae_epoch_3.model")
    assert recoder.optimizer_state == "fp32"
    recoder.train(RecommendationDataset(matrix), num_epochs=4, batch_size=8)
    assert len(recoder.history) == 1


def test_tied_tables_are_still_tied_after_loading() -> None:
    model = loaded("ae_deep_tied").model
    assert isinstance(model, DynamicAutoencoder)
    assert model.items is not None
    assert model.items.weight is model.item_sum.table.weight


def test_a_model_of_another_class_is_refused() -> None:
    with pytest.raises(FileFormatError, match="holds a MatrixFactorization, but this Recoder was made with a Dyn"):
        Recoder(DynamicAutoencoder()).init_from_model_file(path_of("mf"))


class OwnLinear(FactorizationModel):
    """A user's own model, whose file 0.4.0 wrote under the user's own names."""

    def __init__(self, hidden_layers: int = 1) -> None:
        super().__init__()
        self.hidden_layers = hidden_layers

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        self.encoder = torch.nn.Linear(num_items or 1, self.hidden_layers)
        self.decoder = torch.nn.Linear(self.hidden_layers, num_items or 1)

    def model_params(self) -> dict[str, Any]:
        return {"hidden_layers": self.hidden_layers}

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        self.hidden_layers = model_params["hidden_layers"]

    def forward(self, input: Tensor, *args: Tensor, target_items: Tensor | None = None, **kwargs: Tensor) -> Tensor:
        scores = self.decoder(torch.tanh(self.encoder(input)))
        return scores if target_items is None else scores[:, target_items]


def own_file(path: Path, made: OwnLinear, **changes: Any) -> Path:
    content = {
        "recoder_version": "0.4.0",
        "model_params": made.model_params(),
        "last_epoch": 2,
        "model": made.state_dict(),
        "optimizer_type": "adam",
        "optimizer": torch.optim.Adam(made.parameters()).state_dict(),
        "items": np.arange(6),
        "users": np.arange(4),
        "num_items": 6,
        "num_users": 4,
        "loss": "mse",
        "loss_params": {},
    }
    torch.save({**content, **changes}, path)
    return path


def test_a_users_own_model_loads_even_where_its_parameters_are_named_like_ours(tmp_path: Path) -> None:
    model = OwnLinear(3)
    model.init_model(6, 4)
    recoder = Recoder(OwnLinear())
    recoder.init_from_model_file(own_file(tmp_path / "own.model", model))
    assert torch.equal(recoder.model.state_dict()["encoder.weight"], model.encoder.weight)
    matrix = sparse.csr_matrix(np.eye(4, 6))
    assert len(recoder.train(RecommendationDataset(matrix), num_epochs=3)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"num_items": "many"},
        {"num_items": None},
        {"num_items": [6]},
        {"last_epoch": "two"},
        {"last_epoch": -1},
        {"loss_params": "confidence"},
        {"loss": "unheard-of"},
        {"optimizer_type": "unheard-of"},
        {"optimizer": {}},
        {"optimizer": {"state": [], "param_groups": 3}},
        {"optimizer": {"state": {0: {"exp_avg": torch.zeros(9, 9)}}, "param_groups": [{"params": [0, 1, 2, 3]}]}},
        {"optimizer": {"state": {"x": {}}, "param_groups": [{}]}},
        {"model": {"encoder.weight": 3}},
        {"model": {}},
        {"model_params": {}},
        {"model_params": {"embedding_size": 3}},
    ],
    ids=lambda changes: f"{next(iter(changes))}={str(next(iter(changes.values())))[:30]}",
)
def test_a_file_whose_parts_are_of_the_wrong_kind_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    model = OwnLinear(3)
    model.init_model(6, 4)
    path = own_file(tmp_path / "own.model", model, **changes)
    with pytest.raises(FileFormatError) as caught:
        Recoder(OwnLinear()).init_from_model_file(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("stored", ["weights", "moments"])
def test_a_few_bytes_that_say_they_are_a_large_tensor_are_refused(stored: str, tmp_path: Path) -> None:
    model = OwnLinear(3)
    model.init_model(6, 4)
    large = torch.zeros(1).expand(2_000_000, 1_000_000)
    weights = {**model.state_dict(), "encoder.weight": large}
    moments = {"state": {0: {"exp_avg": large}}, "param_groups": [{"params": [0]}]}
    changes = {"model": weights} if stored == "weights" else {"optimizer": moments}
    path = own_file(tmp_path / "own.model", model, **changes)
    assert path.stat().st_size < 100_000
    with pytest.raises(FileFormatError, match=r"shape \(2000000, 1000000\) in 4 bytes"):
        Recoder(OwnLinear()).init_from_model_file(path)


def test_a_sparse_tensor_which_0_4_0_never_wrote_is_refused(tmp_path: Path) -> None:
    model = OwnLinear(3)
    model.init_model(6, 4)
    weights = {**model.state_dict(), "encoder.weight": torch.eye(3).to_sparse()}
    path = own_file(tmp_path / "own.model", model, model=weights)
    with pytest.raises(FileFormatError, match="is not a whole model file"):
        Recoder(OwnLinear()).init_from_model_file(path)


def test_numbers_beyond_all_bounds_are_refused(tmp_path: Path) -> None:
    model = OwnLinear(3)
    model.init_model(6, 4)
    path = own_file(tmp_path / "own.model", model, num_items=float("inf"))
    with pytest.raises(FileFormatError, match="is not a whole model file"):
        Recoder(OwnLinear()).init_from_model_file(path)


# what is not such a file


@pytest.mark.parametrize("name", ["ae_sparse", "mf"])
@pytest.mark.parametrize("tenths", range(10))
def test_a_truncated_file_is_no_model_file_but_not_called_unsafe(name: str, tenths: int, tmp_path: Path) -> None:
    whole = path_of(name).read_bytes()
    path = tmp_path / "cut.model"
    path.write_bytes(whole[: len(whole) * tenths // 10 or 3])
    with pytest.raises(FileFormatError, match="not a whole model file") as caught:
        Recoder(MODELS[name]()).init_from_model_file(path)
    assert type(caught.value) is FileFormatError


@pytest.mark.parametrize("length", [*range(4, 12), 30, 100, 1000])
def test_a_file_cut_after_its_signature_is_no_model_file(length: int, tmp_path: Path) -> None:
    for start in (path_of("mf").read_bytes(), pickle.dumps({"model": [1.5] * 500}, protocol=2)):
        path = tmp_path / "cut.model"
        path.write_bytes(start[:length])
        with pytest.raises(FileFormatError, match="not a whole model file") as caught:
            Recoder(MODELS["mf"]()).init_from_model_file(path)
        assert type(caught.value) is FileFormatError


def test_no_damaged_byte_of_the_description_gives_another_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(path_of("mf")) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        size = archive.getinfo(pickled).file_size
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.model"
    for _ in range(150):
        position, value = int(rng.integers(size)), int(rng.integers(256))
        rewrite_archive(path_of("mf"), path, lambda data, p=position, v=value: data[:p] + bytes([v]) + data[p + 1 :])
        with contextlib.suppress(FileFormatError):  # all that may be raised
            Recoder(MODELS["mf"]()).init_from_model_file(path)


def plain_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "dear reader")


def arrays(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, x=np.arange(3))


def other_torch_file(path: Path) -> None:
    torch.save({"state": torch.zeros(3)}, path)


def bare_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def old_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model": 1}, protocol=2))


@pytest.mark.parametrize("make", [plain_zip, arrays, other_torch_file, bare_tensor, old_pickle])
def test_a_foreign_archive_or_pickle_is_no_model_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "foreign.model"
    make(path)
    with pytest.raises(FileFormatError, match="not a whole model file") as caught:
        Recoder(MODELS["mf"]()).init_from_model_file(path)
    assert str(path) in str(caught.value)


# hostile files: whatever they ask for must not be done


class Calls:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


PAYLOADS: dict[str, Callable[[Path], Calls]] = {
    "open": lambda marker: Calls(builtins.open, str(marker), "w"),
    "system": lambda marker: Calls(os.system, f"touch {marker}"),
    "exec": lambda marker: Calls(builtins.exec, f"open({str(marker)!r}, 'w').close()"),
    "eval": lambda marker: Calls(builtins.eval, f"open({str(marker)!r}, 'w').close()"),
    "popen": lambda marker: Calls(subprocess.Popen, ["touch", str(marker)]),
    "path": lambda marker: Calls(Path.touch, marker),
    "getattr": lambda marker: Calls(getattr, Calls(Path, str(marker)), "touch"),
    "torch": lambda marker: Calls(torch.save, 1, str(marker)),
    "numpy": lambda marker: Calls(np.save, str(marker), np.zeros(1)),
}


def rewrite_archive(source: Path, to: Path, edit: Callable[[bytes], bytes]) -> None:
    """Writes a copy of a torch file with another pickle in it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry.filename, edit(data) if entry.filename.endswith("data.pkl") else data)


def in_archive(path: Path, payload: Calls) -> None:
    rewrite_archive(path_of("mf"), path, lambda _: pickle.dumps(payload, protocol=2))


def in_archive_among_good_values(path: Path, payload: Calls) -> None:
    model = OwnLinear(3)
    model.init_model(6, 4)
    own_file(path, model, items=payload)


def in_pickle(protocol: int) -> Callable[[Path, Calls], None]:
    return lambda path, payload: path.write_bytes(pickle.dumps({"model": payload}, protocol=protocol))  # type: ignore[func-returns-value]


def in_old_torch_file(path: Path, payload: Calls) -> None:
    torch.save({"model": payload}, path, _use_new_zipfile_serialization=False)


WRAPPINGS: dict[str, Callable[[Path, Calls], None]] = {
    "archive": in_archive,
    "archive_among_good_values": in_archive_among_good_values,
    "pickle_0": in_pickle(0),
    "pickle_2": in_pickle(2),
    "pickle_4": in_pickle(4),
    "pickle_5": in_pickle(5),
    "old_torch_file": in_old_torch_file,
}


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "code-has-run"
    yield path
    assert not path.exists()


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_pickle_that_asks_for_code_is_refused_before_anything_runs(
    wrapping: str, payload: str, tmp_path: Path, marker: Path
) -> None:
    path = tmp_path / "hostile.model"
    WRAPPINGS[wrapping](path, PAYLOADS[payload](marker))
    before = sorted(tmp_path.iterdir())
    # 0.4.0 wrote pickles of protocol 2 only: others are merely foreign
    expected = FileFormatError if wrapping in ("pickle_0", "pickle_4", "pickle_5") else UnsafeFileError
    with pytest.raises(expected) as caught:
        Recoder(OwnLinear()).init_from_model_file(path)
    assert type(caught.value) is expected
    assert str(path) in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("payload", ["exec", "eval", "system"])
def test_these_pickles_would_do_harm_if_they_were_unpickled(payload: str, tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(PAYLOADS[payload](tmp_path / "harm")))
    assert (tmp_path / "harm").exists()


def test_the_refusal_names_what_the_file_asks_for(tmp_path: Path, marker: Path) -> None:
    path = tmp_path / "hostile.model"
    in_archive(path, PAYLOADS["system"](marker))
    with pytest.raises(UnsafeFileError, match=r"asks for posix\.system, which is no part of a model file"):
        Recoder(OwnLinear()).init_from_model_file(path)


def test_a_script_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.model"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in ("data.pkl", "constants.pkl", "version", "code/x.py"):
            archive.writestr(f"script/{name}", pickle.dumps(3, protocol=2))
    with pytest.raises(FileFormatError):
        Recoder(OwnLinear()).init_from_model_file(path)
