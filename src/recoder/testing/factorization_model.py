"""What every factorization model must do, as tests that a model of your own can be put through.

A subclass whose name starts with ``Test``, in a file that pytest collects, is all it takes::

    class TestMyModel(FactorizationModelSuite):
        def make_model(self):
            return MyModel(num_factors=8)

Sizes: B users in a batch, N items.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn

from recoder.data.datasets import RecommendationDataset, UsersInteractions
from recoder.model import Recoder
from recoder.nn.base import FactorizationModel, dot_scores
from recoder.ops.rows import SparseRows

__all__ = ["FactorizationModelSuite"]


class FactorizationModelSuite(ABC):
    """Conformance tests of a ``FactorizationModel``: one that is factorized, solved, or has only its ``forward``.

    Attributes:
        num_users: users of the data that the model is trained on.
        num_items: its items.
        optimizer_type: what to train with; models with sparse gradients need ``'adam'``.
        loss: what to train with; the interactions are zeros and ones.
        lr: the learning rate.
        num_epochs: epochs in which the loss must fall.
        takes_samples: whether it can be trained with negative sampling; a loss over all items may make no sense of it.
    """

    num_users: int = 40
    num_items: int = 24
    optimizer_type: str = "adam"
    loss: str | nn.Module = "logistic"
    lr: float = 0.02
    num_epochs: int = 6
    takes_samples: bool = True

    @abstractmethod
    def make_model(self) -> FactorizationModel:
        """Returns a new model as its constructor makes it: ``init_model`` is called by the tests."""

    # -- the hyper-parameters

    def test_hyper_parameters_pass_through_json_and_build_an_equal_model(self) -> None:
        """What ``model_params`` gives is all it takes to read the weights of such a model."""
        model = self._initialised()
        stored = json.loads(json.dumps(model.model_params(), allow_nan=False))
        other = self.make_model()
        other.load_model_params(stored)
        _init(other, self.num_items, self.num_users, seed=1)
        other.load_state_dict(model.state_dict())
        assert other.model_params() == model.model_params()
        self._assert_equal(self._dense_scores(other.eval()), self._dense_scores(model.eval()))

    def test_the_state_is_named_tensors(self) -> None:
        """So that a file can hold it without code."""
        model = self._initialised()
        state = model.state_dict()
        assert all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()), state
        missing = dict(model.named_parameters()).keys() - state.keys()
        assert not missing, f"parameters that no file would hold: {missing}"

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        """Drawn from torch's generator, or from nothing; and the same again after training."""
        _assert_equal_states(self._initialised(seed=3), self._initialised(seed=3))
        _assert_equal_states(self._trained(num_epochs=2).model, self._trained(num_epochs=2).model)

    # -- the scores

    def test_there_is_one_score_per_user_and_item(self) -> None:
        """``[B, N]`` without ``target_items``; finite numbers."""
        model = self._initialised()
        for mode in (True, False):
            scores = self._dense_scores(model.train(mode))
            assert tuple(scores.shape) == (self.num_users, self.num_items)
            assert bool(scores.isfinite().all())

    def test_target_items_select_columns(self) -> None:
        """In the order in which they are asked for."""
        model = self._trained().model.eval()
        whole = self._dense_scores(model)
        for items in ([self.num_items - 1, 0, 3], [2], list(range(self.num_items))[::-1]):
            part = self._dense_scores(model, target_items=torch.tensor(items))
            self._assert_equal(part, whole[:, items])

    def test_input_items_name_the_columns_of_the_input(self) -> None:
        """Items that are left out of the input are items that nobody has."""
        model = self._trained().model.eval()
        items = torch.arange(self.num_items - 1, -1, -2)
        dense = torch.from_numpy(self.interactions().toarray())
        only_these = torch.zeros_like(dense)
        only_these[:, items] = dense[:, items]
        users = torch.arange(self.num_users)
        with torch.no_grad():
            part, whole = model(dense[:, items], users, input_items=items), model(only_these, users)
        self._assert_equal(part, whole)

    def test_items_of_the_input_and_of_the_scores_are_apart(self) -> None:
        """Each list selects its own columns."""
        model = self._trained().model.eval()
        read, scored = torch.arange(0, self.num_items, 2), torch.arange(self.num_items - 1, 0, -3)
        dense, users = torch.from_numpy(self.interactions().toarray()), torch.arange(self.num_users)
        with torch.no_grad():
            whole = model(dense[:, read], users, input_items=read)
            part = model(dense[:, read], users, input_items=read, target_items=scored)
        self._assert_equal(part, whole[:, scored])

    def test_scores_are_user_factors_times_item_factors(self) -> None:
        """Of a factorized model; one with its own ``forward`` says so by ``is_factorized``."""
        model = self._trained().model.eval()
        factors_are_given = _is_given(model, "user_factors") and _is_given(model, "item_factors")
        assert model.is_factorized == (factors_are_given and not _is_given(model, "forward"))
        if not model.is_factorized:
            return
        rows = SparseRows.from_dense(torch.from_numpy(self.interactions().toarray()))
        users = torch.arange(self.num_users)
        some = torch.tensor([self.num_items - 1, 0, 3])
        whole = self._dense_scores(model)
        with torch.no_grad():
            factors_BD = model.user_factors(rows, users)
            for items in (None, some):
                weight, bias = model.item_factors(items)
                assert factors_BD.shape == (self.num_users, weight.shape[1])
                assert bias is None or bias.shape == weight.shape[:1]
                self._assert_equal(dot_scores(factors_BD, weight, bias), whole if items is None else whole[:, items])

    def test_scores_of_blocks_of_users_are_those_of_forward(self) -> None:
        """Whether users are scored at once or one by one."""
        model = self._trained().model.eval()
        rows = SparseRows.from_dense(torch.from_numpy(self.interactions().toarray()))
        for users_per_block in (1, max(1, self.num_users - 1), self.num_users):
            with torch.no_grad():
                blocks = list(model.score_blocks(rows, torch.arange(self.num_users), users_per_block))
            assert [len(block) for block in blocks] == [block.num_rows for block in rows.split(users_per_block)]
            self._assert_equal(torch.cat(blocks), self._dense_scores(model))

    def test_scores_in_evaluation_do_not_depend_on_chance(self) -> None:
        """Whatever noise the model draws in training."""
        model = self._trained().model.eval()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            first = self._dense_scores(model)
            torch.default_generator.manual_seed(1)
            second = self._dense_scores(model)
        assert torch.equal(first, second)

    def test_scores_of_a_user_do_not_depend_on_the_batch(self) -> None:
        """Permuting users permutes the scores; one by one they are the same."""
        recoder = self._trained()
        whole = recoder.predict(self._everyone())
        order = np.random.default_rng(0).permutation(self.num_users)
        self._assert_equal(recoder.predict(self._everyone(order)), whole[torch.from_numpy(order)])
        for user in (0, self.num_users - 1):
            self._assert_equal(recoder.predict(self._everyone(np.array([user]))), whole[user : user + 1])

    # -- training and using it through a Recoder

    def test_training_lowers_the_loss(self) -> None:
        """By more than rounding, on the whole catalogue and on sampled items; a solved model has no loss to lower."""
        if self.make_model().is_solved:
            return
        for negative_sampling in (False, True) if self.takes_samples else (False,):
            history = self._trained(num_epochs=self.num_epochs, negative_sampling=negative_sampling).history
            assert history[-1].loss < (1 - 1e-4) * history[0].loss, history

    def test_training_that_was_interrupted_by_a_file_ends_with_the_same_weights(self, tmp_path: Path) -> None:
        """All that training needs is in the model's state: nothing is lost between two processes."""
        whole = self._trained(num_epochs=4)
        path = self._trained(num_epochs=2).save_state(tmp_path / "model")
        continued = Recoder(self.make_model(), loss=self.loss, seed=9)
        continued.init_from_model_file(path)
        self._train(continued, num_epochs=4)
        _assert_equal_states(continued.model, whole.model)

    def test_a_saved_model_scores_the_same(self, tmp_path: Path) -> None:
        """Bit for bit."""
        recoder = self._trained()
        path = recoder.save_state(tmp_path / "model")
        loaded = Recoder(self.make_model(), loss=self.loss, seed=9)
        loaded.init_from_model_file(path)
        assert torch.equal(loaded.predict(self._everyone()), recoder.predict(self._everyone()))

    def test_recommendations_are_the_best_of_what_a_user_has_not(self) -> None:
        """Best first; every item that is left, if so many are asked for."""
        recoder = self._trained()
        scores = recoder.predict(self._everyone()).cpu().numpy()
        recommended = recoder.recommend(self._everyone(), self.num_items)
        for user, items in enumerate(recommended):
            seen = set(self.interactions()[user].indices.tolist())
            assert sorted(items) == sorted(set(range(self.num_items)) - seen)
            assert (np.diff(scores[user, items]) <= 0).all()

    # -- what the tests are made of

    def interactions(self) -> sparse.csr_matrix:
        """Returns the data: zeros and ones, users and items in two groups that keep to themselves; one user has none.

        Every item has a user.
        """
        generator = np.random.default_rng(7)
        user_group, item_group = np.arange(self.num_users) % 2, np.arange(self.num_items) % 2
        likely = np.where(user_group[:, None] == item_group[None, :], 0.6, 0.05)
        dense = generator.random(likely.shape) < likely
        dense[item_group, np.arange(self.num_items)] = True
        dense[self.num_users // 2] = False
        return sparse.csr_matrix(dense.astype(np.float32))

    def _everyone(self, users: npt.NDArray[np.int64] | None = None) -> UsersInteractions:
        rows = np.arange(self.num_users) if users is None else users
        return UsersInteractions(rows, self.interactions()[rows])

    def _initialised(self, seed: int = 0) -> FactorizationModel:
        model = self.make_model()
        _init(model, self.num_items, self.num_users, seed)
        return model

    def _trained(self, num_epochs: int = 1, negative_sampling: bool = False) -> Recoder:
        recoder = Recoder(self.make_model(), optimizer_type=self.optimizer_type, loss=self.loss, seed=5)
        self._train(recoder, num_epochs, negative_sampling)
        return recoder

    def _train(self, recoder: Recoder, num_epochs: int, negative_sampling: bool = False) -> None:
        dataset = RecommendationDataset(self.interactions())
        recoder.train(dataset, lr=self.lr, num_epochs=num_epochs, batch_size=10, negative_sampling=negative_sampling)

    def _dense_scores(self, model: FactorizationModel, target_items: Tensor | None = None) -> Tensor:
        """Returns what the documented ``forward`` gives everyone."""
        dense = torch.from_numpy(self.interactions().toarray())
        with torch.no_grad():
            scores = model(dense, torch.arange(self.num_users), target_items=target_items)
        assert isinstance(scores, Tensor), f"forward returned a {type(scores).__name__}"
        return scores

    def _assert_equal(self, actual: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def _init(model: FactorizationModel, num_items: int, num_users: int, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model.init_model(num_items=num_items, num_users=num_users)


def _is_given(model: FactorizationModel, method: str) -> bool:
    return getattr(type(model), method) is not getattr(FactorizationModel, method)


def _assert_equal_states(first: FactorizationModel, second: FactorizationModel) -> None:
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), f"{name} differs"
