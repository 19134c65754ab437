from __future__ import annotations

import pytest

from recoder.errors import DataTypeError
from recoder.training import Callback, EpochReport
from recoder.training.relay import Relay, checked_callbacks
from support import relay_to, training_run


class Listener(Callback):
    """Notes what it is told, and raises at one of the events."""

    def __init__(self, name, heard, raises_at=None):
        self.name, self.heard, self.raises_at = name, heard, raises_at

    def hear(self, event):
        self.heard.append((self.name, event))
        if event == self.raises_at:
            raise ZeroDivisionError(f"{self.name} at {event}")

    def on_train_start(self, run):
        self.hear("start")

    def on_step_end(self):
        self.hear("step")

    def on_epoch_end(self, report):
        self.hear("epoch")

    def on_checkpoint(self, report):
        self.hear("checkpoint")

    def on_train_end(self, error):
        self.error = error
        self.hear("end")


def told(*raises_at):
    heard = []
    listeners = [Listener(name, heard, at) for name, at in zip("abc", raises_at, strict=False)]
    return relay_to(*listeners), listeners, heard


def run(relay):
    report = EpochReport(1, is_last=True, loss=1.0, lr=0.1, seconds=1.0)
    with relay.run(0, 1):
        relay.step_end()
        relay.epoch_end(report)
        relay.checkpoint(report)


def test_every_event_reaches_every_callback_in_their_order():
    relay, listeners, heard = told(None, None)
    run(relay)
    assert heard == [(name, event) for event in ("start", "step", "epoch", "checkpoint", "end") for name in "ab"]
    assert [listener.error for listener in listeners] == [None, None]


@pytest.mark.parametrize("event", ["start", "step", "epoch", "checkpoint", "end"])
def test_whatever_a_callback_raises_ends_the_run_and_all_are_told_of_the_end(event):
    relay, listeners, heard = told(None, event, None)
    with pytest.raises(ZeroDivisionError, match=f"b at {event}") as raised:
        run(relay)
    assert heard[-3:] == [(name, "end") for name in "abc"]
    assert [listener.error for listener in listeners] == [None if event == "end" else raised.value] * 3


def test_after_an_error_only_a_checkpoint_is_told_to_those_that_come_later():
    for event, reaches_c in (("start", False), ("step", False), ("epoch", False), ("checkpoint", True)):
        relay, _, heard = told(None, event, None)
        with pytest.raises(ZeroDivisionError):
            run(relay)
        assert (("c", event) in heard) == reaches_c


def test_an_interrupt_is_told_as_what_it_is():
    relay, (listener,), _ = told(None)
    with pytest.raises(KeyboardInterrupt), relay.run(0, 1):
        raise KeyboardInterrupt
    assert isinstance(listener.error, KeyboardInterrupt)


def test_callbacks_hear_how_many_steps_there_are_and_how_many_are_done():
    started = []

    class Starts(Callback):
        def on_train_start(self, run):
            started.append(run)

    expected = training_run(first_step=3, num_steps=8)
    with Relay([Starts()], lambda first_step, num_steps: expected).run(3, 8):
        pass
    assert started == [expected]


def test_what_is_no_callback_is_said_before_anything_is_trained():
    assert checked_callbacks(None) == []
    callback = Callback()
    assert checked_callbacks((callback,)) == [callback]
    for wrong, words in [
        (callback, "callbacks is <.*pass a list"),
        (3, "callbacks is 3; pass a list"),
        ([callback, print], "callbacks has a builtin_function_or_method, no recoder.training.Callback"),
        ([Listener], r"callbacks has the class Listener; pass an object, as in Listener\(...\)"),
    ]:
        with pytest.raises(DataTypeError, match=words):
            checked_callbacks(wrong)


def test_what_ended_a_run_is_not_hidden_by_a_callback_that_cannot_end(caplog):
    class Unfinished(Callback):
        def on_train_end(self, error):
            raise OSError("the server is away")

    relay = Relay([Unfinished()], lambda first, number: None)
    with pytest.raises(KeyboardInterrupt), relay.run(0, 1):
        raise KeyboardInterrupt
    assert "a callback could not end with the run: OSError: the server is away" in caplog.text
    with pytest.raises(OSError, match="the server is away"), relay.run(0, 1):
        pass
