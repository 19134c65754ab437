from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder.errors import ConfigError
from recoder.training.schedules import LR_SCHEDULES, lr_factor
from support import train_config


def factors(schedule, warmup_steps, num_steps):
    return [lr_factor(schedule, step, warmup_steps=warmup_steps, num_steps=num_steps) for step in range(num_steps)]


def test_constant_stays_at_one_after_a_straight_rise():
    assert factors("constant", 4, 7) == [0.25, 0.5, 0.75, 1, 1, 1, 1]


def test_without_warm_up_the_first_step_is_whole():
    assert factors("constant", 0, 3) == [1, 1, 1]
    assert factors("cosine", 0, 4)[0] == 1


def test_cosine_is_half_a_period_after_the_warm_up():
    rise, fall = factors("cosine", 2, 6)[:2], factors("cosine", 2, 6)[2:]
    assert rise == [0.5, 1]
    assert fall == pytest.approx([0.5 * (1 + math.cos(math.pi * done / 4)) for done in range(4)])


@given(
    schedule=st.sampled_from(LR_SCHEDULES),
    num_steps=st.integers(1, 50),
    share=st.floats(0, 0.99),
    step=st.integers(0, 49),
)
def test_every_step_learns_at_most_at_the_full_rate(schedule, num_steps, share, step):
    assert 0 < lr_factor(schedule, step % num_steps, warmup_steps=share * num_steps, num_steps=num_steps) <= 1


def test_the_rate_of_a_step_is_that_of_milestones_times_that_of_the_schedule():
    config = train_config(lr=1.0, num_epochs=4, lr_milestones=[2], lr_schedule="cosine", warmup_epochs=0.5)
    rates = [config.lr_at(step, steps_per_epoch=2) for step in range(8)]
    expected = [0.5 * (1 + math.cos(math.pi * max(0, step - 1) / 7)) * (1 if step < 4 else 0.1) for step in range(8)]
    assert rates == pytest.approx(expected)


def test_without_a_schedule_the_rate_of_a_step_is_exactly_that_of_its_epoch():
    config = train_config(lr=0.3, num_epochs=5, lr_milestones=[1, 3])
    assert [config.lr_at(step, 1) for step in range(5)] == [config.lr_in_epoch(epoch) for epoch in range(1, 6)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr_schedule": "linear"}, "unknown lr_schedule 'linear'; choose one of constant, cosine"),
        ({"lr_schedule": None}, "unknown lr_schedule None"),
        ({"warmup_epochs": 2, "num_epochs": 2}, "warmup_epochs is 2 but num_epochs 2"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1; it must be"),
        ({"max_grad_norm": 0}, "max_grad_norm is 0"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm is nan; it must be"),
    ],
)
def test_what_makes_no_sense_is_an_error(changes, words):
    with pytest.raises(ConfigError, match=words):
        train_config(**changes)
