"""Play counts: the taste profiles of the Million Song Dataset, and two samples of Last.fm's users."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.compute as pc

from recoder.data.interactions import Interactions
from recoder.data.readers.building import TEXT, titled, titles_table
from recoder.data.readers.sources import Source

__all__ = ["read_lastfm_2k", "read_lastfm_360k", "read_million_songs"]

_log = logging.getLogger("recoder.data")


def read_million_songs(source: Source) -> Interactions:
    """Returns the plays of ``train_triplets.txt`` (McFee et al. 2012): user, song and play count."""
    columns = ["user", "song", "plays"]
    types = {"user": TEXT, "song": TEXT, "plays": pa.int64()}
    plays = source.table("train_triplets.txt", columns, types, separator="\t", names=columns, quote=None)
    return Interactions.from_frame(plays, user="user", item="song", weight="plays")


def read_lastfm_360k(source: Source) -> Interactions:
    """Returns the plays of ``usersha1-artmbid-artname-plays.tsv`` (Celma 2010): user, artist and play count.

    An artist goes by name, since many have no MusicBrainz id. Rows without a name are left out, with a warning.
    """
    plays = source.table(
        "usersha1-artmbid-artname-plays.tsv",
        ["user", "artist", "plays"],
        {"user": TEXT, "artist": TEXT, "plays": pa.int64()},
        separator="\t",
        names=["user", "musicbrainz id", "artist", "plays"],
        quote=None,
    )
    is_named = pc.is_valid(plays["artist"])
    if pc.all(is_named).as_py() is False:
        _log.warning("%d rows name no artist; they are left out", len(plays) - pc.sum(is_named).as_py())
        plays = plays.filter(is_named)
    return Interactions.from_frame(plays, user="user", item="artist", weight="plays")


def read_lastfm_2k(source: Source) -> Interactions:
    """Returns the plays of ``user_artists.dat``, with the names of ``artists.dat`` (HetRec 2011)."""
    columns = ["userID", "artistID", "weight"]
    types = {"userID": pa.int64(), "artistID": pa.int64(), "weight": pa.int64()}
    plays = source.table("user_artists.dat", columns, types, separator="\t", quote=None)
    titles = titles_table(source, "artists.dat", item="id", title="name", separator="\t", quote=None)
    return titled(Interactions.from_frame(plays, user="userID", item="artistID", weight="weight"), titles)
