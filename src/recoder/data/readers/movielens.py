"""MovieLens (Harper & Konstan 2015, doi:10.1145/2827872): ratings of films by the users of a web site."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from recoder.data.interactions import Interactions
from recoder.data.readers.building import titled, titles_table
from recoder.data.readers.sources import Source

__all__ = ["read_100k", "read_csv", "read_double_colon"]

_RATING_COLUMNS = ["userId", "movieId", "rating", "timestamp"]
_TYPES = {"userId": pa.int64(), "movieId": pa.int64(), "rating": pa.float32(), "timestamp": pa.int64()}


def read_100k(source: Source) -> Interactions:
    """Returns the ratings of ``u.data``, with the titles of ``u.item``: the release of 1998."""
    ratings = source.table("u.data", _RATING_COLUMNS, _TYPES, separator="\t", names=_RATING_COLUMNS, quote=None)
    # then a release date, a video release date, a URL and 19 genres
    columns = ["movieId", "title", *(f"other {n}" for n in range(22))]
    titles = titles_table(
        source, "u.item", item="movieId", title="title", separator="|", names=columns, encoding="latin-1", quote=None
    )
    return titled(_interactions(ratings), titles)


def read_double_colon(encoding: str) -> Callable[[Source], Interactions]:
    """Returns the reader of ``ratings.dat`` and ``movies.dat``, separated by ``::``: the releases of 2003 and 2009."""

    def read(source: Source) -> Interactions:
        form = {"separator": "::", "quote": None}
        ratings = source.table("ratings.dat", _RATING_COLUMNS, _TYPES, names=_RATING_COLUMNS, **form)
        columns = ["movieId", "title", "genres"]
        titles = titles_table(
            source, "movies.dat", item="movieId", title="title", names=columns, encoding=encoding, **form
        )
        return titled(_interactions(ratings), titles)

    return read


def read_csv(source: Source) -> Interactions:
    """Returns the ratings of ``ratings.csv``, with the titles of ``movies.csv``: the releases since 2015."""
    ratings = source.table("ratings.csv", _RATING_COLUMNS, _TYPES)
    return titled(_interactions(ratings), titles_table(source, "movies.csv", item="movieId", title="title"))


def _interactions(ratings: pa.Table) -> Interactions:
    return Interactions.from_frame(ratings, user="userId", item="movieId", weight="rating", time="timestamp")
