"""The phases of an epoch, as a model plans them."""

from __future__ import annotations

from types import TracebackType

from recoder.nn.base import FactorizationModel, Phase

__all__ = ["Plan"]


class Plan:
    """Sets a model up for each step of an epoch; as a context, it leaves the parameters trainable as they were.

    Args:
        model: whose plan it is.
        steps_per_pass: steps in which all users are visited once.

    Attributes:
        steps_per_pass: as given.
        num_passes: of an epoch.
        num_steps: of an epoch.
    """

    def __init__(self, model: FactorizationModel, steps_per_pass: int) -> None:
        phases = model.training_plan()
        self._phase_of_pass = [phase for phase in phases for _ in range(phase.passes)]
        self.steps_per_pass = steps_per_pass
        self._trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._current: Phase | None = None
        self.num_passes = len(self._phase_of_pass)
        self.num_steps = self.num_passes * steps_per_pass

    def prepare(self, step: int) -> None:
        """Sets the model up for a step of an epoch, from 0."""
        number = step // self.steps_per_pass
        phase = self._phase_of_pass[number]
        is_first_pass = number == 0 or self._phase_of_pass[number - 1] is not phase
        if is_first_pass and step % self.steps_per_pass == 0:
            phase.begins()
        if phase is not self._current:
            self._current = phase
            for name, parameter in self._trainable.items():
                parameter.requires_grad_(phase.trains(name))
        phase.prepares()

    def __enter__(self) -> Plan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for parameter in self._trainable.values():
            parameter.requires_grad_()
        self._phase_of_pass[0].prepares()  # as an epoch finds it
