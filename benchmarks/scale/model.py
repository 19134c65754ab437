"""A cost model of a training step that processes share: an autoencoder with one hidden layer, in adam and float32.

A step takes what the products, the scores and the rows of the tables take on one machine, divided as the mode divides
them, and what cannot be divided; and what its exchanges take: each starts a number of messages one after the other, and
sends a number of bytes through the slowest link. Nothing overlaps, as in the library.

Sizes: B users of a step, I candidate items of it, Z interactions, N items, D factors, P processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Costs", "Exchange", "Grid", "Link", "Machine", "Work", "costs"]

NUMBER, ID = 4, 8
"""Bytes of a float32, and of an item's id."""

_READ_AND_WRITTEN = 7
"""Numbers that adam moves for each of a row: it reads gradient, weight and two moments, and writes three of them."""

_SUMMED = 6
"""Likewise where gradients of rows are summed: zeros, a copy into them, and the sum with what has come."""


@dataclass(frozen=True)
class Machine:
    """What a process computes in a second.

    Attributes:
        product_flops: floating-point operations of matrix products.
        scores: values of the loss and its slope, one for each user and candidate.
        row_bytes: bytes of rows of tables that are read or written.
        step_s: seconds of a step that processes do not share: preparing the batch, and Python.
    """

    product_flops: float
    scores: float
    row_bytes: float
    step_s: float


@dataclass(frozen=True)
class Link:
    """What joins two machines.

    Attributes:
        latency_s: seconds from sending a small message to its receipt.
        bytes_per_s: bandwidth in each direction.
    """

    latency_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Work:
    """A training step.

    Attributes:
        users: B, of all processes together.
        factors: D.
        items: N.
        candidates: I, different items of the step's users.
        interactions: Z.
        is_gram: squared errors of all N items by the Gram form; else a separable loss of the candidates.
    """

    users: int
    factors: int
    items: int
    candidates: float
    interactions: float
    is_gram: bool = False


@dataclass(frozen=True)
class Grid:
    """How processes share: the items among those of a row, the users among those of a column.

    Attributes:
        items: processes of a row; 1 with ``parallel="users"``.
        users: processes of a column; 1 with ``parallel="items"``.
    """

    items: int = 1
    users: int = 1

    @staticmethod
    def of(parallel: str, number: int) -> Grid:
        """Returns how so many processes share what ``parallel`` names."""
        if parallel == "items":
            return Grid(items=number)
        if parallel == "users":
            return Grid(users=number)
        users = max(divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0)
        return Grid(number // users, users)


@dataclass(frozen=True)
class Exchange:
    """Tensors that processes sum, or hand to each other.

    Attributes:
        number: of the processes.
        numbers: of the tensor of each.
        bytes: of it.
        is_sum: they are summed; else each gets all of them.
    """

    number: int
    numbers: float
    bytes: float
    is_sum: bool = True

    def seconds(self, link: Link) -> float:
        """Returns how long it takes round a ring."""
        hops = (2 if self.is_sum else 1) * (self.number - 1)
        sent = hops * (self.bytes / self.number if self.is_sum else self.bytes)
        return hops * link.latency_s + sent / link.bytes_per_s


@dataclass(frozen=True)
class Costs:
    """What a step costs each process.

    Attributes:
        flops: of products.
        scores: values of the loss.
        row_bytes: bytes of rows.
        exchanges: one after the other.
        memory_bytes: of parameters and optimizer state.
    """

    flops: float
    scores: float
    row_bytes: float
    exchanges: tuple[Exchange, ...]
    memory_bytes: float

    @property
    def numbers_sent(self) -> float:
        """Numbers handed to exchanges, as ``Ranks.numbers_sent`` counts them."""
        return sum(exchange.numbers for exchange in self.exchanges)

    def compute_s(self, machine: Machine) -> float:
        """Returns the seconds without exchanges."""
        terms = (
            (self.flops, machine.product_flops),
            (self.scores, machine.scores),
            (self.row_bytes, machine.row_bytes),
        )
        return machine.step_s + sum(amount / speed for amount, speed in terms)

    def exchange_s(self, link: Link) -> float:
        """Returns the seconds of the exchanges."""
        return sum(exchange.seconds(link) for exchange in self.exchanges)

    def seconds(self, machine: Machine, link: Link) -> float:
        """Returns the seconds of a step."""
        return self.compute_s(machine) + self.exchange_s(link)


def costs(work: Work, grid: Grid) -> Costs:
    """Returns what a step costs each process of a grid."""
    users, factors = work.users / grid.users, work.factors
    items, read = work.items / grid.items, work.candidates / grid.items
    scored = items if work.is_gram else read
    interactions = work.interactions / grid.items / grid.users
    per_row = factors * NUMBER
    # sums over the interactions, forth and back; and two tables of adam
    row_bytes = 3 * interactions * per_row + _READ_AND_WRITTEN * (scored + read) * per_row
    if work.is_gram:
        flops = 4 * scored * factors**2 + 4 * users * factors**2 + 4 * interactions * factors
        row_bytes += 3 * interactions * per_row
    else:
        flops = 6 * users * scored * factors
    if grid.users > 1:
        row_bytes += _SUMMED * ((0 if work.is_gram else scored) + read) * per_row
    return Costs(
        flops=flops,
        scores=0.0 if work.is_gram else users * scored,
        row_bytes=row_bytes,
        exchanges=(*_of_items(work, grid.items, users), *_of_users(work, grid.users, scored, read)),
        memory_bytes=3 * NUMBER * items * (2 * factors + 1),
    )


def _of_items(work: Work, number: int, users: float) -> Sequence[Exchange]:
    """Returns the exchanges of processes with other items each: sums of inputs, and of gradients."""
    if number == 1:
        return ()
    return [_sum(number, users * (work.factors + 2)), _sum(number, users * work.factors)]


def _of_users(work: Work, number: int, scored: float, read: float) -> Sequence[Exchange]:
    """Returns the exchanges of processes with other users each: gradients of rows, and of all the rest together."""
    if number == 1:
        return ()
    tables = 1 if work.is_gram else 3  # of rows: the input's, and the output's with its biases
    ids = [_gathered(number, tables), _gathered(number, tables * read)]
    rows = [_sum(number, rows * work.factors) for rows in (read, scored)]
    return [*ids, *rows, _sum(number, scored + work.factors)]


def _sum(number: int, numbers: float) -> Exchange:
    return Exchange(number, numbers, NUMBER * numbers)


def _gathered(number: int, ids: float) -> Exchange:
    return Exchange(number, ids, ID * ids, is_sum=False)
