"""Which cells there are, and which of them are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from benchmarks.quality.cells import Cell, Outcome
from benchmarks.quality.contestants import Contestant, settings_text
from benchmarks.quality.summary import TUNING_SEED, chosen_point

__all__ = ["Schedule"]


class Schedule:
    """The order in which cells are run: the grid with the tuning seed first, then the chosen point with the others.

    Args:
        find: returns what became of a cell; None if it was not run.
        limit_s: the time limit of today: what took too long under a lower one is missing.
        seeds: that the chosen points are run with.
        retry_kinds: kinds of outcomes that are missing although they are there, on the first time they are asked for.
        machine: what was measured with another (see ``Outcome.machine``), or while others used the machine too, is
            missing; None: none is.
    """

    def __init__(
        self,
        find: Callable[[Cell], Outcome | None],
        *,
        limit_s: float,
        seeds: Sequence[int],
        retry_kinds: Sequence[str] = (),
        machine: tuple[str, ...] | None = None,
    ) -> None:
        self.find = find
        self._limit_s = limit_s
        self._seeds = seeds
        self._retry_kinds = retry_kinds
        self._machine = machine

    def missing(self, sets: Sequence[str], contestants: Sequence[Contestant]) -> Iterator[Cell]:
        """Yields one missing cell after the other; who takes it has run it before asking for the next."""
        for name in sets:
            for contestant in contestants:
                tuning = [Cell(name, TUNING_SEED, contestant, point) for point in range(len(contestant.grid))]
                yield from filter(self._is_missing, tuning)
                # known only now: the cells above were run in the meantime
                yield from filter(self._is_missing, self._of_seeds(name, contestant))

    def cells(self, name: str, contestant: Contestant) -> list[Cell]:
        """Returns a contestant's cells that are known by now: the grid, and once it was run the point that it chose."""
        tuning = [Cell(name, TUNING_SEED, contestant, point) for point in range(len(contestant.grid))]
        return [*tuning, *self._of_seeds(name, contestant)]

    def outcomes(self, name: str, contestant: Contestant) -> dict[tuple[int, int], Outcome]:
        """Returns what became of a contestant's cells, by point and seed."""
        cells = self.cells(name, contestant)
        return {(cell.point, cell.seed): found for cell in cells if (found := self.find(cell)) is not None}

    def status_text(
        self, sets: Sequence[str], contestants: Sequence[Contestant], find_or_earlier: Callable[[Cell], Outcome | None]
    ) -> str:
        """Returns a line for each cell that is known by now, and how many of them were run.

        Args:
            sets: data sets.
            contestants: who takes part.
            find_or_earlier: as ``find``, but of a cell that was not run it returns what earlier code made of it.
        """
        shown = Schedule(find_or_earlier, limit_s=self._limit_s, seeds=self._seeds)
        cells = [cell for name in sets for contestant in contestants for cell in shown.cells(name, contestant)]
        lines = [
            f"{cell.data_set}, {cell.contestant.name}, {settings_text(cell.contestant, cell.point)}, seed {cell.seed}: "
            f"{self._state_text(cell, find_or_earlier(cell))}"
            for cell in cells
        ]
        num_run = sum(not self._is_missing(cell) for cell in cells)
        return "\n".join([*lines, f"{num_run} of {len(lines)} were run"])

    def _state_text(self, cell: Cell, outcome: Outcome | None) -> str:
        if outcome is None:
            return "missing"
        code = " with earlier code" if outcome.is_of_earlier_code else ""
        reason = f": {outcome.reason}" if outcome.reason else ""
        again = ", to be run again" if self._is_missing(cell) else ""
        return f"{outcome.kind}{code}{reason}{again}"

    def _of_seeds(self, name: str, contestant: Contestant) -> list[Cell]:
        """Returns the cells of the chosen point with the other seeds; none before the whole grid was run."""
        found = {
            (point, TUNING_SEED): self.find(Cell(name, TUNING_SEED, contestant, point))
            for point in range(len(contestant.grid))
        }
        run = {key: outcome for key, outcome in found.items() if outcome is not None}
        chosen = chosen_point(run) if len(run) == len(found) else None
        if chosen is None:
            return []
        return [Cell(name, seed, contestant, chosen) for seed in self._seeds if seed != TUNING_SEED]

    def _is_missing(self, cell: Cell) -> bool:
        found = self.find(cell)
        if found is None or found.kind in self._retry_kinds:
            return True
        if found.is_measured and self._machine is not None:
            return found.machine != self._machine or found.was_disturbed
        if found.kind == "over time":
            return found.limit_s < self._limit_s
        return False
