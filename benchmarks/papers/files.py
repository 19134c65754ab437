"""Reading the original files; only what the protocol counts is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from benchmarks.papers.split import Codes, Pairs

__all__ = ["SETS", "PaperSet"]

LEAST_RATING = 3.5  # ratings above it count


@dataclass(frozen=True)
class PaperSet:
    """A data set of the protocol.

    Attributes:
        title: for people.
        files: what its folder must hold; a pattern.
        read: reads it from the folder.
        num_held_out, min_of_user, min_of_item: as of ``split_as_liang``.
        sizes: users, and items of training, that Liang et al. 2018 count (table 1); None: of a stand-in.
    """

    title: str
    files: str
    read: Callable[[Path], Pairs]
    num_held_out: int
    min_of_user: int
    min_of_item: int
    sizes: tuple[int, int] | None = None


def read_ml_20m(folder: Path) -> Pairs:
    """Returns the ratings above 3.5 of ``ratings.csv``."""
    options = csv.ConvertOptions(
        include_columns=["userId", "movieId", "rating"],
        column_types={"userId": pa.int64(), "movieId": pa.int64(), "rating": pa.float64()},
    )
    table = csv.read_csv(folder / "ratings.csv", convert_options=options)
    table = table.filter(pc.field("rating") > LEAST_RATING)
    return Pairs(_numbers(table["userId"]), _numbers(table["movieId"]))


def read_msd(folder: Path) -> Pairs:
    """Returns who listened to what, of ``train_triplets.txt``; how often does not count."""
    text = pa.dictionary(pa.int32(), pa.string())
    table = csv.read_csv(
        folder / "train_triplets.txt",
        read_options=csv.ReadOptions(column_names=["user", "song", "count"]),
        parse_options=csv.ParseOptions(delimiter="\t"),
        convert_options=csv.ConvertOptions(
            include_columns=["user", "song"], column_types={"user": text, "song": text, "count": pa.int64()}
        ),
    )
    return Pairs(_numbers(table["user"]), _numbers(table["song"]))


def read_netflix(folder: Path) -> Pairs:
    """Returns the ratings above 3.5 of the files ``combined_data_*.txt``."""
    parts = [_read_netflix_file(path) for path in sorted(folder.glob("combined_data_*.txt"))]
    users, movies = (np.concatenate(codes) for codes in zip(*parts, strict=True))
    return Pairs(np.unique(users, return_inverse=True)[1], movies)


def _read_netflix_file(path: Path) -> tuple[Codes, Codes]:
    """Returns users and movies of a file of blocks: the movie's number and a colon, then a line for each rating."""
    # the head of a block becomes a line like the others: minus the movie, with a rating of 0
    lines = re.sub(rb"^(\d+):\r?$", rb"-\1,0,", path.read_bytes(), flags=re.MULTILINE)
    table = csv.read_csv(
        pa.py_buffer(lines),
        read_options=csv.ReadOptions(column_names=["user", "rating", "date"]),
        convert_options=csv.ConvertOptions(
            include_columns=["user", "rating"], column_types={"user": pa.int64(), "rating": pa.float64()}
        ),
    )
    users, ratings = (table[name].to_numpy() for name in ("user", "rating"))
    heads = np.flatnonzero(users < 0)
    movies = np.repeat(-users[heads], np.diff([*heads, len(users)]))
    is_kept = ratings > LEAST_RATING
    return users[is_kept], movies[is_kept]


def _numbers(column: pa.ChunkedArray) -> Codes:
    """Returns numbers from 0 that ascend as the values do."""
    if not pa.types.is_dictionary(column.type):
        codes: Codes = np.unique(column.to_numpy(), return_inverse=True)[1]
        return codes
    array = column.unify_dictionaries().combine_chunks()
    rank = np.empty(len(array.dictionary), np.int64)
    rank[pc.array_sort_indices(array.dictionary).to_numpy()] = np.arange(len(rank))
    ranks: Codes = rank[array.indices.to_numpy()]
    return ranks


SETS: Mapping[str, PaperSet] = {
    "ml-20m": PaperSet("MovieLens 20M", "ratings.csv", read_ml_20m, 10_000, 5, 0, (136_677, 20_108)),
    "msd": PaperSet("Million Song Data", "train_triplets.txt", read_msd, 50_000, 20, 200, (571_355, 41_140)),
    "netflix": PaperSet("Netflix Prize", "combined_data_*.txt", read_netflix, 40_000, 5, 0, (463_435, 17_769)),
}
"""By name, with the numbers of the papers."""
