"""Checking what is to be split, and how."""

from __future__ import annotations

from recoder._checks import whole_number
from recoder.data.interactions import Interactions
from recoder.data.times import Times
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError

__all__ = ["checked_fraction", "checked_interactions", "checked_times_of", "number_of_users"]


def checked_interactions(interactions: Interactions) -> None:
    """Checks that these are interactions with ids.

    Raises:
        DataTypeError: if not.
    """
    if not isinstance(interactions, Interactions):
        raise DataTypeError(
            f"interactions must be recoder.data.Interactions, not {type(interactions).__name__}; "
            "wrap a matrix in Interactions.from_matrix(matrix)"
        )


def checked_times_of(interactions: Interactions) -> Times:
    """Returns the times of the interactions.

    Raises:
        DataTypeError: if these are no interactions.
        DataError: if they have no times.
        EmptyDataError: if there are no interactions.
    """
    checked_interactions(interactions)
    if interactions.times is None:
        raise DataError(
            "the interactions have no times to split by; read them with time=..., as in Interactions.from_frame"
        )
    if not len(interactions.times):
        raise EmptyDataError(
            f"none of the {interactions.num_users} users has an interaction: there is nothing to split"
        )
    return interactions.times


def checked_fraction(name: str, value: float) -> float:
    """Returns a fraction between 0 and 1.

    Raises:
        ConfigError: if it is not.
    """
    try:
        fits = not isinstance(value, bool | str) and 0 < value < 1
    except (TypeError, ValueError):  # an array has no truth
        fits = False
    if not fits:
        raise ConfigError(f"{name} is {value!r}; it must be above 0 and below 1")
    return float(value)


def number_of_users(name: str, value: float, total: int) -> int:
    """Returns how many users are meant by a whole number, or by a fraction of all, rounded and at least 1.

    Raises:
        ConfigError: if it is neither.
    """
    try:
        return whole_number(name, value, 1)
    except ConfigError as error:
        message = f"{error}, or a fraction of the users above 0 and below 1"
    try:
        return max(1, round(checked_fraction(name, value) * total))
    except ConfigError:
        raise ConfigError(message) from None
