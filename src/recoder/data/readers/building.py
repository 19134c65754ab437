"""Making interactions of the tables of a data set."""

from __future__ import annotations

import logging
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from recoder.data.interactions import Interactions
from recoder.data.readers.sources import Source

__all__ = ["TEXT", "titled", "titles_table"]

_log = logging.getLogger("recoder.data")

TEXT = pa.dictionary(pa.int32(), pa.string())  # a repeated string is kept once for each block


def titled(interactions: Interactions, titles: pa.Table | None) -> Interactions:
    """Returns the interactions with titles from a table of ``item`` and ``title``; an item without goes by its id."""
    if titles is None:
        return interactions
    ids = interactions.item_ids.ids
    rows = pc.index_in(ids, value_set=titles["item"].cast(ids.type).combine_chunks())
    found = titles["title"].combine_chunks().cast(pa.large_string()).take(rows)
    if found.null_count:
        _log.info("%d of %d items have no title; they go by their id", found.null_count, len(found))
    named = pc.coalesce(found, ids.cast(pa.large_string()))
    return replace(interactions, titles=tuple(named.to_pylist()))


def titles_table(source: Source, name: str, *, item: str, title: str, **form: object) -> pa.Table | None:
    """Returns the items' titles, in columns ``item`` and ``title``; None, and says so, where the file is not there."""
    if not source.has(name):
        _log.warning("there is no %s beside the interactions, so the items have no titles", name)
        return None
    table = source.table(name, [item, title], {item: pa.int64(), title: pa.string()}, **form)
    return table.rename_columns(["item", "title"])
