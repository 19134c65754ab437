"""goodbooks-10k: ratings of the ten thousand most popular books of a web site."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa

from recoder.data.interactions import Interactions
from recoder.data.readers.building import titled, titles_table
from recoder.data.readers.sources import Source

__all__ = ["read_goodbooks"]

_log = logging.getLogger("recoder.data")


def read_goodbooks(source: Source) -> Interactions:
    """Returns the ratings of ``ratings.csv``, with the titles of ``books.csv``.

    The first release repeats some pairs of user and book: of these the last rating counts.
    """
    columns = ["user_id", "book_id", "rating"]
    types = {"user_id": pa.int64(), "book_id": pa.int64(), "rating": pa.float32()}
    ratings = source.table("ratings.csv", columns, types)
    interactions = Interactions.from_frame(_last_of_each(ratings), user="user_id", item="book_id", weight="rating")
    # the first release calls id there what its ratings call book_id, and book_id the number on the web site
    item = "id" if source.has("books.csv") and "id" in source.column_names("books.csv") else "book_id"
    return titled(interactions, titles_table(source, "books.csv", item=item, title="title"))


def _last_of_each(ratings: pa.Table) -> pa.Table:
    """Returns the last row of each pair of user and book, in their order."""
    numbered = ratings.append_column("row", pa.array(np.arange(len(ratings))))
    last = numbered.group_by(["user_id", "book_id"]).aggregate([("row", "max")])["row_max"].to_numpy()
    if len(last) < len(ratings):
        repeats = len(ratings) - len(last)
        _log.info("%d of %d ratings are of a book that the user rates again further down", repeats, len(ratings))
    return ratings.take(np.sort(last))
