"""Which column is which, where nobody says so: by the names that data sets commonly have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from recoder.errors import ConfigError

__all__ = ["COMMON_NAMES", "ROLES", "choose_columns"]

COMMON_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user": (
            "user id", "user", "uid", "customer id", "customer", "visitor id", "visitor", "member id", "reviewer id",
            "account id", "session id",
        ),
        "item": (
            "item id", "item", "iid", "movie id", "movie", "film id", "film", "book id", "book", "product id",
            "product", "artist id", "artist", "track id", "song id", "article id", "asin", "isbn", "sku",
        ),
        "weight": ("weight", "rating", "stars", "score", "plays", "play count", "listen count", "count", "overall"),
        "time": ("timestamp", "time", "datetime", "date", "ts", "event time", "created at", "unix review time"),
        "title": ("title", "item title", "item name", "movie title", "book title", "product title", "artist name"),
    }
)  # fmt: skip
"""For each role, the best name first; case, underscores, hyphens and spaces do not count."""

ROLES = tuple(COMMON_NAMES)


def choose_columns(
    present: Sequence[str], given: Mapping[str, str | None], where: str, required: Sequence[str] = ("user", "item")
) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the column of each role, and those of them that were found by their names.

    Args:
        present: the file's columns.
        given: for each role a column; the empty string: none; None: look for a common name.
        where: what to call the file in an error.
        required: roles that must have a column.

    Raises:
        ConfigError: if a column that is given is not there, or none is found for a role that must have one.
    """
    chosen: dict[str, str] = {}
    for role, column in given.items():
        if column:
            if column not in present:
                raise ConfigError(
                    f"{where} has no column {column!r} for --{role}; its columns are {', '.join(present)}"
                )
            chosen[role] = column
    free = {_plain(name): name for name in reversed(present) if name not in chosen.values()}
    found = {
        role: free[match]
        for role in ROLES
        if given.get(role) is None
        and (match := next((name for name in map(_plain, COMMON_NAMES[role]) if name in free), None)) is not None
    }
    for role in required:
        if role not in chosen and role not in found:
            raise ConfigError(
                f"{where} has no column that is named like {role}s; say which it is with --{role}. "
                f"Its columns are {', '.join(present)}; if these are no names, give some with --names, and --separator"
            )
    return chosen | found, found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
