from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import main as main_of_all
from benchmarks.papers import cli
from benchmarks.papers.files import SETS
from benchmarks.papers.published import PUBLISHED
from benchmarks.papers.split import Pairs, PaperSplit, split_as_liang
from benchmarks.papers.stand_in import SHAPE, scaled_down, write_stand_in
from benchmarks.synthetic import Shape, make_interactions

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError, NotEnoughMemoryError
from recoder.model import Recoder
from recoder.recipes import RECIPES, Recipe

SMALL = Shape(num_users=120, num_items=80, mean_interactions=12, num_tastes=3)


def pairs_of(shape: Shape = SMALL) -> Pairs:
    matrix = make_interactions(shape).tocoo()
    return Pairs(matrix.row.astype(np.int64), matrix.col.astype(np.int64))


def split_of(pairs: Pairs, *, num_held_out: int = 20, min_of_user: int = 5, min_of_item: int = 0) -> PaperSplit:
    return split_as_liang(pairs, num_held_out=num_held_out, min_of_user=min_of_user, min_of_item=min_of_item)


def rows_of(dataset: RecommendationDataset) -> list[set[int]]:
    """The items of each user, given or to be found."""
    both = dataset.interactions_matrix
    if dataset.target_interactions_matrix is not None:
        both = both + dataset.target_interactions_matrix
    return [set(both.indices[start:stop]) for start, stop in zip(both.indptr[:-1], both.indptr[1:], strict=True)]


def by_hand(pairs: Pairs, num_held_out: int) -> tuple[list[list[int]], list[list[int]]]:
    """What is to be found of the validation and of the test users, in raw ids, one user after the other."""
    items_of: dict[int, list[int]] = {}
    for user, item in zip(pairs.users_Z.tolist(), pairs.items_Z.tolist(), strict=True):
        items_of.setdefault(user, []).append(item)
    users = sorted(user for user, items in items_of.items() if len(items) >= 5)
    permuted = [users[at] for at in np.random.RandomState(98765).permutation(len(users))]
    groups = permuted[-2 * num_held_out : -num_held_out], permuted[-num_held_out:]
    known = {item for user in permuted[: -2 * num_held_out] for item in items_of[user]}
    found = []
    for group in groups:
        random = np.random.RandomState(98765)
        drawn = {}
        for user in sorted(group):
            items = [item for item in items_of[user] if item in known]
            chosen: list[int] = []
            if len(items) >= 5:
                chosen = random.choice(len(items), size=int(0.2 * len(items)), replace=False).tolist()
            drawn[user] = sorted(items[at] for at in chosen)
        found.append([drawn[user] for user in group])
    return found[0], found[1]


class TestSplit:
    def test_it_draws_what_the_protocol_draws_user_by_user(self) -> None:
        pairs = pairs_of()
        split = split_of(pairs)
        # raw id of a column: items are numbered as they come up in the training users' rows of the file
        users = np.flatnonzero(np.bincount(pairs.users_Z) >= 5)
        permuted = users[np.random.RandomState(98765).permutation(len(users))]
        is_train = np.isin(pairs.users_Z, permuted[: split.train.num_users])
        raw_items = list(dict.fromkeys(pairs.items_Z[is_train].tolist()))
        for dataset, expected in zip((split.valid, split.test), by_hand(pairs, 20), strict=True):
            target = dataset.target_interactions_matrix
            assert target is not None
            got = [
                sorted(raw_items[col] for col in target.indices[start:stop])
                for start, stop in zip(target.indptr[:-1], target.indptr[1:], strict=True)
            ]
            assert got == expected

    def test_held_out_users_are_as_many_as_asked_and_the_others_train(self) -> None:
        split = split_of(pairs_of())
        assert len(split.valid) == len(split.test) == 20
        assert split.train.num_users == np.count_nonzero(np.bincount(pairs_of().users_Z) >= 5) - 40

    def test_a_fifth_of_a_user_rounded_down_is_to_be_found_and_the_rest_is_given(self) -> None:
        split = split_of(pairs_of())
        for dataset in (split.valid, split.test):
            target = dataset.target_interactions_matrix
            assert target is not None
            assert dataset.interactions_matrix.multiply(target).nnz == 0
            counts = np.diff(dataset.interactions_matrix.indptr) + np.diff(target.indptr)
            np.testing.assert_array_equal(np.diff(target.indptr), np.where(counts >= 5, counts // 5, 0))

    def test_all_items_come_from_training(self) -> None:
        split = split_of(pairs_of())
        assert set(split.train.interactions_matrix.indices) == set(range(split.train.num_items))
        assert split.valid.num_items == split.test.num_items == split.train.num_items

    def test_it_is_the_same_every_time_and_of_any_numbering_of_the_items(self) -> None:
        pairs = pairs_of()
        renamed = replace(pairs, items_Z=1_000 - pairs.items_Z)
        first, again, other = split_of(pairs), split_of(pairs), split_of(renamed)
        for split in (again, other):
            for name in ("train", "valid", "test"):
                assert rows_of(getattr(first, name)) == rows_of(getattr(split, name))

    def test_items_are_chosen_before_users_are_counted(self) -> None:
        # user 0 has five items, one of which nobody else has; the others share four, and have three more
        users = [*[0] * 5, *np.repeat(np.arange(1, 30), 7)]
        items = [0, 1, 2, 3, 99, *np.tile(np.arange(7), 29)]
        pairs = Pairs(np.array(users), np.array(items))
        assert split_of(pairs, num_held_out=5).train.num_users + 10 == 30
        assert split_of(pairs, num_held_out=5, min_of_item=2).train.num_users + 10 == 29

    def test_too_few_users_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="60 users are to be held out twice, but there are 104 with 5 inter"):
            split_of(pairs_of(), num_held_out=60)


class TestFiles:
    @pytest.mark.parametrize("name", sorted(SETS))
    def test_a_file_in_the_original_format_reads_as_what_was_written(self, name: str, tmp_path: Path) -> None:
        write_stand_in(name, tmp_path, SMALL)
        pairs = SETS[name].read(tmp_path)
        matrix = make_interactions(SMALL, seed=sorted(SETS).index(name))
        share = len(pairs.users_Z) / matrix.nnz
        # of the Million Song Data every line counts, of the others ratings of 4 and 5
        assert share == 1 if name == "msd" else 0.85 < share < 0.95
        counts = np.sort(np.bincount(pairs.items_Z))[::-1][:3]
        assert (counts >= 0.75 * np.sort(np.bincount(matrix.indices))[::-1][:3]).all()

    def test_netflix_blocks_give_every_rating_its_movie_over_all_files(self, tmp_path: Path) -> None:
        (tmp_path / "combined_data_1.txt").write_text("1:\n70,5,2005-09-06\n7,3,2005-09-06\n2:\n3:\n9,4,2004-01-01\n")
        (tmp_path / "combined_data_2.txt").write_text("4:\n7,4,2005-09-06\n70,4,2005-09-06\n")
        pairs = SETS["netflix"].read(tmp_path)
        assert pairs.users_Z.tolist() == [2, 1, 0, 2]
        assert pairs.items_Z.tolist() == [1, 3, 4, 4]

    def test_ratings_of_three_and_a_half_do_not_count(self, tmp_path: Path) -> None:
        lines = "userId,movieId,rating,timestamp\n3,50,3.5,1\n3,40,4.0,1\n1,50,5.0,1\n"
        (tmp_path / "ratings.csv").write_text(lines)
        pairs = SETS["ml-20m"].read(tmp_path)
        assert pairs.users_Z.tolist() == [1, 0]
        assert pairs.items_Z.tolist() == [0, 1]

    def test_users_of_the_million_songs_are_numbered_in_the_order_of_their_ids(self, tmp_path: Path) -> None:
        (tmp_path / "train_triplets.txt").write_text("b8\tS1\t1\nfd\tS2\t5\n0a\tS1\t2\nb8\tS2\t1\n")
        pairs = SETS["msd"].read(tmp_path)
        assert pairs.users_Z.tolist() == [1, 2, 0, 1]
        assert pairs.items_Z.tolist() == [0, 1, 0, 1]


class TestCommandLine:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", sorted(SETS))
    def test_a_stand_in_is_announced_and_no_published_number_stands_in_our_columns(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main_of_all(["papers", name, "--stand-in", "--recipes", "popularity"]) == 0
        printed = capsys.readouterr().out
        assert printed.count("A STAND-IN") == 2
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if "|" in line]
        headings, _, *body = rows
        ours = [at for at, heading in enumerate(headings) if heading.endswith("here, on a stand-in")]
        published = [at for at, heading in enumerate(headings) if heading.endswith("published")]
        assert len(ours) == len(published) == 3
        for entry in PUBLISHED[name]:
            row = next(row for row in body if row[0] == f"{entry.recipe} ({entry.model})")
            assert [row[at] for at in published] == [f"{value:.3f}" for value in entry.values]
            if entry.recipe != "popularity":
                assert [row[at] for at in ours] == ["-"] * 3
        popular = next(row for row in body if row[0].startswith("popularity"))
        assert all("±" in popular[at] for at in ours)
        assert "Measured on 20" in printed

    def test_lines_come_one_by_one_and_a_model_that_cannot_be_trained_keeps_none_back(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        printed_before: list[str] = []
        said: list[str] = []

        def fit(self: Recipe, *_: object, **__: object) -> Recoder:
            printed = capsys.readouterr()
            printed_before.append(printed.out)
            said.append(printed.err)
            if "l2" in self.model:
                raise NotEnoughMemoryError("a matrix of all pairs of items needs 9 TiB")
            raise KeyboardInterrupt

        monkeypatch.setattr(Recipe, "fit", fit)
        arguments = ["papers", "ml-20m", "--stand-in", "--recipes", "ease,multvae,recvae"]
        assert main_of_all(arguments) == 130
        after = capsys.readouterr()
        assert "| model |" in printed_before[0]
        assert "| ease (EASE) | - | 0.391 | - |" in printed_before[1]
        assert "not trained: NotEnoughMemoryError" in printed_before[1]
        assert "needs 9 TiB" in "".join(said)
        assert "stopped" in after.err
        assert after.out.count("A STAND-IN") == 1

    @pytest.mark.slow
    def test_the_regularization_of_a_closed_form_is_chosen_on_validation_users(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fit = Recipe.fit

        def fit_quickly(self: Recipe, *data: RecommendationDataset | None, seed: int) -> Recoder:
            changed = self.but(num_epochs=1) if "latent_size" in self.model else self
            return fit(changed, *data, seed=seed)

        monkeypatch.setattr(Recipe, "fit", fit_quickly)
        assert main_of_all(["papers", "ml-20m", "--stand-in", "--recipes", "ease,recvae"]) == 0
        lines = capsys.readouterr().out.splitlines()
        ease = next(line for line in lines if line.startswith("| ease"))
        assert re.search(r"\| l2=(200|500|1000)\.0 \|", ease)
        assert "±" in ease
        recvae = next(line for line in lines if line.startswith("| recvae"))
        assert "hidden_size=600, latent_size=200, loss=logloss, negative_sampling=False" in recvae

    def test_without_files_it_says_what_is_missing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main_of_all(["papers", "msd", "--folder", str(tmp_path)]) == 2
        assert "has no train_triplets.txt; Million Song Data is not there" in capsys.readouterr().err
        assert main_of_all(["papers", "msd"]) == 2
        assert "--stand-in" in capsys.readouterr().err

    def test_an_unknown_recipe_is_answered_with_those_that_there_are(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main_of_all(["papers", "msd", "--stand-in", "--recipes", "magic"]) == 2
        assert f"magic; there are {', '.join(RECIPES)}" in capsys.readouterr().err

    def test_a_file_that_is_cut_off_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_stand_in("ml-20m", tmp_path, SMALL)
        assert main_of_all(["papers", "ml-20m", "--folder", str(tmp_path)]) == 2
        assert "10000 users are to be held out twice" in capsys.readouterr().err

    def test_files_of_other_sizes_than_the_paper_s_are_said(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_stand_in("ml-20m", tmp_path)
        small = scaled_down(SETS["ml-20m"])
        split = split_as_liang(small.read(tmp_path), num_held_out=small.num_held_out, min_of_user=5, min_of_item=0)
        counted = split.train.num_users + 2 * small.num_held_out, split.train.num_items
        words = f"{counted[0]:,} users and {counted[1]:,} items"
        for sizes, said in (
            (counted, f"The paper counts as many: {words}"),
            (
                (138_493, 20_108),
                f"**THE PAPER HAS 138,493 users and 20,108 items, held-out users included, these files {words}",
            ),
        ):
            monkeypatch.setitem(SETS, "ml-20m", replace(small, sizes=sizes))  # type: ignore[call-overload]  # a dict
            assert main_of_all(["papers", "ml-20m", "--folder", str(tmp_path), "--recipes", "popularity"]) == 0
            printed = capsys.readouterr().out
            assert printed.count("aper ") + printed.count("PAPER") == 1
            assert said in printed


def test_limits_of_a_stand_in_fit_its_size_and_those_of_the_papers_stay() -> None:
    small = scaled_down(SETS["msd"])
    assert (small.num_held_out, small.min_of_user, small.min_of_item) == (SHAPE.num_users // 10, 20, 5)
    limits = {name: (held.num_held_out, held.min_of_user, held.min_of_item) for name, held in SETS.items()}
    assert limits == {"ml-20m": (10_000, 5, 0), "msd": (50_000, 20, 200), "netflix": (40_000, 5, 0)}


def test_models_as_published_have_the_papers_layers() -> None:
    vae = RECIPES["multvae"].but(**cli.AS_PUBLISHED["multvae"])
    assert (vae.model["hidden_layers"], vae.model["is_constrained"]) == ([600, 200], False)
    rec_vae = RECIPES["recvae"].but(**cli.AS_PUBLISHED["recvae"])
    assert (rec_vae.model["hidden_size"], rec_vae.model["latent_size"]) == (600, 200)
