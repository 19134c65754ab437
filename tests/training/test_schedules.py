from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder.errors import ConfigError
from recoder.training.schedules import LR_SCHEDULES, lr_factor
from support import train_config


def factors(schedule, num_steps):
    return [lr_factor(schedule, step, num_steps) for step in range(num_steps)]


def test_constant_stays():
    assert factors("constant", 3) == [1, 1, 1]


def test_cosine_is_half_a_period():
    assert factors("cosine", 4) == pytest.approx([0.5 * (1 + math.cos(math.pi * done / 4)) for done in range(4)])


@given(schedule=st.sampled_from(LR_SCHEDULES), num_steps=st.integers(1, 10_000))
def test_it_falls_from_the_full_rate_and_no_step_learns_nothing(schedule, num_steps):
    rates = factors(schedule, num_steps)
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0


def test_the_rate_of_a_step_is_that_of_milestones_times_that_of_the_schedule():
    config = train_config(lr=1.0, num_epochs=4, lr_milestones=[2], lr_schedule="cosine")
    rates = [config.lr_at(step, steps_per_epoch=2) for step in range(8)]
    expected = [0.5 * (1 + math.cos(math.pi * step / 8)) * (1 if step < 4 else 0.1) for step in range(8)]
    assert rates == pytest.approx(expected)


def test_without_a_schedule_the_rate_of_a_step_is_exactly_that_of_its_epoch():
    config = train_config(lr=0.3, num_epochs=5, lr_milestones=[1, 3])
    assert [config.lr_at(step, 1) for step in range(5)] == [config.lr_in_epoch(epoch) for epoch in range(1, 6)]


@pytest.mark.parametrize("name", ["linear", None, 3])
def test_another_schedule_is_an_error_that_names_them(name):
    with pytest.raises(ConfigError, match=f"unknown lr_schedule {name!r}; choose one of constant, cosine"):
        train_config(lr_schedule=name)
